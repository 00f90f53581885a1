"""``python -m tests.consistency``: storms until enough was asked, or until a law is broken.

A seed draws the same operations and the same faults again; when they meet is up to the operating system.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.consistency.broken_sidecar import BUILDS
from tests.consistency.clients import Load
from tests.consistency.fleet import STORES, Fleet
from tests.consistency.groups import PROMISES
from tests.consistency.storm import PER_ROUND, one_round
from tests.consistency.weather import LATE, STORM


async def run(options: argparse.Namespace) -> int:
    """Round after round, each with a seed of its own; 1 if a law was broken."""
    directory = Path(options.directory or tempfile.mkdtemp(prefix="pannier-consistency-"))
    print(f"histories in {directory}", flush=True)
    forecast = LATE if options.only_late else STORM
    async with Fleet(directory, options.sidecars, store=options.store, broken=options.broken) as fleet:
        for seed, load in rounds(options):
            began = time.monotonic()
            verdict = await one_round(fleet, directory, seed, load, forecast)
            print(f"SEED={seed} {time.monotonic() - began:.0f} s: {verdict}", flush=True)
            if verdict.violations:
                return 1
    return 0


def rounds(options: argparse.Namespace) -> Iterator[tuple[int, Load]]:
    """The seed of each round, and how much is asked in it."""
    groups = tuple(options.groups or sorted(PROMISES))
    for number, done in enumerate(range(0, options.operations, PER_ROUND)):
        count = min(PER_ROUND, options.operations - done)
        yield options.seed + number, Load(count, groups, options.writes_per_row, options.rows)


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.consistency", description=__doc__)
    parser.add_argument("--operations", type=int, default=PER_ROUND, help="rows read and written, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=sorted(STORES), default="dynoxide")
    parser.add_argument("--sidecars", type=int, default=3)
    parser.add_argument("--directory", help="where histories are kept; default a new one")
    parser.add_argument("--groups", nargs="*", choices=sorted(PROMISES), help="only these")
    parser.add_argument(
        "--rows", default=Load(0).rows, help="kinds of rows, see tests/consistency/clients.py"
    )
    parser.add_argument("--writes-per-row", type=int, default=Load(0).writes_per_row)
    parser.add_argument("--only-late", action="store_true", help="no fault but late answers of DynamoDB")
    parser.add_argument("--broken", choices=sorted(BUILDS), help="a build that must be caught")
    return parser.parse_args()


if __name__ == "__main__":
    code = asyncio.run(run(parsed()))
    spent = os.times()
    print(f"{sum(spent[:2]):.0f} s of CPU here, {sum(spent[2:4]):.0f} s of child processes", flush=True)
    sys.exit(code)
