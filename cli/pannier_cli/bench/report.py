"""Results of benches as tables for people. Pure but for the console it prints on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from pannier_cli.bench.compare_workload import SCENARIOS
from pannier_cli.bench.figures import Measured, Ratio

OURS: Final = "pannier"
FLOORS: Final = {
    ("one_row", "bare aiohttp"): 0.75,
    ("many_rows", "bare aiohttp"): 0.5,
    ("one_row", "feast"): 25.0,
    ("many_rows", "feast"): 60.0,
}
"""What this sidecar's requests per second must come to, as a multiple of the other server's."""


def compare_table(results: Mapping[str, Mapping[str, Measured]]) -> Table:
    """One line per scenario and server."""
    table = grid(
        "request", "server", ">requests/s", ">p50", ">p99", ">CPU per request", ">CPU per row", ">failed"
    )
    for scenario in SCENARIOS:
        title = scenario.title
        for name, measured in results[scenario.name].items():
            table.add_row(
                title,
                f"[bold]{name}[/]" if name == OURS else name,
                f"{measured.requests_per_second:,.0f}",
                microseconds(measured.p50_us),
                microseconds(measured.p99_us),
                microseconds(measured.cpu_us_per_request),
                microseconds(measured.cpu_us_per_row),
                f"{measured.errors:,}" if measured.errors else "",
            )
            title = ""
        table.add_section()
    return table


def ratio_table(ratios: Mapping[str, Mapping[str, Ratio]]) -> Table:
    """One line per comparison, with its floor."""
    table = grid("request", "this sidecar against", ">requests/s", ">floor", "", ">CPU per request")
    for scenario in SCENARIOS:
        for other, ratio in ratios[scenario.name].items():
            floor = FLOORS.get((scenario.name, other))
            throughput = ratio.requests_per_second
            holds = "" if floor is None else "[green]holds[/]" if throughput >= floor else "[red]below[/]"
            shown = f"{floor:g}x" if floor else ""
            table.add_row(
                scenario.title, other, f"{throughput:.2f}x", shown, holds, f"{ratio.cpu_per_request:.2f}x"
            )
    return table


def print_facts(out: Console, title: str, facts: Mapping[str, Any]) -> None:
    """Print ``name value`` lines under a title."""
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, str(value))
    out.print(table)


def microseconds(value: float) -> str:
    """Return a duration in the unit that reads best."""
    if value < 1_000:  # noqa: PLR2004 (units of time)
        return f"{value:,.1f} µs" if value < 100 else f"{value:,.0f} µs"  # noqa: PLR2004
    return f"{value / 1_000:,.2f} ms"


def grid(*columns: str) -> Table:
    """Make a plain table; ``>`` before a name aligns its column to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left")
    return table
