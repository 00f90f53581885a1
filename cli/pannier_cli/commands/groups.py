"""``pannier groups``: what a sidecar serves."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.markup import escape

from pannier.catalog import CatalogGroup
from pannier_cli.client import Endpoint, Sidecar
from pannier_cli.console import console, print_json
from pannier_cli.fitting_tables import FittingTable
from pannier_cli.group_lookup import look_up
from pannier_cli.options import complete_group, endpoint_options, json_option
from pannier_cli.policy_tables import features_table, print_policies

_COLUMNS = ("group", "kind", "entity", "features", "profile", "access", "namespace")


@click.command()
@click.argument("group", required=False, shell_complete=complete_group)
@endpoint_options
@json_option
def groups(group: str | None, *, endpoint: Endpoint, as_json: bool) -> None:
    """List the groups that a sidecar serves, or show one GROUP with its features and resolved policy."""
    with Sidecar(endpoint) as sidecar:
        if group is not None:
            document = look_up(sidecar, group)
        else:
            document = sidecar.call("GET", "/v1/groups", has="groups")
    if as_json:
        print_json(document)
        return
    out = console()
    if group is not None:
        out.print(features_table(document["features"]), soft_wrap=True)
        out.print()
        print_policies(out, [_as_catalog_group(document)])
        return
    table = FittingTable(*_COLUMNS)
    for served in document["groups"]:
        table.add_row(*(escape(str(served[name])) for name in _COLUMNS))
    out.print(table, soft_wrap=True)
    out.print(f"[dim]{len(document['groups'])} groups, catalog revision {document['revision']}[/]")


def _as_catalog_group(document: dict[str, Any]) -> CatalogGroup:
    return msgspec.convert({**document, "groupName": document["group"]}, CatalogGroup)
