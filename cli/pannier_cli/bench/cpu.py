"""CPU time of processes out of /proc: what a figure per row or per part is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT = 1
_UTIME, _STIME, _CHILD_UTIME, _CHILD_STIME = 11, 12, 13, 14
"""Fields of /proc/PID/stat after the name, counted from 0 (see proc(5))."""


class ProcessTime(NamedTuple):
    """One process: its parent, its own CPU seconds, and those of children it has already buried."""

    parent: int
    own_seconds: float
    buried_seconds: float


def parse_stat(stat: str) -> ProcessTime:
    """Read one line of /proc/PID/stat; the name in brackets may itself hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    own = int(fields[_UTIME]) + int(fields[_STIME])
    buried = int(fields[_CHILD_UTIME]) + int(fields[_CHILD_STIME])
    return ProcessTime(int(fields[_PARENT]), own / _TICKS_PER_SECOND, buried / _TICKS_PER_SECOND)


def tree_seconds(pid: int) -> float:
    """CPU seconds that a process and everything below it have used so far."""
    times = _all_processes()
    return sum(times[member].own_seconds + times[member].buried_seconds for member in descendants(pid, times))


def descendants(pid: int, times: dict[int, ProcessTime]) -> set[int]:
    """Return the process and all below it."""
    found = {pid} & times.keys()
    while more := {member for member, time in times.items() if time.parent in found} - found:
        found |= more
    return found


def _all_processes() -> dict[int, ProcessTime]:
    times = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                times[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except OSError:  # it ended while we looked
                continue
    return times
