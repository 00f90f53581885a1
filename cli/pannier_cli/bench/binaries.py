"""Where the programs are that benches start: the checkout's own tools first, then PATH.

``PANNIER_TOOLS_DIR`` (default ``.tools`` under the working directory) holds ``bin/`` and ``dynamodb-local/``,
as the make targets install them, and ``feast-venv/`` where Feast lives apart.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

HOW_TO_GET: Final = MappingProxyType(
    {
        "wrk": "apt-get install wrk (Debian), or build https://github.com/wg/wrk",
        "redis-server": "apt-get install redis-server, or `make test-tools` in a checkout",
        "dynoxide": "`make test-tools` in a checkout (npm package @dynoxide/linux-x64)",
        "java": "apt-get install default-jre-headless; DynamoDB Local needs Java 17 or newer",
        "dynamodb-local": "`make test-tools` in a checkout (Maven com.amazonaws:DynamoDBLocal)",
        "feast": "pip install 'pannier[bench]', or into .tools/feast-venv: "
        "python3 -m venv .tools/feast-venv && .tools/feast-venv/bin/pip install 'feast[redis]'",
    }
)


def tools_directory() -> Path:
    """Where a checkout keeps the programs it installed for itself."""
    return Path(os.environ.get("PANNIER_TOOLS_DIR", ".tools")).absolute()


def find_program(name: str) -> str:
    """Return the path of an executable; says how to get it where there is none."""
    directories = [str(tools_directory() / "bin"), os.environ.get("PATH", os.defpath)]
    path = shutil.which(name, path=os.pathsep.join(directories))
    if path is None:
        raise not_installed(name)
    return path


def find_dynamodb_local() -> Path:
    """Return the folder that holds the jars of DynamoDB Local."""
    directory = tools_directory() / "dynamodb-local"
    if not directory.is_dir():
        raise not_installed("dynamodb-local")
    return directory


def find_feast_python() -> str | None:
    """Return a Python that can import Feast: this one, or that of the venv apart; None if neither can."""
    if find_spec("feast") is not None:
        return sys.executable
    python = tools_directory() / "feast-venv" / "bin" / "python"
    return str(python) if python.is_file() else None


def not_installed(name: str) -> CommandFailed:
    """Say that a program is missing and how to get it."""
    return CommandFailed(
        f"{name} is not installed", exit_code=ExitCode.NOT_INSTALLED, hint=HOW_TO_GET.get(name, "")
    )
