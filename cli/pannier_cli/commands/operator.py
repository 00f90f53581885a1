"""``pannier operator``: reconcile FeatureGroups of a cluster until told to stop.

The flags are those of `pannier_operator.settings.OPTIONS`, with environment twins, as with ``serve``.
"""

from __future__ import annotations

import os
from typing import Any

import click

from pannier_cli import logs
from pannier_cli.extras import extra_missing
from pannier_cli.failures import CommandFailed
from pannier_cli.flags import flag
from pannier_cli.starting import starting
from pannier_operator.errors import CannotStart, LeadershipLost
from pannier_operator.settings import OPTIONS, load


def start(**flags: Any) -> None:
    """Check the settings and run; what keeps the operator from starting is told in one message."""
    try:
        from pannier_operator.process import run  # noqa: PLC0415 - the help needs no extra
    except ModuleNotFoundError as missing:
        raise extra_missing("operator", missing) from missing
    try:
        with starting("operator", CannotStart):
            settings = load(flags, os.environ)
            logs.configure(settings.log_format, settings.log_level)
            run(settings)
    except LeadershipLost as lost:
        raise CommandFailed(
            str(lost), hint="another replica leads; Kubernetes starts this one anew."
        ) from lost


operator = click.Command(
    "operator",
    callback=start,
    params=[flag(option) for option in OPTIONS],
    help="Reconcile FeatureGroups: tables, TTL, tags and backups in DynamoDB, and the catalog of every"
    " consuming namespace. Of several replicas one leads. Stops on SIGTERM and SIGINT.",
    epilog="Try it: pannier operator --kubeconfig ~/.kube/config --dynamodb-endpoint-url http://127.0.0.1:8000",
)
