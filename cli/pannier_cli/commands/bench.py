"""``pannier bench``: measure this sidecar on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from pannier_cli.bench import compare, machine, report
from pannier_cli.bench.binaries import HOW_TO_GET, find_feast_python
from pannier_cli.bench.figures import throughput_ratios
from pannier_cli.console import console, error_console, print_json
from pannier_cli.options import json_option

Tell = Callable[[str], None]


@click.group(invoke_without_command=True)
@click.option(
    "--rounds", type=click.IntRange(1), default=5, show_default=True, help="Medians are over these."
)
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
    with telling() as tell, tempfile.TemporaryDirectory(prefix="pannier-bench-") as directory:
        results = compare.run(plan, Path(directory), tell)
    ratios = {name: throughput_ratios(measured, report.OURS) for name, measured in results.items()}
    facts = {"machine": machine.describe(), "configuration": compare.configuration(plan)}
    notes = [] if no_feast or find_feast_python() else [f"Feast is left out: {HOW_TO_GET['feast']}"]
    if as_json:
        print_json({**facts, "notes": notes, "results": msgspec.to_builtins(results), "ratios": ratios})
        return
    out = console()
    for title, lines in facts.items():
        report.print_facts(out, title, lines)
    out.print()
    out.print(report.compare_table(results))
    out.print(report.ratio_table(ratios))
    for note in notes:
        out.print(note, style="yellow")


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
