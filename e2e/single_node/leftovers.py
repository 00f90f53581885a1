"""What nodes leave on a machine: compared before and after, since it has mounts and routes of its own."""

from __future__ import annotations

import os
import re
import subprocess
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
    for what in ("link", "route"):
        listing = ["ip", "-oneline", what, "show"] + (["table", "all"] if what == "route" else [])
        said = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
        for line in said.splitlines():
            yield f"{what} {line.split(': ')[1] if what == 'link' else line.strip()}"


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
