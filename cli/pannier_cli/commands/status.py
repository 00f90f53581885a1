"""``pannier status``: the state of a sidecar, from its admin port."""

from __future__ import annotations

from typing import Any, NoReturn

import click
from rich.markup import escape
from rich.text import Text

from pannier_cli import cluster_status
from pannier_cli.client import Endpoint, Sidecar
from pannier_cli.console import console, print_json
from pannier_cli.exit_codes import ExitCode
from pannier_cli.fitting_tables import block
from pannier_cli.in_cluster import in_cluster, kubeconfig_option
from pannier_cli.options import json_option
from pannier_cli.row_tables import age

DEFAULT_ADMIN = "http://127.0.0.1:8471"


@click.command()
@click.option(
    "--admin",
    envvar="PANNIER_ADMIN_URL",
    show_envvar=True,
    default=DEFAULT_ADMIN,
    show_default=True,
    help="Admin address of the sidecar.",
)
@click.option("--cluster", is_flag=True, help="Of a cluster: its groups, and which pods do not serve them.")
@click.option("--namespace", "-n", help="With --cluster: of this namespace only.")
@kubeconfig_option
@json_option
def status(
    admin: str, *, cluster: bool, namespace: str | None, kubeconfig: str | None, as_json: bool
) -> None:
    """Show what a sidecar serves, from which tiers, and what is wrong with it.

    With --cluster instead: FeatureGroups, whether they are ready, and which pods serve an older version.
    Exits with 1 where a sidecar, or a group, is not ready or not served.
    """
    if cluster:
        _cluster(namespace, kubeconfig, as_json=as_json)
    with Sidecar(Endpoint(admin, flags="--admin")) as sidecar:
        document = sidecar.call("GET", "/v1/status", has="tiers")
    if as_json:
        print_json(document)
    else:
        _show(document)
    raise SystemExit(ExitCode.OK if document["ready"] else ExitCode.REFUSED)


def _cluster(namespace: str | None, kubeconfig: str | None, *, as_json: bool) -> NoReturn:
    groups = in_cluster("status --cluster", kubeconfig, lambda api: cluster_status.groups_of(api, namespace))
    if as_json:
        print_json(groups)
    else:
        cluster_status.show(groups)
    well = all(map(cluster_status.is_served, groups))
    raise SystemExit(ExitCode.OK if well else ExitCode.REFUSED)


def _show(document: dict[str, Any]) -> None:
    out = console()
    lines = block((name, Text.from_markup(sentence)) for name, sentence in facts(document))
    out.print(*lines, sep="\n", soft_wrap=True)
    for note in document["degraded"]:
        told = f"{note['part']}: {note['message']} ({note['reason']})"
        out.print(f"[yellow]degraded[/] {escape(told)}")


def facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Condense the status document to a handful of lines."""
    tiers, catalog, backfill = document["tiers"], document["catalog"], document["backfill"]
    l1, l2, l3 = tiers["l1"], tiers["l2"], tiers["l3"]
    lines = [
        ("version", f"{document['version']}, up {age(document['uptime_seconds'])}"),
        ("ready", "[green]yes[/]" if document["ready"] else "[bold red]no[/]"),
        (
            "catalog",
            f"{catalog['groups']} groups at revision {catalog['revision']}, from {catalog['source']}",
        ),
        (
            "l1",
            f"{l1['entries']:,} entries, {size(l1['bytes'])} of {size(l1['limit_bytes'])}",
        ),
        ("l2", _tier(l2["url"], l2) if l2["enabled"] else "off"),
        ("l3", _tier(l3["store"], l3)),
    ]
    if backfill is not None:
        lines.append(("backfill", f"{backfill['queued']:,} queued, {backfill['unconfirmed']:,} unconfirmed"))
    return lines


def size(count: int) -> str:
    """Bytes with a unit that fits: ``310 B``, ``1.5 KiB``, ``256 MiB``."""
    for exponent, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << exponent:
            return f"{round(count / (1 << exponent), 1):,g} {unit}"
    return f"{count:,} B"


def _tier(name: str, health: dict[str, Any]) -> str:
    errors = sum(health["errors"].values())
    circuit = f", circuit {health['circuit']}" if health["circuit"] else ""
    trouble = f", {errors:,} errors (last {health['last_error']})" if errors else ""
    return f"{name}{circuit}{trouble}"
