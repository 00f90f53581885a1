"""Rows of an answer as tables for people: status, source tier, age, features; timelines newest first.

Pure: takes the sidecar's answer as decoded JSON and returns what rich prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pannier_cli.console import visible

STATUS_STYLE: Final = {"found": "green", "missing": "yellow", "unknown": "bold red"}
_UNIT_PER_SECOND: Final = {"Seconds": 1, "Milliseconds": 1_000, "Microseconds": 1_000_000}
_WIDEST_COLUMNS: Final = 8
_LONGEST_CELL: Final = 120


def rows_of_records(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Lay out a record group: ids below each other, or features below each other where they are many."""
    names = _feature_names(row.get("features", {}) for row in rows)
    if len(names) > _WIDEST_COLUMNS or len(rows) == 1:
        return _vertical(rows)
    table = _table("id", "status", "source", "age", *names)
    for row in rows:
        features = row.get("features", {})
        cells = (cell(features[name]) if name in features else "[dim]-[/]" for name in names)
        table.add_row(*_lead(row), *cells)
    return table


def rows_of_timelines(rows: Sequence[dict[str, Any]], unit: str | None) -> list[RenderableType]:
    """Lay out a timeline group: a heading and a table of records for each id."""
    blocks: list[RenderableType] = []
    for row in rows:
        blocks.append(_heading(row))
        records = row.get("records", [])
        if records:
            blocks.append(_record_table(records, unit))
        if row.get("more"):
            blocks.append(Text("older records in range exist: raise --limit or narrow --until", style="dim"))
    return blocks


def cell(value: Any) -> str:
    """One value as text: strings bare, everything else as JSON, long ones cut."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) > _LONGEST_CELL:
        text = f"{text[:_LONGEST_CELL]}… ({len(text)} characters)"
    return "[dim]null[/]" if value is None else escape(visible(text))


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


def _vertical(rows: Sequence[dict[str, Any]]) -> RenderableType:
    table = _table("id", "status", "source", "age", "feature", "value")
    for row in rows:
        lead = _lead(row)
        defaulted = set(row.get("defaulted", ()))
        for name, value in (row.get("features") or {"": ""}).items():
            note = " [dim](default)[/]" if name in defaulted else ""
            table.add_row(*lead, escape(name), cell(value) + note)
            lead = ("", "", "", "")
        table.add_section()
    return table


def _record_table(records: Sequence[dict[str, Any]], unit: str | None) -> Table:
    names = _feature_names(record["features"] for record in records)
    table = _table("timestamp", "time", *names)
    for record in records:
        features = record["features"]
        cells = (cell(features[name]) if name in features else "[dim]-[/]" for name in names)
        table.add_row(str(record["timestamp"]), instant(record["timestamp"], unit), *cells)
    return table


def _heading(row: dict[str, Any]) -> Text:
    row_id, status, source, how_old = _lead(row)
    count = len(row.get("records", ()))
    tail = f"{count} record{'' if count == 1 else 's'}" if row["status"] == "found" else ""
    parts = [f"[bold]{row_id}[/]", status, source, how_old if how_old != "-" else "", tail]
    return Text.from_markup("  ".join(part for part in parts if part))


def _lead(row: dict[str, Any]) -> tuple[str, str, str, str]:
    status = row["status"]
    marks = [mark for mark in ("stale", "outdated") if row.get(mark)]
    shown = f"[{STATUS_STYLE.get(status, 'white')}]{status}[/]" + "".join(f" [red]{m}[/]" for m in marks)
    return escape(visible(row["id"])), shown, row.get("source", ""), age(row.get("age_seconds"))


def _feature_names(many: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for features in many for name in features))


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(escape(name), overflow="fold")
    return table
