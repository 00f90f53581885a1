"""``pannier get``: read features of ids and show where each answer came from."""

from __future__ import annotations

from typing import Any

import click

from pannier_cli.client import Endpoint, Sidecar, problem_sentence
from pannier_cli.console import console, print_json
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed, did_you_mean
from pannier_cli.group_lookup import feature_types, look_up, sort_key_unit
from pannier_cli.options import endpoint_options, group_argument, json_option
from pannier_cli.row_tables import rows_of_records, rows_of_timelines


@click.command()
@group_argument
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--features", metavar="A,B", help="Only these features.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many records of a timeline.")
@click.option("--since", metavar="TIME", help="Oldest time, inclusive: integer, RFC 3339 or relative (-7d).")
@click.option("--until", metavar="TIME", help="Newest time, inclusive.")
@click.option("--explain", is_flag=True, help="With --json: add source tier, age and event time per row.")
@endpoint_options
@json_option
def get(group: str, ids: tuple[str, ...], *, endpoint: Endpoint, as_json: bool, **asked: Any) -> None:
    """Read features of ids of GROUP.

    Exits with 4 where an id is missing, with 5 where a tier gave no answer for one.
    """
    explain = bool(asked.pop("explain")) or not as_json
    with Sidecar(endpoint) as sidecar:
        served = look_up(sidecar, group)
        read = read_request(group, ids, **asked)
        _known_features(read.get("features", ()), served)
        result = sidecar.read([read], explain=explain)[0]
    if "error" in result:
        raise CommandFailed(problem_sentence(result["error"]))
    if as_json:
        print_json(result)
    else:
        _show(result["rows"], sort_key_unit(served))
    raise SystemExit(exit_code(result["rows"]))


def read_request(group: str, ids: tuple[str, ...], **asked: Any) -> dict[str, Any]:
    """Compose one read of the request body; options that were not given are left out."""
    features = asked.get("features")
    read = {
        "group": group,
        "ids": list(ids),
        "features": [name.strip() for name in features.split(",")] if features is not None else None,
        "limit": asked.get("limit"),
        "since": point_in_time(asked.get("since")),
        "until": point_in_time(asked.get("until")),
    }
    return {name: value for name, value in read.items() if value is not None}


def point_in_time(text: str | None) -> int | str | None:
    """Return an integer of the group's unit as a number, any other form as it was typed."""
    if text is None:
        return None
    return int(text) if text.isascii() and text.isdigit() else text


def exit_code(rows: list[dict[str, Any]]) -> ExitCode:
    """Unknown outranks missing: it says that asking again may help."""
    statuses = {row["status"] for row in rows}
    if "unknown" in statuses:
        return ExitCode.UNKNOWN
    return ExitCode.MISSING if "missing" in statuses else ExitCode.OK


def _known_features(names: list[str], served: dict[str, Any]) -> None:
    known = feature_types(served)
    for name in names:
        if known and name not in known:
            raise CommandFailed(
                f"group {served['group']!r} has no feature {name!r}",
                hint=did_you_mean(name, known) or f"`pannier groups {served['group']}` lists them.",
            )


def _show(rows: list[dict[str, Any]], unit: str | None) -> None:
    out = console()
    if not any("records" in row for row in rows):
        out.print(rows_of_records(rows), soft_wrap=True)
        return
    for block in rows_of_timelines(rows, unit):
        out.print(block, soft_wrap=True)
