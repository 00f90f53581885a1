"""What the figures were measured on: hardware and versions, printed with every result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pannier_cli.bench.binaries import find_feast_python, find_program
from pannier_cli.failures import CommandFailed

PACKAGES = ("pannier", "aiohttp", "uvloop", "msgspec", "aioboto3", "redis", "hiredis")
_PROGRAMS = {"wrk": ["-v"], "redis-server": ["--version"], "dynoxide": ["--version"]}


def describe() -> dict[str, str]:
    """Name -> what there is of it on this machine."""
    facts = {
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        # whose it is: builds without profile-guided optimisation need about a third more CPU
        "python": f"{platform.python_implementation()} {platform.python_version()} of {sys.base_prefix}",
    }
    facts |= {name: found for name in PACKAGES if (found := _package_version(name))}
    facts |= {name: found for name, args in _PROGRAMS.items() if (found := _program_version(name, args))}
    feast = _feast_version()
    return facts | ({"feast": feast} if feast else {})


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _program_version(name: str, arguments: list[str]) -> str | None:
    try:
        command = [find_program(name), *arguments]
    except CommandFailed:
        return None
    return _first_line(command)


def _feast_version() -> str | None:
    python = find_feast_python()
    script = "import importlib.metadata as m; print(m.version('feast'))"
    return _first_line([python, "-c", script]) if python else None


def _first_line(command: list[str]) -> str | None:
    # wrk prints its version with its usage and exits with 1
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else None
