"""What a subcommand says where the packages that it needs are not installed."""

from __future__ import annotations

import sys
from types import MappingProxyType

from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

EXTRAS = MappingProxyType(
    {
        "serve": "sidecar",
        "bench": "sidecar",
        "operator": "operator",
        "check": "operator",
        "status --cluster": "operator",
    }
)
"""Subcommand -> the extra whose absence makes an import fail."""


def extra_missing(command: str, missing: ModuleNotFoundError) -> Exception:
    """Make the error that names the extra; a module of our own that is missing is a defect and stays one."""
    extra = EXTRAS.get(command)
    if extra is None or (missing.name or "").startswith("pannier"):
        return missing
    return CommandFailed(
        f"pannier {command} needs the Python package {missing.name!r}, which is not installed",
        exit_code=ExitCode.NOT_INSTALLED,
        hint=f"{sys.executable} -m pip install 'pannier[{extra}]'",
    )
