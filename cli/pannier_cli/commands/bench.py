"""``pannier bench``: measure this sidecar on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from pannier_cli.bench import (
    compare,
    hit_profile,
    invalidation,
    machine,
    mixed,
    mixed_report,
    mixed_workload,
    on_demand,
    report,
)
from pannier_cli.bench.binaries import HOW_TO_GET, find_feast_python
from pannier_cli.bench.figures import ratios as ratios_of
from pannier_cli.console import console, error_console, print_json
from pannier_cli.options import json_option

Tell = Callable[[str], None]
STORES = ("dynoxide", "dynamodb-local", "embedded")


@click.group(invoke_without_command=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Runs per figure.")
@click.option("--seconds", type=click.IntRange(1), default=4, show_default=True, help="Length of each run.")
@click.option("--no-feast", is_flag=True, help="Leave Feast out.")
@json_option
@click.pass_context
def bench(ctx: click.Context, rounds: int, seconds: int, *, no_feast: bool, as_json: bool) -> None:
    """Measure this sidecar on this machine.

    Without a subcommand: requests per second, latency and CPU per row of a bare aiohttp handler, this sidecar
    with a warm L1, and Feast's Python feature server with Redis, each on one core, under wrk on another.
    """
    if ctx.invoked_subcommand is not None:
        return
    plan = compare.Plan(rounds, seconds, with_feast=not no_feast)
    with telling() as tell, scratch() as directory:
        results = compare.run(plan, directory, tell)
    ratios = {name: ratios_of(measured, report.OURS) for name, measured in results.items()}
    facts = {"machine": machine.describe(), "configuration": compare.configuration(plan)}
    notes = [] if no_feast or find_feast_python() else [f"Feast is left out: {HOW_TO_GET['feast']}"]
    if as_json:
        print_json(msgspec.to_builtins({**facts, "notes": notes, "results": results, "ratios": ratios}))
        return
    _print_facts(facts)
    out = console()
    out.print(report.compare_table(results))
    out.print(report.ratio_table(ratios))
    for note in notes:
        out.print(note, style="yellow")


@bench.command("mixed")
@click.option("--store", "stores", multiple=True, type=click.Choice(STORES), default=("dynoxide",))
@click.option("--reads", default=1_500.0, show_default=True, help="Reads per second.")
@click.option("--writes", default=400.0, show_default=True, help="Writes per second.")
@click.option("--ids", type=click.IntRange(1), default=mixed_workload.IDS, show_default=True)
@click.option("--warmup", default=20.0, show_default=True, help="Seconds before measuring.")
@click.option("--seconds", default=20.0, show_default=True, help="Seconds of each measurement.")
@click.option("--no-search", is_flag=True, help="Do not look for the highest rate.")
@json_option
def mixed_command(stores: tuple[mixed.StoreName, ...], *, as_json: bool, **asked: Any) -> None:
    """Reads and writes together at a fixed rate, whatever the answers do, with Redis and a store.

    Prints latency by kind of request, which tier answered, CPU per part, and the highest multiple of the rate
    that keeps p99 under 30 ms. --store may be repeated.
    """
    plans = [
        mixed.Plan(
            store=store,
            reads_per_second=asked["reads"],
            writes_per_second=asked["writes"],
            ids=asked["ids"],
            warmup_seconds=asked["warmup"],
            seconds=asked["seconds"],
            search=not asked["no_search"],
        )
        for store in stores
    ]
    facts = {"machine": machine.describe(), "configuration": mixed.configuration(plans[0])}
    results = []
    for plan in plans:
        with telling() as tell, scratch() as directory:
            results.append(mixed.run(plan, directory, tell))
    if as_json:
        print_json({**facts, "results": msgspec.to_builtins(results)})
        return
    _print_facts(facts)
    for result in results:
        _print_mixed(result)


@bench.command("invalidation")
@click.option("--writes", type=click.IntRange(1), default=1_000, show_default=True)
@json_option
def invalidation_command(writes: int, *, as_json: bool) -> None:
    """How soon a write through one sidecar is seen by readers of another that holds the id."""
    facts = {"machine": machine.describe()}
    with telling() as tell, scratch() as directory:
        result = invalidation.run(writes, directory, tell)
    if as_json:
        print_json({**facts, "result": msgspec.to_builtins(result)})
        return
    _print_facts(facts)
    out = console()
    out.print(invalidation.table(result))
    out.print(f"[dim]{result.reads_per_write:.1f} reads until a write was seen[/]")


@bench.command("on-demand")
@click.option("--rate", default=1_000.0, show_default=True, help="Requests per second.")
@click.option("--seconds", default=5.0, show_default=True, help="Length of each run.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Runs per figure.")
@json_option
def on_demand_command(rate: float, seconds: float, rounds: int, *, as_json: bool) -> None:
    """What the hop to a feature server costs, over bare aiohttp that answers the same bytes.

    An open loop; medians of the rounds, and the ratio of latencies.
    """
    facts = {"machine": machine.describe()}
    with telling() as tell, scratch() as directory:
        result = on_demand.run(rate, seconds, rounds, directory, tell)
    if as_json:
        print_json({**facts, "result": msgspec.to_builtins(result)})
        return
    _print_facts(facts)
    console().print(on_demand.table(result))


@bench.command("profile")
@click.option("--seconds", type=click.IntRange(1), default=5, show_default=True, help="Length of the load.")
@click.option("--lines", type=click.IntRange(1), default=25, show_default=True, help="Functions to show.")
@json_option
def profile_command(seconds: int, lines: int, *, as_json: bool) -> None:
    """Show where the time of a read goes when L1 has every row: 50 ids x 3 groups.

    Runs the sidecar in this process under cProfile, and counts calls of everything that encodes or decodes.
    """
    with telling() as tell, scratch() as directory:
        profile = hit_profile.run(seconds, directory, tell)
    if as_json:
        print_json(msgspec.to_builtins(profile))
        return
    out = console()
    out.print(hit_profile.codec_table(profile))
    out.print()
    out.print(hit_profile.function_table(profile, lines))


def _print_mixed(result: mixed.MixedResult) -> None:
    out = console()
    out.rule(f"[bold]{result.store}[/]")
    out.print(mixed_report.latency_table(result.at_rate))
    if result.at_rate.load.failures:
        out.print(f"[red]failed: {result.at_rate.load.failures}[/]")
    out.print(mixed_report.tier_table(result.at_rate))
    out.print(mixed_report.cpu_table(result.at_rate))
    out.print(f"[dim]the generator sent {result.at_rate.load.lag_p99_ms:.2f} ms late at p99[/]")
    if result.trials:
        out.print(mixed_report.search_table(result.trials))
        out.print(mixed_report.verdict(result), style="bold")


def _print_facts(facts: Mapping[str, Mapping[str, Any]]) -> None:
    out = console()
    for title, lines in facts.items():
        report.print_facts(out, title, lines)
    out.print()


@contextmanager
def scratch() -> Iterator[Path]:
    """Own a directory for the files of one bench."""
    with tempfile.TemporaryDirectory(prefix="pannier-bench-") as directory:
        yield Path(directory)


@contextmanager
def telling() -> Iterator[Tell]:
    """Show what is going on as one changing line on a terminal; silent elsewhere."""
    shell = error_console()
    if not shell.is_terminal:
        yield _tell_nobody
        return
    with shell.status("starting") as line:
        yield line.update


def _tell_nobody(what: str) -> None:
    del what
