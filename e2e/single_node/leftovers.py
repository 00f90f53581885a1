"""What nodes leave on a machine: compared before and after, since it has mounts and routes of its own."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from e2e.single_node import cgroups
from e2e.single_node import layout as at


def traces(name: str) -> frozenset[str]:
    """List mounts, interfaces and routes of this machine, and processes, cgroups and folders of one node.

    Other nodes may come and go beside it.
    """
    own = re.compile(rf"{re.escape(name)}(?!\d)")
    return frozenset((*_mounts(), *_network(), *_processes(own), *_cgroups(own), *_folders(own)))


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield f"mount {line.split()[4]}"


def _network() -> Iterator[str]:
    """Read what the kernel says: a machine need not have a program for that."""
    for link in Path("/sys/class/net").iterdir():
        yield f"link {link.name}"
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination, gateway, *_, mask = line.split()[:8]
        yield f"route {destination}/{mask} by {gateway} on {interface}"
    sixth = Path("/proc/net/ipv6_route")
    for line in sixth.read_text().splitlines() if sixth.exists() else ():
        destination, prefix, _, _, gateway, *_, interface = line.split()
        yield f"route {destination}/{prefix} by {gateway} on {interface}"


def _processes(own: re.Pattern[str]) -> Iterator[str]:
    """Find whatever is in a node's cgroup, or has its folder among its arguments."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                told = (process / "cgroup").read_text() + (process / "cmdline").read_text()
            except OSError:
                continue  # it has ended meanwhile
            if own.search(told):
                yield f"process {process.name} {' '.join(told.split())[:400]}"


def _cgroups(own: re.Pattern[str]) -> Iterator[str]:
    for folder in cgroups.existing(at.PREFIX):
        if own.match(folder.name):
            yield f"cgroup {folder}"


def _folders(own: re.Pattern[str]) -> Iterator[str]:
    for folder in Path(tempfile.gettempdir()).glob(f"{at.PREFIX}*"):
        if own.match(folder.name):
            yield f"folder {folder}"
