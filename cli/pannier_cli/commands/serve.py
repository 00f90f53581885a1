"""``pannier serve``: run the sidecar in this process until it is told to stop.

The flags are those of `pannier_sidecar.settings.OPTIONS`; they reach the settings as text, and the settings
check flags and environment together, so that every bad one is named in one message.
"""

from __future__ import annotations

import os
from typing import Any

import click

from pannier.errors import SpecInvalid
from pannier_cli import logs
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed
from pannier_cli.flags import flag
from pannier_cli.starting import starting
from pannier_sidecar.process import run
from pannier_sidecar.server import CannotListen
from pannier_sidecar.settings import OPTIONS, load


def start(**flags: Any) -> None:
    """Check the settings and serve; what keeps the sidecar from starting is told in one message."""
    try:
        with starting("serve", CannotListen):
            settings = load(flags, os.environ)
            logs.configure(settings.log_format, settings.log_level)
            run(settings)
    except SpecInvalid as invalid:
        lines = "\n".join(f"  {problem}" for problem in invalid.problems)
        raise CommandFailed(
            f"the feature groups cannot be served:\n{lines}",
            exit_code=ExitCode.CANNOT_START,
            hint="`pannier validate` shows the lines.",
        ) from invalid


serve = click.Command(
    "serve",
    callback=start,
    params=[flag(option) for option in OPTIONS],
    help="Serve feature groups on localhost: reads and writes of features over HTTP, out of memory, Redis "
    "and DynamoDB (or a file, for a laptop). Stops on SIGTERM and SIGINT after finishing requests.",
    epilog="Try it: pannier serve --specs examples/flights",
)
