"""Verdicts of writes as tables for people, and as an exit code for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.markup import escape

from pannier_cli.console import visible
from pannier_cli.exit_codes import ExitCode
from pannier_cli.fitting_tables import FittingTable

SHOWN_PROBLEMS: Final = 20
_STYLE: Final = {
    "written": "green",
    "deleted": "green",
    "unknown": "bold red",
    "failed": "bold red",
    "invalid": "red",
}


def verdict_table(results: Sequence[dict[str, Any]]) -> FittingTable:
    """One line per row: what became of it and why."""
    table = FittingTable("id", "verdict", "event time", "why", prose=("why",))
    for result in results:
        verdict = result["verdict"]
        styled = f"[{_STYLE.get(verdict, 'yellow')}]{verdict}[/]"
        when = result.get("event_time") or result.get("timestamp") or ""
        table.add_row(
            escape(visible(str(result.get("id", "")))), styled, str(when), escape(visible(reason(result)))
        )
    return table


def reason(result: dict[str, Any]) -> str:
    """Why the verdict is what it is, in one line; empty where everything was written as asked."""
    parts = [str(result[name]) for name in ("path", "message") if result.get(name)]
    sentences = [": ".join(parts)] if parts else [str(result["reason"])] if result.get("reason") else []
    if result.get("ignored_features"):
        sentences.append(f"newer already: {', '.join(result['ignored_features'])}")
    if result.get("replaced"):
        sentences.append("replaced another record of the same instant")
    return "; ".join(sentences)


def exit_code(verdicts: Iterable[str]) -> ExitCode:
    """OK only where every row was written."""
    seen = set(verdicts)
    if "unknown" in seen:
        return ExitCode.UNKNOWN
    return ExitCode.OK if seen <= {"written"} else ExitCode.REFUSED


def summary(counts: Counter[str]) -> str:
    """Return ``3 written, 1 invalid``, the most frequent first."""
    return ", ".join(f"{count:,} {verdict}" for verdict, count in counts.most_common()) or "nothing to write"
