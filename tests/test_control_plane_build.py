"""The build of the control plane: named by what goes into it, never half, and told when it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import control_plane_build as build
import go_build
import node_build
import pytest
import steps
from steps import Expected, StepFailed


@pytest.fixture(autouse=True)
def _places_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOG", tmp_path / "install.log")
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setattr(go_build, "TOOLS", tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(build.ASSETS, raising=False)


def a_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def a_go(
    tmp_path: Path,
    *,
    version: str = "go1.26.8",
    building: str = "touch $out/controlplane; chmod +x $out/controlplane",
) -> Path:
    """A Go that answers as the real one does and builds what it is told."""
    answers = f'*" env GOVERSION"*) echo {version};; *" list "*) echo a; echo b;;'
    out = 'while [ "$1" != -o ]; do shift; done; out=$2'
    return a_program(tmp_path / "go" / "go", f'case " $*" in {answers} *) {out}; echo a; {building};; esac')


def builds(tmp_path: Path) -> list[str]:
    """What the cache shows of builds."""
    folder = tmp_path / "cache" / "pannier" / "controlplane"
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


def test_what_is_built_is_found_by_every_checkout(tmp_path: Path) -> None:
    """The first builds, under the name of all that goes into it; the next takes what is there."""
    build.provide(lambda: a_go(tmp_path))
    assert go_build.missing_parts(build.MODULE.place, build.PARTS) == []
    (name,) = builds(tmp_path)
    assert build.MODULE.place.resolve().name == name
    build.MODULE.place.unlink()
    build.provide(lambda: a_go(tmp_path, building="exit 1"))
    assert go_build.missing_parts(build.MODULE.place, build.PARTS) == []


def test_a_finished_build_asks_for_no_go(tmp_path: Path) -> None:
    """A second make looks for no compiler."""
    build.provide(lambda: a_go(tmp_path))
    build.provide(lambda: pytest.fail("looked for Go"))


def test_half_a_build_is_none(tmp_path: Path) -> None:
    """A build that fails after it wrote something leaves nothing behind, and says what to do."""
    with pytest.raises(StepFailed, match=r"(?s)no space left.*PANNIER_NO_CONTROL_PLANE=1"):
        build.provide(lambda: a_go(tmp_path, building="touch $out/x; echo no space left; exit 1"))
    assert builds(tmp_path) == []
    assert not build.MODULE.place.exists()


def test_a_build_that_was_killed_is_cleared_away(tmp_path: Path) -> None:
    """What kill -9 left behind is gone with the next build."""
    (tmp_path / "cache" / "pannier" / "controlplane" / "unfinished-x" / "new").mkdir(parents=True)
    build.provide(lambda: a_go(tmp_path))
    assert len(builds(tmp_path)) == 1


def test_a_build_is_named_by_sources_and_go(tmp_path: Path) -> None:
    """Another version of anything is another build."""
    source, flags = tmp_path / "go.sum", go_build.build_flags({"version": "1"})
    source.write_text("one")

    def named(go: str = "go1.26.8", flags: list[str] = flags, parts: tuple[str, ...] = build.PARTS) -> str:
        return go_build.build_key(go, flags, parts, [source])

    name = named()
    assert named() == name
    assert named(go="go1.26.9") != name
    assert named(flags=go_build.build_flags({"version": "2"})) != name
    assert named(flags=go_build.build_flags({"version": "1"}, tags=["small"])) != name
    assert named(parts=("etcd",)) != name
    source.write_text("two")
    assert named() != name


def test_a_version_is_told_as_kubernetes_tells_it() -> None:
    """`kubectl version` splits it so."""
    told = go_build.kubernetes_version(build.MODULE.required("k8s.io/kubernetes"))
    assert told["k8s.io/component-base/version.gitVersion"].startswith("v1.")
    assert told["k8s.io/component-base/version.gitMinor"].isdigit()


def test_programs_of_a_node_are_named_as_they_are_called(tmp_path: Path) -> None:
    """Go names programs by their packages: one is renamed, one has six names."""
    built = " ".join(
        f"$out/{name}" for name in ("node", "shim", "pause", "bridge", "loopback", "host-local", "dns")
    )
    node_build.provide(lambda: a_go(tmp_path, building=f"touch {built}; chmod +x {built}"))
    assert go_build.missing_parts(node_build.NODE.place, node_build.NODE.parts) == []
    assert go_build.missing_parts(node_build.DNS.place, node_build.DNS.parts) == []
    assert (node_build.NODE.place / "kubelet").readlink() == Path("node")


def test_a_folder_from_outside_is_taken_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS wins over a build of ours, and has to hold everything."""
    monkeypatch.setenv(build.ASSETS, str(tmp_path))
    a_program(tmp_path / "etcd", "")
    with pytest.raises(StepFailed, match="lacks kube-apiserver, kubectl"):
        build.provide(lambda: pytest.fail("looked for Go"))
    for part in build.PARTS:
        a_program(tmp_path / part, "")
    build.provide(lambda: pytest.fail("looked for Go"))


def test_who_asks_for_it_goes_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is built, and it is said that tests will be skipped."""
    monkeypatch.setenv(build.WITHOUT, "1")
    build.provide(lambda: pytest.fail("looked for Go"))
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "found"), [("go1.26.0", True), ("go1.27", True), ("go1.25.9", False)])
def test_a_go_that_is_too_old_counts_as_missing(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, found: bool
) -> None:
    """The machine's Go is used if the module may be built with it."""
    go = a_go(tmp_path, version=version)
    monkeypatch.setenv("PATH", f"{go.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert go_build.machine_go(build.MODULE.folder) == (go if found else None)


def test_a_go_of_ours_keeps_to_our_cache(tmp_path: Path) -> None:
    """On a machine without Go all that is downloaded and compiled is below the one cache folder."""
    ours = go_build.go_environment(tmp_path / "tools" / "go" / "bin" / "go")
    assert ours["GOPATH"].startswith(str(tmp_path / "cache"))
    assert "GOPATH" not in go_build.go_environment(Path("/usr/bin/go"))


def test_progress_counts_what_is_done() -> None:
    """Minutes of compiling show how far they are."""
    assert Expected(2329, "packages").progress(b"a\nb\n") == ", 2 of 2329 packages"
