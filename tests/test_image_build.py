"""The images that need no registry: the same bytes each time, small, nobody's, and able to run."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import image_archive
import image_build
import pytest
import steps

DOCKERFILE = (steps.ROOT / "images" / "Dockerfile").read_text()
LOCKS = steps.ROOT / "requirements"
MOST_MIB = {"sidecar": 180, "operator": 275}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few files as an image's content."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_text("#!/bin/false\n")
    (root / "usr/bin/tool").chmod(0o777)
    (root / "usr/bin/link").symlink_to("tool")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


def packed(tree: Path, archive: Path, name: str) -> image_archive.Image:
    """Pack as the images of Pannier are packed."""
    return image_archive.write_archive(tree, archive, name, image_build.SETTINGS)


def contents(archive: Path) -> dict[str, bytes]:
    """Every file of an archive."""
    with tarfile.open(archive) as files:
        return {one.name: file.read() for one in files if (file := files.extractfile(one)) is not None}


def layer_of(archive: Path) -> tarfile.TarFile:
    """The one layer, found as a runtime would: index, manifest, layer."""
    files = contents(archive)

    def blob(descriptor: Any) -> bytes:
        kind, digest = descriptor["digest"].split(":")
        found = files[f"blobs/{kind}/{digest}"]
        assert len(found) == descriptor["size"]
        return found

    (listed,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(listed))
    config = json.loads(blob(manifest["config"]))
    assert config["config"]["User"] == "65532:65532"
    (layer,) = manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    return tarfile.open(fileobj=io.BytesIO(blob(layer)))


def test_the_same_tree_is_the_same_archive_whenever_it_is_packed(tree: Path, tmp_path: Path) -> None:
    """Times, owners and the order of a directory do not show."""
    first = packed(tree, tmp_path / "a.tar", "localhost/a:latest")
    os.utime(tree / "usr/bin/tool", (1, 1))
    again = packed(tree, tmp_path / "b.tar", "localhost/a:latest")
    assert first.digest == again.digest
    assert first.archive.read_bytes() == again.archive.read_bytes()
    (tree / "usr/bin/tool").write_text("#!/bin/true\n")
    assert packed(tree, tmp_path / "c.tar", "localhost/a:latest").digest != first.digest


def test_files_are_nobodys_and_no_one_else_can_write_them(tree: Path, tmp_path: Path) -> None:
    """Also those that could be written by everyone before; links stay links."""
    with layer_of(packed(tree, tmp_path / "a.tar", "localhost/a:latest").archive) as layer:
        found = {one.name: one for one in layer}
    assert set(found) == {"usr", "usr/bin", "usr/bin/tool", "usr/bin/link", "tmp"}
    assert {(one.uid, one.gid, one.mtime, one.uname) for one in found.values()} == {(0, 0, 0, "")}
    assert (found["usr/bin/tool"].mode, found["tmp"].mode) == (0o755, 0o1777)
    assert found["usr/bin/link"].linkname == "tool"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", image_build.TARGETS)
def test_an_image_is_reproducible_small_and_runs_as_nobody(target: str, tmp_path: Path) -> None:
    """Built from nothing; its command answers in a root of its own. The smaller one is built twice."""
    first = image_build.build(target, tmp_path / "first")
    if target == "sidecar":
        assert image_build.build(target, tmp_path / "again").digest == first.digest
    assert first.archive.stat().st_size >> 20 <= MOST_MIB[target]
    root = tmp_path / "root"
    with layer_of(first.archive) as layer:
        layer.extractall(root, filter="fully_trusted")
    assert list((root / "opt/pannier/pannier_sidecar/__pycache__").glob("process.*.pyc"))
    said = _inside(root, "/usr/local/bin/pannier", "--version")
    assert re.fullmatch(r"pannier \S+\n", said.stdout), said
    refused = _inside(root, "/usr/local/bin/pannier", "operator", "--workers", "0")
    has_operator = target == "operator"
    assert ("--workers" in refused.stderr) == has_operator, refused
    assert ("is not installed" in refused.stderr) != has_operator, refused


def _inside(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run in the image's root, as its user where we may choose one, else as root of a namespace of ours."""
    user = f"{image_build.USER}:{image_build.USER}"
    enter = ["chroot", f"--userspec={user}", str(root)]
    if os.getuid():
        enter = ["unshare", "--map-root-user", "--root", str(root)]
    environment = {"PYTHONPATH": "/opt/pannier", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*enter, *command], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_the_dockerfile_has_the_same_parts() -> None:
    """The locks, the user and the command; every file that it copies is there."""
    for target in image_build.TARGETS:
        assert (
            f"--require-hashes --no-deps --target /opt/pannier -r /src/requirements/image-{target}.txt"
            in DOCKERFILE
        )
    assert f"USER {image_build.USER}:{image_build.USER}" in DOCKERFILE
    assert 'ENTRYPOINT ["pannier"]' in DOCKERFILE
    for sources in re.findall(r"^COPY (?!--from)(?:--chmod=\d+ )?(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (steps.ROOT / source).exists(), source


def test_the_locks_of_images_hold_what_the_tests_ran_with() -> None:
    """Every version in them is the version in the lock of the tests."""
    pinned = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
    tested = dict(pinned.findall((LOCKS / "test.txt").read_text()))
    for target in image_build.TARGETS:
        found = dict(pinned.findall((LOCKS / f"image-{target}.txt").read_text()))
        assert found
        assert found.items() <= tested.items()
    assert "kubernetes" not in (LOCKS / "image-sidecar.txt").read_text()
