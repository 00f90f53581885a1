"""Results of `mixed` as tables for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from pannier_cli.bench.mixed import TARGET_P99_MS, MixedResult, Trial
from pannier_cli.bench.report import grid


def latency_table(trial: Trial) -> Table:
    """One line per kind of request."""
    table = grid("request", ">answered", ">p50 ms", ">p99 ms", ">p99.9 ms", ">max ms")
    for kind, one in trial.load.latencies.items():
        figures = (one.p50_ms, one.p99_ms, one.p999_ms, one.max_ms)
        table.add_row(kind, f"{one.count:,}", *("-" if f is None else f"{f:,.2f}" for f in figures))
    return table


def tier_table(trial: Trial) -> Table:
    """One line per group: which tier answered what share of its rows."""
    outcomes = list(dict.fromkeys(name for shares in trial.hit_shares.values() for name in shares))
    table = grid("group", *(f">{name}" for name in outcomes))
    for group, shares in trial.hit_shares.items():
        table.add_row(group, *(f"{shares.get(name, 0):.1%}" for name in outcomes))
    return table


def cpu_table(trial: Trial) -> Table:
    """One column per part, in percent of one core."""
    table = grid("CPU, % of a core", *(f">{name}" for name in trial.cpu_percent))
    table.add_row("", *(f"{percent:.0f}" for percent in trial.cpu_percent.values()))
    return table


def search_table(trials: Sequence[Trial]) -> Table:
    """One line per rate that was tried, in the order of trial."""
    table = grid(">x", ">reads/s", ">writes/s", ">worst p99 ms", ">failed", ">sidecar CPU %", "", "")
    for trial in trials:
        lag = trial.load.lag_p99_ms
        table.add_row(
            f"{trial.factor:g}",
            f"{trial.reads_per_second:,.0f}",
            f"{trial.writes_per_second:,.0f}",
            f"{trial.worst_p99_ms:,.1f}",
            str(sum(trial.load.failures.values())),
            f"{trial.cpu_percent['sidecar']:.0f}",
            "[green]holds[/]" if trial.holds else "[red]does not hold[/]",
            f"[yellow]generator {lag:,.0f} ms late[/]" if lag > TARGET_P99_MS / 3 else "",
        )
    return table


def verdict(result: MixedResult) -> str:
    """Say in one sentence what the search came to."""
    if not result.trials:
        return ""
    if result.highest_factor is None:
        return f"no rate that was tried keeps p99 under {TARGET_P99_MS:g} ms on {result.store}"
    best = max((t for t in (result.at_rate, *result.trials) if t.holds), key=lambda trial: trial.factor)
    return (
        f"highest rate with p99 under {TARGET_P99_MS:g} ms on {result.store}: {best.factor:g}x = "
        f"{best.reads_per_second:,.0f} reads/s and {best.writes_per_second:,.0f} writes/s"
    )
