"""``pannier webhook``: add sidecars to pods of a cluster until told to stop."""

from __future__ import annotations

import os
from typing import Any

import click

from pannier_cli import logs
from pannier_cli.extras import extra_missing
from pannier_cli.flags import flag
from pannier_cli.starting import starting
from pannier_operator.errors import CannotStart
from pannier_operator.injection.injector_settings import OPTIONS, load


def start(**flags: Any) -> None:
    """Check the settings and run; what keeps it from starting is told in one message."""
    try:
        from pannier_operator.injection.injector import run  # noqa: PLC0415 - the help needs no extra
    except ModuleNotFoundError as missing:
        raise extra_missing("operator", missing) from missing
    with starting("webhook", CannotStart):
        settings = load(flags, os.environ)
        logs.configure(settings.log_format, settings.log_level)
        run(settings)


webhook = click.Command(
    "webhook",
    callback=start,
    params=[flag(option) for option in OPTIONS],
    help="Add the sidecar to pods that ask for it by the label pannier.dev/inject, as a mutating admission"
    " webhook. Keeps no state; any number of replicas run side by side. Stops on SIGTERM and SIGINT.",
)
