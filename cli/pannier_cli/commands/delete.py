"""``pannier delete``: remove rows of an id on every tier."""

from __future__ import annotations

import click

from pannier_cli.client import Endpoint, Sidecar
from pannier_cli.console import console, print_json
from pannier_cli.group_lookup import look_up
from pannier_cli.options import endpoint_options, group_argument, json_option
from pannier_cli.verdict_tables import exit_code, verdict_table


@click.command()
@group_argument
@click.argument("row_id", metavar="ID")
@click.option("--timestamp", metavar="TIME", help="Only the records of this instant of a timeline.")
@click.option("--tie-breaker", metavar="VALUE", help="With --timestamp: only the record that has it.")
@endpoint_options
@json_option
def delete(group: str, row_id: str, *, endpoint: Endpoint, as_json: bool, **which: str | None) -> None:
    """Delete ID of GROUP: the whole id, or the records of one instant."""
    if which["tie_breaker"] is not None and which["timestamp"] is None:
        raise click.UsageError("--tie-breaker needs --timestamp.")
    query = [(name, value) for name, value in which.items() if value is not None]
    with Sidecar(endpoint) as sidecar:
        look_up(sidecar, group)
        result = sidecar.row("DELETE", group, row_id, query)
    if as_json:
        print_json(result)
    else:
        # the API's verdict says that the deletion is written; a person asked for a deletion
        shown = "deleted" if result["verdict"] == "written" else result["verdict"]
        console().print(verdict_table([{**result, "verdict": shown}]), soft_wrap=True)
    raise SystemExit(exit_code([result["verdict"]]))
