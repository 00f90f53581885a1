"""Rows of an answer as tables for people: status, source tier, age, features; timelines newest first.

Pure: takes the sidecar's answer as decoded JSON and returns what rich prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from pannier_cli.console import visible
from pannier_cli.fitting_tables import FittingTable, block, one_line

STATUS_STYLE: Final = {"found": "green", "missing": "yellow", "unknown": "bold red"}
_UNIT_PER_SECOND: Final = {"Seconds": 1, "Milliseconds": 1_000, "Microseconds": 1_000_000}
_WIDEST_COLUMNS: Final = 8
_LONGEST_CELL: Final = 120
_LEAD: Final = ("id", "status", "source", "age")
_WHY: Final = "why"
_ABSENT: Final = "[dim]-[/]"
_DEFAULT: Final = " [dim](default)[/]"
_AMBIGUOUS: Final = {"", "-", "null"}
"""Strings that look like a value that is no string, or like none at all."""


def rows_of_records(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Lay out a record group: ids below each other, or features below each other where they are many."""
    names = _feature_names(row.get("features", {}) for row in rows)
    if len(names) > _WIDEST_COLUMNS or len(rows) == 1:
        return Group(*_vertical(rows))
    why = [_WHY] if any(map(_why, rows)) else []
    table = FittingTable(*_LEAD, *names, *why, prose=why, narrow=_vertical(rows))
    for row in rows:
        features = row.get("features", {})
        cells = (cell(features[name]) if name in features else _ABSENT for name in names)
        table.add_row(*_lead(row), *cells, *(escape(_why(row)) for _ in why))
    return table


def rows_of_timelines(rows: Sequence[dict[str, Any]], unit: str | None) -> list[RenderableType]:
    """Lay out a timeline group: a heading and a table of records for each id."""
    blocks: list[RenderableType] = []
    for row in rows:
        blocks += _heading(row)
        records = row.get("records", [])
        if records:
            blocks.append(_record_table(records, unit))
        if row.get("more"):
            blocks.append(Text("older records in range exist: raise --limit or narrow --until", style="dim"))
    return blocks


def cell(value: Any) -> str:
    """One value as markup: strings bare, everything else as JSON, long ones cut.

    A string that would read as something else here (``null``, nothing, a quoted string) is quoted.
    """
    if value is None:
        return "[dim italic]null[/]"
    is_bare = isinstance(value, str) and value not in _AMBIGUOUS and not value.startswith('"')
    text = value if is_bare else msgspec.json.encode(value).decode()
    if len(text) > _LONGEST_CELL:
        text = f"{text[:_LONGEST_CELL]}… ({len(text)} characters)"
    return escape(visible(text))


def age(seconds: float | None) -> str:
    """How long ago the store said so, with a unit that fits."""
    if seconds is None:
        return "-"
    for limit, divisor, unit in ((1, 0.001, "ms"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 86_400:.3g} d"


def instant(timestamp: int, unit: str | None) -> str:
    """A sort-key timestamp as RFC 3339 UTC; empty where the unit is not known or no calendar date fits."""
    if unit not in _UNIT_PER_SECOND:
        return ""
    try:
        moment = datetime.fromtimestamp(timestamp / _UNIT_PER_SECOND[unit], UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _vertical(rows: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """A heading for each row and its features below each other."""
    blocks: list[RenderableType] = []
    for row in rows:
        blocks += _heading(row)
        defaulted = set(row.get("defaulted", ()))
        blocks += block(
            (f"  {visible(name)}", Text.from_markup(cell(value) + (_DEFAULT if name in defaulted else "")))
            for name, value in row.get("features", {}).items()
        )
    return blocks


def _record_table(records: Sequence[dict[str, Any]], unit: str | None) -> FittingTable:
    names = _feature_names(record["features"] for record in records)
    table = FittingTable("timestamp", "time", *names)
    for record in records:
        features = record["features"]
        cells = (cell(features[name]) if name in features else _ABSENT for name in names)
        table.add_row(str(record["timestamp"]), instant(record["timestamp"], unit), *cells)
    return table


def _heading(row: dict[str, Any]) -> list[RenderableType]:
    """Id, status, source, age and number of records; below it why nothing is known, where the answer says."""
    row_id, status, source, how_old = _lead(row)
    count = len(row.get("records", ()))
    is_counted = "records" in row and row["status"] == "found"
    tail = f"{count} record{'' if count == 1 else 's'}" if is_counted else ""
    parts = [f"[bold]{row_id}[/]", status, source, how_old if how_old != "-" else "", tail]
    lines: list[RenderableType] = [one_line(Text.from_markup("  ".join(part for part in parts if part)))]
    if why := _why(row):
        lines.append(Text(f"  {why}", style="dim"))
    return lines


def _why(row: dict[str, Any]) -> str:
    """Why a row is unknown, in the words of the answer."""
    parts = [str(row[name]) for name in ("reason", "message") if row.get(name)]
    return visible(": ".join(parts))


def _lead(row: dict[str, Any]) -> tuple[str, str, str, str]:
    status = row["status"]
    marks = [mark for mark in ("stale", "outdated") if row.get(mark)]
    shown = f"[{STATUS_STYLE.get(status, 'white')}]{status}[/]" + "".join(f" [red]{m}[/]" for m in marks)
    return escape(visible(row["id"])), shown, row.get("source", ""), age(row.get("age_seconds"))


def _feature_names(many: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for features in many for name in features))
