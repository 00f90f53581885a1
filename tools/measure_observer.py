"""What the consistency observer and tiers in the shadow cost, in CPU of the sidecar's process.

    PYTHONPATH=. .venv/bin/python tools/measure_observer.py

Needs the test packages (`make test-tools`): a serving core, dynoxide and Redis as child processes. Figures:
one check, alone in its batch; reads that L1 answers, in blocks with and without checks, interleaved, so that
the machine's mood falls on both; a read whose tiers are in the shadow against one whose tiers are off.
ADR 0013 and docs/performance.md hold the numbers.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from tests.builders import a_group
from tests.integration.dynamodb_stores import settings
from tests.integration.serving import Core, serving
from tests.servers import Dynoxide, RedisServer

from pannier_sidecar.api.read_requests import Read, ReadRequest
from pannier_sidecar.consistency import of_hit
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.row import RowKey
from pannier_sidecar.sampling import GAP_US
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

ROUNDS = 151
BLOCK = 200
"""Requests of 100 ids."""
CHECKS = 200
READS = 300
IDS = tuple(f"id{i}" for i in range(100))
HOT = ReadRequest(reads=(Read(group="clicks", ids=IDS),))


def hot_groups(checks_per_million: int) -> Any:
    """Make the group of the hot reads."""
    return a_group(schema_hash="1", soft=80_000, hard=86_400, checks_per_million=checks_per_million)


async def fill(core: Core) -> None:
    """Write a row and a timeline of fifty records per id, and read them into L1."""
    for row_id in IDS:
        await core.write("clicks", row_id, features={"item": "x" * 200, "count": 1})
    for second in range(50):
        await core.write("trips", "a", timestamp=second, features={"item": "x" * 200})
    await core.ask({"group": "clicks", "ids": list(IDS)}, {"group": "trips", "ids": ["a"]})


async def hot_block_seconds(core: Core, plan: ReadPlan) -> float:
    """CPU of a block of requests that L1 answers."""
    core.live.current = plan
    await core.reads.read(HOT, plan)  # entries move to the plan
    if core.reads.answer_from_l1(HOT, plan) is None:
        sys.exit("L1 does not hold the rows")
    before = time.process_time()
    for _ in range(BLOCK):
        core.reads.answer_from_l1(HOT, plan)
    return time.process_time() - before


async def print_hot(core: Core) -> None:
    """Print how much dearer the hot path is with checks."""
    plans = {}
    for rate in (0, 10_000):
        core.deploy(hot_groups(rate))
        plans[rate] = core.plan
    ratios = []
    for _ in range(ROUNDS):
        without, with_checks = [await hot_block_seconds(core, plans[rate]) for rate in (0, 10_000)]
        ratios.append(with_checks / without)
    low, _, high = statistics.quantiles(ratios, n=4)
    spread = f"quartiles {low:.3f} and {high:.3f}"
    print(f"L1 hits with checks against without: {statistics.median(ratios):.3f}x ({spread})")


async def check_us(core: Core, group: str, row_id: str) -> float:
    """CPU of one check that finds the cache right."""
    key = RowKey(core.plan.groups[group], row_id)
    entry = core.l1.held(key.plan, key.id, core.clock.now_us())
    if entry is None:
        sys.exit("L1 does not hold the row")
    before = time.process_time()
    for _ in range(CHECKS):
        core.observer._begin(of_hit(key.plan, key.id, entry.state(), core.clock.now_us()))  # noqa: SLF001
        await core.observer.check_due()
    took = time.process_time() - before
    if set(core.counters(group).observed.checks) != {("hit", "0", "consistent")}:
        sys.exit(f"not what was to be measured: {core.counters(group).observed!r}")
    return took / CHECKS * 1e6


async def print_checks(core: Core) -> None:
    """Print what a check costs, and the most that a process spends on them."""
    for group, row_id, what in (("clicks", "id1", "record"), ("trips", "a", "timeline of 30 records")):
        us = statistics.median([await check_us(core, group, row_id) for _ in range(5)])
        share = us / GAP_US
        print(f"one check of a {what}: {us:.0f} us; one every {GAP_US} us is {share:.2%} of a core")


async def read_us(core: Core) -> float:
    """CPU of one read that L3 answers, and of what it leaves to be done."""
    before = time.process_time()
    for number in range(READS):
        await core.row("clicks", IDS[number % len(IDS)], explain=False)
    await core.settle()
    await asyncio.sleep(0)
    return (time.process_time() - before) / READS * 1e6


async def print_shadows(core: Core) -> None:
    """Print what reads cost while tiers are in the shadow."""
    variants: dict[str, Any] = {
        "both tiers off": {"local": "Disabled", "remote": "Disabled"},
        "L1 in the shadow": {"local": "Shadow", "remote": "Disabled"},
        "L2 in the shadow": {"local": "Disabled", "remote": "Shadow"},
    }
    core.clock.advance(61)
    took: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(7):
        for name, states in variants.items():
            core.deploy(a_group(schema_hash="1", soft=80_000, hard=86_400, **states))
            took[name].append(await read_us(core))
    base = statistics.median(took["both tiers off"])
    for name, figures in took.items():
        us = statistics.median(figures)
        print(f"a read of one row from L3, {name}: {us:.0f} us, {us / base:.2f}x")


async def main() -> None:
    """Measure one after the other."""
    with Dynoxide() as dynamodb, RedisServer() as redis, tempfile.TemporaryDirectory() as folder:
        trips = a_group("trips", timeline=True, soft=80_000, hard=86_400)
        async with (
            DynamoDBStore(settings(dynamodb.url)) as store,
            serving(Path(folder), hot_groups(1_000), trips, store=store, redis_url=redis.url) as core,
        ):
            core.reads._hot._dice = core.reads._dice = random.random  # noqa: SLF001
            await fill(core)
            await print_checks(core)
            await print_hot(core)
            await print_shadows(core)


if __name__ == "__main__":
    uvloop.run(main())
