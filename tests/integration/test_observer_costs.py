"""What the consistency observer costs L3, and that it leaves L3 alone while that has trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import a_group
from tests.integration.observing import (
    NO_L2,
    OFTEN,
    checks,
    pass_ages,
    read,
    strong_reads,
    two_that_tell_each_other_nothing,
)
from tests.integration.serving import Core, serving

from pannier_sidecar.errors import TierThrottled
from pannier_sidecar.observer import PAUSE_SECONDS


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Core, Core]]:
    async with two_that_tell_each_other_nothing(tmp_path) as both:
        yield both


async def test_ten_thousand_reads_cause_at_most_one_in_a_hundred_reads_of_l3(two: tuple[Core, Core]) -> None:
    """At the highest rate, and where every sample is contradicted at each age; none where it is off."""
    one, other = two
    ids = [f"id{i}" for i in range(100)]
    for row_id in ids:
        await one.write("clicks", row_id, features={"item": "x"})
        await other.write("clicks", row_id, features={"item": "y"})
    for _ in range(100):
        await one.ask({"group": "clicks", "ids": ids})
        await pass_ages(one)
    assert one.counters("clicks").rows == 10_000
    assert 90 <= strong_reads(one) <= 100
    one.deploy(a_group(**{**OFTEN, "checks_per_million": 0}, **NO_L2))
    one.store.reads.clear()
    for _ in range(100):
        await one.ask({"group": "clicks", "ids": ids})
        await pass_ages(one)
    assert strong_reads(one) == 0


async def test_at_the_default_rate_a_check_costs_one_read_in_a_thousand(tmp_path: Path) -> None:
    """10,000 rows of a consistent group."""
    group = a_group(soft=100, hard=3_600, **NO_L2)
    async with serving(tmp_path, group, dice=0.0) as core:
        await core.write("clicks", "a", features={"item": "x"})
        for _ in range(100):
            await read(core, rows=100)
            await pass_ages(core)
        assert 5 <= strong_reads(core) <= 10
        assert checks(core) == {("hit", "0", "consistent"): strong_reads(core)}


async def test_throttled_l3_is_unknown_and_left_alone_for_a_while(two: tuple[Core, Core]) -> None:
    """Unknown is not stale; no sample is taken before the pause is over."""
    one, _ = two
    await one.write("clicks", "a", features={"item": "x"})
    await read(one)
    one.store.error = TierThrottled("l3", "slow down")
    await one.observer.check_due()
    assert checks(one) == {("hit", "0", "unknown"): 1}
    one.store.recover()
    await read(one, rows=1_000)
    one.clock.advance(PAUSE_SECONDS - 1)
    await one.observer.check_due()
    assert checks(one) == {("hit", "0", "unknown"): 1}


async def test_nothing_is_sampled_while_others_are_refused_by_l3(two: tuple[Core, Core]) -> None:
    """A throttled load of a request is reason enough."""
    one, _ = two
    await one.write("clicks", "a", features={"item": "x"})
    one.store.error = TierThrottled("l3", "slow down")
    assert (await one.row("clicks", "b"))["status"] == "unknown"
    one.store.recover()
    one.store.reads.clear()
    await read(one)
    one.clock.advance(PAUSE_SECONDS - 1)
    await read(one)
    await one.observer.check_due()
    assert one.store.reads == []
    one.clock.advance(1)
    await read(one)
    await one.observer.check_due()
    assert one.store.reads == [("clicks", "a", True)]


async def test_a_contradicted_sample_stays_unknown_while_l3_is_down(two: tuple[Core, Core]) -> None:
    """And is stale again when L3 can say so."""
    one, other = two
    await one.write("clicks", "a", features={"item": "x"})
    await other.write("clicks", "a", features={"item": "y"})
    await read(one)
    await one.observer.check_due()
    one.store.fail()
    assert (await one.row("clicks", "b"))["status"] == "unknown"
    for seconds in (0.1, 0.9, 9):
        one.clock.advance(seconds)
        await one.observer.check_due()
    one.store.recover()
    one.clock.advance(50)
    await one.observer.check_due()
    unknown = {("hit", age, "unknown"): 1 for age in ("1", "10")}
    assert checks(one) == {("hit", "0", "stale"): 1, **unknown, ("hit", "60", "stale"): 1}
