"""``pannier put``: write features of one id, or many rows from JSON lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, BinaryIO

import click
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from pannier_cli.client import Endpoint, Sidecar
from pannier_cli.commands.get import point_in_time
from pannier_cli.console import console, error_console, json_text, print_json
from pannier_cli.failures import did_you_mean
from pannier_cli.group_lookup import feature_types, look_up
from pannier_cli.json_lines import batches, writes_of_lines
from pannier_cli.options import endpoint_options, group_argument, json_option
from pannier_cli.typed_text import typed_value
from pannier_cli.verdict_tables import SHOWN_PROBLEMS, exit_code, summary, verdict_table


@click.command()
@group_argument
@click.argument("row_id", metavar="[ID]", required=False)
@click.argument("assignments", nargs=-1, metavar="[NAME=VALUE...]")
@click.option("--timestamp", metavar="TIME", help="Timeline groups: integer of the unit, or RFC 3339.")
@click.option("--event-time", metavar="TIME", help="Record groups: RFC 3339, or integer microseconds.")
@click.option("--mode", type=click.Choice(["merge", "replace", "force"]), help="How it meets what is stored.")
@click.option("--unset", multiple=True, metavar="NAME", help="Remove a feature; may be repeated.")
@click.option(
    "--json-file",
    type=click.File("rb"),
    help='Write many rows: one {"id", "features", ...} per line; - reads standard input.',
)
@endpoint_options
@json_option
def put(
    group: str, row_id: str | None, assignments: tuple[str, ...], *, endpoint: Endpoint, **asked: Any
) -> None:
    """Write features of an ID of GROUP, or of every line of --json-file.

    A VALUE is taken as JSON where that fits the feature's type, else as a string.
    """
    as_json: bool = asked.pop("as_json")
    lines: BinaryIO | None = asked.pop("json_file")
    if lines is not None:
        _refuse_mixture(row_id, asked)
        raise SystemExit(_put_lines(endpoint, group, lines, as_json=as_json))
    if row_id is None:
        raise click.UsageError("Give an ID and NAME=VALUE, or --json-file.")
    _put_one(endpoint, group, row_id, assignments, as_json=as_json, **asked)


def write_request(
    group: str, row_id: str, assignments: Sequence[str], types: dict[str, str], **asked: Any
) -> dict[str, Any]:
    """Compose one write of the request body from ``NAME=VALUE`` and the options."""
    features: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"{assignment!r} is not NAME=VALUE.")
        if types and name not in types:
            hint = did_you_mean(name, types) or f"`pannier groups {group}` lists them."
            raise click.UsageError(f"Group {group!r} has no feature {name!r}. {hint}")
        if name in features:
            raise click.UsageError(f"{name!r} is given more than once.")
        features[name] = typed_value(text, types.get(name))
    write = {
        "group": group,
        "id": row_id,
        "timestamp": point_in_time(asked.get("timestamp")),
        "features": features,
        "unset": list(asked.get("unset") or ()) or None,
        "event_time": point_in_time(asked.get("event_time")),
        "mode": asked.get("mode"),
    }
    return {name: value for name, value in write.items() if value is not None}


def _put_one(
    endpoint: Endpoint, group: str, row_id: str, assignments: Sequence[str], *, as_json: bool, **asked: Any
) -> None:
    if not assignments and not asked.get("unset"):
        raise click.UsageError("Nothing to write: give NAME=VALUE or --unset (a row goes with `delete`).")
    with Sidecar(endpoint) as sidecar:
        types = feature_types(look_up(sidecar, group))
        result = sidecar.write([write_request(group, row_id, assignments, types, **asked)])[0]
    if as_json:
        print_json(result)
    else:
        console().print(verdict_table([result]), soft_wrap=True)
    raise SystemExit(exit_code([result["verdict"]]))


def _put_lines(endpoint: Endpoint, group: str, lines: BinaryIO, *, as_json: bool) -> int:
    counts: Counter[str] = Counter()
    troubles: list[dict[str, Any]] = []
    is_whole = False
    with Sidecar(endpoint) as sidecar:
        look_up(sidecar, group)
        try:
            for results in _written(sidecar, batches(writes_of_lines(lines, group))):
                counts.update(result["verdict"] for result in results)
                room = SHOWN_PROBLEMS - len(troubles)
                troubles += [result for result in results if result["verdict"] != "written"][:room]
                if as_json:
                    _print_lines(results)
            is_whole = True
        finally:  # also where a later batch fails: what was written is written
            if not as_json:
                _report(counts, troubles, is_whole=is_whole)
    return exit_code(counts)


def _written(sidecar: Sidecar, writes: Iterable[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Send batch by batch, under a progress line where a person looks on."""
    with _progress() as progress:
        task = progress.add_task("rows", total=None) if progress else None
        for batch in writes:
            yield sidecar.write(batch)
            if progress and task is not None:
                progress.advance(task, len(batch))


def _report(counts: Counter[str], troubles: list[dict[str, Any]], *, is_whole: bool) -> None:
    out = console()
    if troubles:
        out.print(verdict_table(troubles), soft_wrap=True)
    hidden = counts.total() - counts["written"] - len(troubles)
    if hidden:
        out.print(f"[dim]… and {hidden:,} more that were not written[/]")
    out.print(summary(counts) if counts or is_whole else "0 written")


def _print_lines(results: Iterable[dict[str, Any]]) -> None:
    sys.stdout.writelines(json_text(result) + "\n" for result in results)


def _progress() -> Progress | nullcontext[None]:
    shell = error_console()
    if not shell.is_terminal:
        return nullcontext()
    return Progress(TextColumn("{task.description}"), MofNCompleteColumn(), console=shell, transient=True)


def _refuse_mixture(row_id: str | None, asked: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value]
    if row_id is not None:
        given.insert(0, "an ID")
    if given:
        raise click.UsageError(f"--json-file holds whole writes; it cannot be mixed with {', '.join(given)}.")
