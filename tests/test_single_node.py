"""The node of the journeys, as far as it can be tried without one: files, cgroups, and what it lacks."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from pathlib import Path

import pytest
from e2e.single_node import cgroups, preflight
from e2e.single_node import layout as at
from e2e.single_node.keys import write_keys
from e2e.single_node.layout import Layout, Programs
from e2e.single_node.leftovers import traces
from e2e.single_node.settings import KERNEL_SETTINGS, commands, documents


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A node's places, with nothing in them."""
    programs = Programs(*(tmp_path / name for name in ("control-plane", "node", "dns", "bin")))
    return Layout("pannier-e2e-7", tmp_path, programs, [tmp_path / "pause.tar"])


def test_the_first_process_reads_what_its_owner_wrote(layout: Layout) -> None:
    """They are two processes in two namespaces."""
    assert Layout.read(layout.write()) == layout


def test_every_document_can_be_read_by_its_part(layout: Layout) -> None:
    """JSON where YAML is wanted, TOML for containerd; each file that a command names is among them."""
    written = documents(layout)
    for name, text in written.items():
        if name.endswith((".yaml", ".conflist")):
            assert json.loads(text)
    assert tomllib.loads(written["containerd.toml"])["version"] == 3
    named = {
        part for command in commands(layout).values() for part in " ".join(command).replace("=", " ").split()
    }
    files = {Path(part).name for part in named if part.startswith(str(layout.settings))}
    assert files == {"containerd.toml", "kubelet.yaml", "proxy.yaml", "Corefile"}
    assert {f"kernel/{name.replace('/', '-')}" for name in KERNEL_SETTINGS} < set(written)


def test_the_kubelet_keeps_the_customary_delay_of_mounted_config_maps(layout: Layout) -> None:
    """Else an edit that is served at once would show nothing."""
    kubelet = json.loads(documents(layout)["kubelet.yaml"])
    assert "syncFrequency" not in kubelet
    assert "configMapAndSecretChangeDetectionStrategy" not in kubelet


def test_keys_are_the_owners_alone_and_every_part_finds_its_own(layout: Layout) -> None:
    """What commands name below the folder of keys is there after `write_keys`."""
    write_keys(layout)
    wanted = {
        Path(option.partition("=")[2])
        for command in commands(layout).values()
        for option in command
        if f"={layout.keys}" in option
    }
    assert wanted
    for file in (*wanted, layout.kubeconfig, layout.folder / "node.kubeconfig"):
        assert file.stat().st_mode & 0o077 == 0, file


def hierarchy(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "tasks").write_text("")


def test_a_folder_in_each_hierarchy_of_v1(tmp_path: Path) -> None:
    """With the machine's processors, since an empty set is none at all; removed also where runc made one."""
    hierarchy(tmp_path, "cpuset", "memory")
    (tmp_path / "unified").mkdir()
    cgroups.make("pannier-e2e-7", tmp_path)
    made = sorted(str(folder.relative_to(tmp_path)) for folder in cgroups.existing(at.PREFIX, tmp_path))
    assert made == ["cpuset/pannier-e2e-7", "memory/pannier-e2e-7"]
    (tmp_path / "unified" / "pannier-e2e-7" / "pod").mkdir(parents=True)
    (tmp_path / "memory" / "pannier-e2e-70").mkdir()
    assert cgroups.remove("pannier-e2e-7", tmp_path) == []
    assert [folder.name for folder in cgroups.existing(at.PREFIX, tmp_path)] == ["pannier-e2e-70"]


def test_one_folder_in_the_hierarchy_of_v2(tmp_path: Path) -> None:
    """Controllers that there are are passed on to it, one by one; not what the machine has not."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    cgroups.make("pannier-e2e-7", tmp_path)
    assert (tmp_path / "pannier-e2e-7" / "cgroup.subtree_control").read_text() == "+pids"


def test_another_user_than_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else, since nothing else can be tried."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert preflight.obstacles("") == [
        "it takes root to make namespaces, mounts and cgroups; this is another user"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root learns what else is missing")
def test_every_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence each, so that one run tells all that is to be done."""
    monkeypatch.setenv("PATH", "/nowhere")
    found = preflight.obstacles("/nowhere")
    for program in ("unshare", "nsenter", "mount", "ip", "runc", "nft"):
        assert f"there is no {program} on PATH" in found
    assert any(sentence.startswith("namespaces cannot be made") for sentence in found)


def test_what_a_node_leaves_is_seen() -> None:
    """A folder of its own that was not there before; another node may come meanwhile."""
    name = at.name_of_a_node(7)
    before = traces(name)
    with (
        tempfile.TemporaryDirectory(prefix=f"{name}-") as folder,
        tempfile.TemporaryDirectory(prefix=f"{name}0-"),
    ):
        assert traces(name) - before == {f"folder {folder}"}
    assert traces(name) - before == frozenset()
