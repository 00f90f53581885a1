"""The consistency observer on real stores and Redis: what it sees, and when it counts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import a_group
from tests.integration.dynamodb_stores import another_writer, settings
from tests.integration.observing import (
    NO_L2,
    OFTEN,
    ROWS_OF_A_SAMPLE,
    checks,
    pass_ages,
    read,
    two_that_tell_each_other_nothing,
)
from tests.integration.serving import Core, serving
from tests.integration.test_serving_l2 import forget, two_sidecars

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.errors import TierError
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.observer import PAUSE_SECONDS
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

NOW_US = 4_000_000_000_000_000
"""Ahead of every real clock: an emulator that removes expired rows must not meddle."""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Core, Core]]:
    async with two_that_tell_each_other_nothing(tmp_path) as both:
        yield both


async def test_a_consistent_hit_is_counted_once(two: tuple[Core, Core]) -> None:
    """One strongly consistent read of L3, and no later look."""
    one, _ = two
    await one.write("clicks", "a", features={"item": "x"})
    await read(one)
    await pass_ages(one)
    assert checks(one) == {("hit", "0", "consistent"): 1}
    assert one.store.reads == [("clicks", "a", True)]


async def test_a_write_behind_the_back_of_l1_is_stale_as_long_as_l1_serves_the_old_value(
    two: tuple[Core, Core],
) -> None:
    """Counted at each age, until the cache has caught up."""
    one, other = two
    await one.write("clicks", "a", features={"item": "x"})
    one.clock.advance(20)
    await other.write("clicks", "a", features={"item": "y"})
    one.clock.advance(5)
    await read(one)
    for seconds in (0, 0.1, 0.9, 9):
        one.clock.advance(seconds)
        await one.observer.check_due()
    stale = {("hit", age, "stale"): 1 for age in ("0", "1", "10")}
    assert checks(one) == stale
    one.clock.advance(50)
    forget(one)
    await read(one, rows=1)
    await one.observer.check_due()
    assert checks(one) == {**stale, ("hit", "60", "consistent"): 1}
    told = one.counters("clicks").stale_for
    assert (sum(told.counts), told.total) == (1, 5.0)


async def test_a_timeline_is_held_against_the_records_that_are_shown(two: tuple[Core, Core]) -> None:
    """A record that is missing among the newest is stale; one that nobody is shown is not."""
    one, other = two
    for second in (10, 20, 30):
        await one.write("trips", "a", timestamp=second, features={"item": str(second)})
    await one.row("trips", "a", limit=50)
    await other.write("trips", "a", timestamp=5, features={"item": "too old to be shown"})
    await read(one, group="trips")
    await pass_ages(one)
    assert checks(one, "trips") == {("hit", "0", "consistent"): 1}
    await other.write("trips", "a", timestamp=25, features={"item": "25"})
    await read(one, group="trips")
    await pass_ages(one)
    ages = {("hit", age, "stale"): 1 for age in ("0", "1", "10", "60")}
    assert checks(one, "trips") == {("hit", "0", "consistent"): 1, **ages}


async def test_a_write_that_is_not_acknowledged_yet_contradicts_nobody(two: tuple[Core, Core]) -> None:
    """L3 shows it before this sidecar knows of it; a moment later L1 does, so nothing is stale."""
    one, other = two
    await one.write("clicks", "a", features={"item": "x"})
    await read(one)
    await other.write("clicks", "a", features={"item": "y"})  # stands for the write under way
    await one.observer.check_due()
    await one.write("clicks", "a", features={"item": "z"})
    await pass_ages(one)
    assert checks(one) == {("hit", "0", "overtaken"): 1}


async def test_the_wrong_value_in_redis_is_found(tmp_path: Path, redis_url: str) -> None:
    """A program that writes Redis with the highest revision of all is contradicted by L3."""
    group = a_group(local="Disabled", **OFTEN)
    async with serving(tmp_path, group, redis_url=redis_url, dice=0.0) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        now_us = core.clock.now_us()
        planted = Record(Kind.FOUND, 1 << 60, now_us, now_us, None, {0: b'"planted"'})
        async with RedisTier(redis_url, clock=core.clock, metrics=Metrics(), timeout_seconds=5) as tier:
            assert await tier.merge([(RowKey(core.plan.groups["clicks"], "a"), planted)]) == [None]
        for _ in range(ROWS_OF_A_SAMPLE):
            row = await core.row("clicks", "a", explain=False)
            assert row["features"] == {"item": "planted"}
        await pass_ages(core)
        assert checks(core) == {("hit", age, "stale"): 1 for age in ("0", "1", "10", "60")}


@pytest.mark.dynamodb
@pytest.mark.redis
async def test_an_item_put_into_dynamodb_by_another_program_is_found(
    tmp_path: Path, dynoxide_url: str, redis_url: str
) -> None:
    """Without revision or stamps, over a row that both caches hold; an invalidation ends it."""
    clock, group = ManualClock(NOW_US), a_group(namespace="observed", **OFTEN)
    async with (
        DynamoDBStore(settings(dynoxide_url)) as store,
        serving(tmp_path, group, clock=clock, store=store, redis_url=redis_url, dice=0.0) as core,
    ):
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        plan = core.plan.groups["clicks"]
        await another_writer(store, plan, {"v": {"M": {"0": {"S": "by hand"}}}}, row_id="a")
        await read(core)
        for seconds in (0, 0.1, 0.9):
            clock.advance(seconds)
            await core.observer.check_due()
        await core.writes.invalidate(core.plan, "clicks", ["a"])
        clock.advance(9)
        await core.observer.check_due()
        assert checks(core) == {
            ("hit", "0", "stale"): 1,
            ("hit", "1", "stale"): 1,
            ("hit", "10", "consistent"): 1,
        }


async def test_an_invalidation_that_was_acted_upon_is_right_without_a_read_of_l3(
    two: tuple[Core, Core],
) -> None:
    """One that was not is stale from then on."""
    one, other = two
    plan = one.plan.groups["clicks"]
    await one.write("clicks", "a", features={"item": "x"})
    for _ in range(ROWS_OF_A_SAMPLE):
        one.observer.heard(RowKey(plan, "a"), 1)
    await pass_ages(one)
    assert checks(one) == {("invalidation", "0", "consistent"): 1}
    assert one.store.reads == []
    await other.write("clicks", "a", features={"item": "y"})
    (row,) = await one.store.read_records([RowKey(plan, "a")], strong=True, timeout_seconds=5)
    assert not isinstance(row, TierError)
    for _ in range(ROWS_OF_A_SAMPLE):
        one.observer.heard(RowKey(plan, "a"), row.revision if row else 0)
    for seconds in (0.1, 0.1, 0.8, 9, 50):
        one.clock.advance(seconds)
        await one.observer.check_due()
    stale = {("invalidation", age, "stale"): 1 for age in ("0", "1", "10", "60")}
    assert checks(one) == {("invalidation", "0", "consistent"): 1, **stale}


async def test_a_live_edit_of_schema_or_rate_ends_samples_without_a_verdict(two: tuple[Core, Core]) -> None:
    """What was served under another schema is not held against this one."""
    one, other = two
    await one.write("clicks", "a", features={"item": "x"})
    await other.write("clicks", "a", features={"item": "y"})
    await read(one)
    await one.observer.check_due()
    one.deploy(a_group(features={"item": "String"}, generation=2, **OFTEN, **NO_L2))
    await pass_ages(one)
    assert checks(one) == {}
    assert repr(one.observer).startswith("<Observer 0 samples")


async def test_strong_and_stale_answers_are_no_samples(tmp_path: Path) -> None:
    """The first come from L3, the second say themselves that they may be old."""
    group = a_group(**{**OFTEN, "hard": 100}, **NO_L2)
    strong = a_group("strong", read_consistency="Strong", **OFTEN, **NO_L2)
    async with serving(tmp_path, group, strong, dice=0.0) as core:
        for name in ("clicks", "strong"):
            await core.write(name, "a", features={"item": "x"})
        core.clock.advance(101)
        core.store.fail()
        for _ in range(2):
            await read(core)
        core.store.recover()
        core.clock.advance(PAUSE_SECONDS)
        await read(core, group="strong")
        core.store.reads.clear()
        await pass_ages(core)
        assert checks(core) == checks(core, "strong") == {}
        assert core.store.reads == []


@pytest.mark.redis
async def test_a_busy_consistent_sidecar_is_never_called_stale(tmp_path: Path, redis_url: str) -> None:
    """Readers, writers and checks at once, with evictions: whatever is counted, nothing is stale."""
    groups = a_group(**OFTEN), a_group("trips", timeline=True, default_limit=3, max_limit=6, **OFTEN)
    async with serving(tmp_path, *groups, redis_url=redis_url, dice=0.0) as core:

        async def write_on() -> None:
            for number in range(60):
                await core.write("clicks", str(number % 3), features={"count": number})
                await core.write("trips", str(number % 3), timestamp=number // 5, features={"count": number})
                core.clock.advance(0.11)  # no write takes so long
                if number % 7 == 0:
                    forget(core)

        async def read_on(writer: asyncio.Task[None]) -> None:
            while not writer.done():
                for row_id in "012":
                    await read(core, row_id)
                    await read(core, row_id, "trips")
                await asyncio.sleep(0.001)  # the store's threads want the processor too
                await core.observer.check_due()

        writer = asyncio.create_task(write_on())
        await read_on(writer)
        await writer
        await read(core)
        await pass_ages(core)
        counted = checks(core) | checks(core, "trips")
        assert {outcome for _, _, outcome in counted} <= {"consistent", "overtaken"}
        assert ("hit", "0", "consistent") in counted


async def test_checks_run_by_themselves_behind_requests(two: tuple[Core, Core]) -> None:
    """The task takes what is due at once, sleeps until the next age, and ends with its owner."""
    one, other = two
    naps: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def sleep(_seconds: float) -> None:
        nap: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        naps.put_nowait(nap)
        await nap

    one.observer._sleep = sleep
    async with one.observer:
        await one.write("clicks", "a", features={"item": "x"})
        await other.write("clicks", "a", features={"item": "y"})
        await read(one)
        for seconds in (0.1, 0.9):
            nap = await naps.get()
            one.clock.advance(seconds)
            nap.set_result(None)
        await naps.get()
        assert checks(one) == {("hit", "0", "stale"): 1, ("hit", "1", "stale"): 1}


async def test_two_sidecars_on_one_redis_see_each_other_wrong_until_l1_is_due(
    tmp_path: Path, redis_url: str
) -> None:
    """What L1 of one serves after a write through the other is stale until L1 takes it from L2."""
    group = a_group(**{**OFTEN, "soft": 5, "hard": 20}, local_negative=5)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, other):
        one.reads._hot._dice = lambda: 0.0
        await one.write("clicks", "a", features={"item": "x"})
        await other.write("clicks", "a", features={"item": "y"})
        await other.settle()
        await read(one)
        for seconds in (0, 0.1, 0.9):
            one.clock.advance(seconds)
            await one.observer.check_due()
        one.clock.advance(8)
        await read(one, rows=1)
        await one.settle()
        one.clock.advance(1)
        await one.observer.check_due()
        assert checks(one) == {
            ("hit", "0", "stale"): 1,
            ("hit", "1", "stale"): 1,
            ("hit", "10", "consistent"): 1,
        }
