"""Whether this machine can run a node, and if not, exactly why."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from e2e.single_node import cgroups

_NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork")


def obstacles(programs: str) -> list[str]:
    """Say what stands in the way, one sentence each; ``programs`` is the PATH of a node's own programs."""
    return list(_obstacles(f"{programs}:{os.environ.get('PATH', os.defpath)}"))


def _obstacles(path: str) -> Iterator[str]:
    if os.geteuid():
        yield "it takes root to make namespaces, mounts and cgroups; this is another user"
        return
    for program in ("unshare", "nsenter", "mount", "ip", "runc", "nft"):
        if shutil.which(program, path=path) is None:
            yield f"there is no {program} on PATH"
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        yield "the kernel has no overlay file system"
    yield from _refused("namespaces cannot be made", ["unshare", *_NAMESPACES, "true"])
    inside = ["unshare", *_NAMESPACES, "sh", "-c"]
    yield from _refused(
        "a veth pair cannot be made", [*inside, "ip link add name one type veth peer name two"], path=path
    )
    yield from _refused("a bridge cannot be made", [*inside, "ip link add name one type bridge"], path=path)
    yield from _refused("nftables cannot be used", [*inside, "nft add table ip x"], path=path)
    yield from _cgroup_obstacles()


def _cgroup_obstacles() -> Iterator[str]:
    places = cgroups.hierarchies() if cgroups.ROOT.is_dir() else []
    if not places:
        yield f"there is no cgroup hierarchy below {cgroups.ROOT}"
    if unwritable := [str(place) for place in places if not os.access(place, os.W_OK)]:
        yield f"cgroups cannot be made in {', '.join(unwritable)}"
    if not cgroups.is_unified():
        for controller in ("cpu", "memory", "pids"):
            if not any(controller in place.name.split(",") for place in places):
                yield f"the cgroup controller {controller} is not mounted"


def _refused(what: str, command: Sequence[str], *, path: str | None = None) -> Iterator[str]:
    environment = {**os.environ, **({"PATH": path} if path else {})}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        yield f"{what}: {error}"
        return
    if done.returncode:
        yield f"{what}: {done.stderr.strip() or f'exit code {done.returncode}'}"
