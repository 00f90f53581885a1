"""The cgroup of a node: a folder in each hierarchy (v1), or one (v2); nothing outside of it is changed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("cpuset", "cpu", "io", "memory", "pids")
_PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05


def is_unified(root: Path = ROOT) -> bool:
    """Whether there is one hierarchy for all controllers (v2)."""
    return (root / "cgroup.controllers").exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Roots of all hierarchies that a node needs a folder in."""
    if is_unified(root):
        return [root]
    return sorted(place for place in root.iterdir() if (place / "tasks").exists() and not place.is_symlink())


def make(name: str, root: Path = ROOT) -> None:
    """Make a node's folders."""
    for place in hierarchies(root):
        folder = place / name
        folder.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (folder / setting).exists() and not is_unified(root):  # v1: empty = no processor at all
                (folder / setting).write_text((place / setting).read_text())
        if is_unified(root):
            _delegate(place, folder)


def _delegate(root: Path, folder: Path) -> None:
    offered = (root / "cgroup.controllers").read_text().split()
    for controller in filter(offered.__contains__, _CONTROLLERS):
        for place in (root, folder):  # one by one: of several in one write all fail, if one does
            (place / "cgroup.subtree_control").write_text(f"+{controller}")


def existing(prefix: str, root: Path = ROOT) -> Iterator[Path]:
    """Folders of nodes in every hierarchy, also in those of others: runc writes to v2's beside v1's."""
    if not root.is_dir():
        return
    for place in [root, *(folder for folder in root.iterdir() if folder.is_dir())]:
        yield from sorted(place.glob(f"{prefix}*/"))


def remove(name: str, root: Path = ROOT) -> list[Path]:
    """Remove a node's folders, once its processes are gone; gives what could not be removed."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while left := [folder for folder in existing(name, root) if folder.name == name]:
        for folder in left:
            _remove_tree(folder)
        if time.monotonic() > give_up_at:
            return left
        time.sleep(_POLL_SECONDS)
    return []


def _remove_tree(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a process is still ending: the caller tries again
        for inner in folder.iterdir():
            if inner.is_dir():
                _remove_tree(inner)
        folder.rmdir()
