"""Tiers in state Shadow: filled and compared as if they were enabled, never served, whatever they hold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving
from tests.integration.test_serving_l2 import forget, two_sidecars
from tests.servers import RedisServer

from pannier.catalog import CatalogGroup
from pannier.policy import TierState
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.packing import pack_state
from pannier_sidecar.row import RowKey
from pannier_sidecar.shadow import GIVEN_UP_US
from pannier_sidecar.tiers.l2_redis import RedisTier

pytestmark = pytest.mark.redis

NO_L2: dict[str, Any] = {"remote": "Disabled"}


async def read(core: Core, row_id: str = "a", group: str = "clicks") -> dict[str, Any]:
    """Read a row and let all comparisons end."""
    row = await core.row(group, row_id)
    await core.settle()
    await asyncio.sleep(0)  # what was to be done behind the answer
    return row


def shadow(core: Core, group: str = "clicks") -> dict[tuple[str, str], int]:
    """What was counted."""
    return dict(core.counters(group).observed.shadow)


def a_group_of(local: TierState, remote: TierState, **fields: Any) -> CatalogGroup:
    """Make the same rows under tiers of these states."""
    return a_group(local=local, remote=remote, schema_hash="same", **fields)


async def plant(core: Core, redis_url: str, value: bytes, *, revision: int = 1 << 60) -> None:
    """Write Redis past the sidecar."""
    now_us = core.clock.now_us()
    planted = Record(Kind.FOUND, revision, now_us, now_us, None, {0: value})
    async with RedisTier(redis_url, clock=core.clock, metrics=Metrics(), timeout_seconds=5) as tier:
        assert await tier.merge([(RowKey(core.plan.groups["clicks"], "a"), planted)]) == [None]


async def test_a_shadow_l2_is_filled_and_agrees_and_serves_nothing(tmp_path: Path, redis_url: str) -> None:
    """The first read would have missed, the second would have hit; both come from L3."""
    group = a_group_of("Disabled", "Shadow", write_policy="Invalidate")
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        core.clock.advance(61)  # what the write left here is old news
        for _ in range(3):
            assert (await read(core))["source"] == "l3"
        assert shadow(core) == {("l2", "miss"): 1, ("l2", "agree"): 2}
        await read(core, "none")
        await read(core, "none")
        assert shadow(core) == {("l2", "miss"): 2, ("l2", "agree"): 3}
        assert core.counters("clicks").l2 == 0


async def test_a_shadow_l2_is_written_through_like_an_enabled_one(tmp_path: Path, redis_url: str) -> None:
    """Records and timelines: what a write left in Redis would have answered the next read."""
    groups = (
        a_group_of("Disabled", "Shadow"),
        a_group("trips", timeline=True, local="Disabled", remote="Shadow"),
    )
    async with serving(tmp_path, *groups, redis_url=redis_url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.write("trips", "a", timestamp=1, features={"item": "x"})
        await core.settle()
        for group in ("clicks", "trips"):
            assert (await read(core, group=group))["source"] == "l3"
        assert shadow(core) == {("l2", "agree"): 1}
        assert shadow(core, "trips") == {("l2", "miss"): 1}  # one record answers nothing before it was loaded
        await read(core, group="trips")
        assert shadow(core, "trips") == {("l2", "miss"): 1, ("l2", "agree"): 1}


async def test_the_wrong_value_of_a_shadow_l2_is_counted_and_never_served(
    tmp_path: Path, redis_url: str
) -> None:
    """A planted revision beats all others in Redis, and reaches nobody: not while L3 is down either."""
    group = a_group_of("Enabled", "Shadow", soft=10, hard=3_600)
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        core.clock.advance(61)
        await plant(core, redis_url, b'"planted"', revision=2)
        forget(core)
        assert (await read(core))["features"] == {"item": "x"}
        assert shadow(core) == {("l2", "agree"): 1}
        await plant(core, redis_url, b'"planted"')
        forget(core)
        assert (await read(core))["features"] == {"item": "x"}
        assert shadow(core) == {("l2", "agree"): 1, ("l2", "newer"): 1}
        core.store.fail()
        forget(core)
        assert (await read(core))["status"] == "unknown"
        assert shadow(core)["l2", "unknown"] == 1


async def test_an_older_value_in_a_shadow_l2_differs(tmp_path: Path, redis_url: str) -> None:
    """What a hit would have shown a client otherwise than L3 does, as long as an enabled L2 would keep it."""
    group = a_group_of("Disabled", "Shadow", write_policy="WriteThrough", soft=100, hard=3_600)
    async with two_sidecars(
        tmp_path, redis_url, (group,), (a_group_of("Disabled", "Shadow", namespace="b"),)
    ) as (
        one,
        _,
    ):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(61)
        async with serving(tmp_path, group, clock=one.clock, store=one.store) as without_redis:
            await without_redis.write("clicks", "a", features={"item": "y"})
        assert (await read(one))["features"] == {"item": "y"}
        assert shadow(one) == {("l2", "differ"): 1}
        one.clock.advance(
            40
        )  # past soft: an enabled L2 would have served the old value once more, and refreshed
        for _ in range(2):
            assert (await read(one))["features"] == {"item": "y"}
        assert shadow(one) == {("l2", "differ"): 2, ("l2", "agree"): 1}


async def test_a_shadow_redis_that_hangs_costs_no_request_anything(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The answer does not wait for it; the comparison says unknown."""
    group = a_group_of("Disabled", "Shadow")
    async with serving(tmp_path, group, redis_url=redis_server.url, l2_timeout_seconds=0.2) as core:
        redis_server.pause()
        try:
            row = await asyncio.wait_for(core.row("clicks", "none"), 10)
            assert row["status"] == "missing"
            assert shadow(core) == {}
            await core.shadow.settled()
        finally:
            redis_server.resume()
        assert shadow(core) == {("l2", "unknown"): 1}


async def test_a_shadow_redis_that_answers_much_later_is_neither_compared_nor_filled(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """What L3 said that long ago could undo a write made since that Redis has forgotten."""
    group = a_group_of("Disabled", "Shadow")
    async with serving(tmp_path, group, redis_url=redis_server.url) as core:
        redis_server.pause()
        try:
            await core.row("clicks", "none")
            core.clock.advance(GIVEN_UP_US / 1_000_000)
        finally:
            redis_server.resume()
        await core.settle()
        assert shadow(core) == {}
        async with RedisTier(
            redis_server.url, clock=core.clock, metrics=Metrics(), timeout_seconds=5
        ) as tier:
            assert await tier.read([RowKey(core.plan.groups["clicks"], "none")]) == [None]
        assert repr(core.shadow) == "<Shadow 0 keys to be compared>"


async def test_a_shadow_l1_is_filled_looked_up_and_never_served(tmp_path: Path) -> None:
    """It counts what it would have served until its soft deadline, and then takes what is served instead."""
    group = a_group_of("Shadow", "Disabled", soft=10, hard=60)
    async with (
        serving(tmp_path, group) as core,
        serving(tmp_path, group, clock=core.clock, store=core.store) as other,
    ):
        assert (await read(core, "b"))["source"] == "l3"
        assert shadow(core) == {("l1", "miss"): 1}
        await core.write("clicks", "a", features={"item": "x"})
        assert (await read(core))["source"] == "l3"
        assert shadow(core) == {("l1", "miss"): 1, ("l1", "agree"): 1}
        await other.write("clicks", "a", features={"item": "y"})
        core.clock.advance(5)
        for _ in range(2):
            assert (await read(core))["features"] == {"item": "y"}
        assert shadow(core)["l1", "differ"] == 2
        core.clock.advance(5)
        await read(core)  # past soft: an enabled L1 would have served the old value once more, and refreshed
        await read(core)
        assert shadow(core) == {("l1", "miss"): 1, ("l1", "agree"): 2, ("l1", "differ"): 3}
        assert core.counters("clicks").l1 == 0
        assert core.l1.usage()["clicks"].entries == 2


async def test_a_shadow_l1_serves_nobody_while_lower_tiers_are_down(tmp_path: Path) -> None:
    """Neither as a hit nor stale."""
    group = a_group_of("Shadow", "Disabled", soft=10, hard=60, stale_if_error=600)
    async with serving(tmp_path, group) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.store.fail()
        for seconds in (0, 61):
            core.clock.advance(seconds)
            assert (await read(core))["status"] == "unknown"
        assert shadow(core) == {("l1", "unknown"): 1, ("l1", "miss"): 1}
        core.store.recover()
        core.store.hold()
        row = await core.row("clicks", "a", timeout_ms=1)
        assert row["status"] == "unknown"
        core.store.release()


async def test_a_value_only_a_shadow_l1_holds_gets_into_no_answer(tmp_path: Path, redis_url: str) -> None:
    """Not by being merged with what L2 or L3 said either, though its revision is the highest."""
    group = a_group_of("Shadow", "Enabled", soft=100, hard=3_600)
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        core.clock.advance(61)
        plan = core.plan.groups["clicks"]
        key, now_us = RowKey(plan, "a"), core.clock.now_us()
        bogus = Record(Kind.FOUND, 1 << 60, now_us, now_us, None, {0: b'"planted"'})
        for remote in ("Enabled", "Disabled"):
            core.deploy(a_group_of("Shadow", remote, soft=100, hard=3_600))
            key = RowKey(core.plan.groups["clicks"], "a")
            core.l1.put(key.plan, "a", pack_state(key.plan, "a", bogus, now_us), now_us)
            assert (await read(core))["features"] == {"item": "x"}
        assert shadow(core) == {("l1", "newer"): 2}


async def test_turning_a_shadow_on_serves_only_what_is_right(tmp_path: Path, redis_url: str) -> None:
    """Writes kept both tiers up to date meanwhile, whatever their state; edits go every way, live."""
    states: list[TierState] = ["Enabled", "Shadow", "Disabled", "Shadow", "Enabled", "Disabled", "Enabled"]
    for write_policy in ("WriteThrough", "Invalidate"):
        fields = {"write_policy": write_policy, "namespace": write_policy.lower(), "soft": 100, "hard": 3_600}
        async with serving(tmp_path, a_group_of("Enabled", "Enabled", **fields), redis_url=redis_url) as core:
            for number, (local, remote) in enumerate((a, b) for a in states for b in states):
                core.deploy(a_group_of(local, remote, **fields))
                await core.write("clicks", "a", features={"count": number})
                await core.settle()
                core.clock.advance(61)
                for row_id in ("a", f"b{number}"):
                    await read(core, row_id)
                await core.write("clicks", f"b{number}", features={"count": number})
                core.deploy(a_group_of("Enabled", "Enabled", **fields))
                await core.settle()
                core.clock.advance(61)
                for row_id in ("a", f"b{number}"):
                    assert (await core.row("clicks", row_id))["features"] == {"count": number}
                    assert (await read(core, row_id))["source"] == "l1"


async def test_a_shadow_is_on_at_the_next_read_and_warm(tmp_path: Path, redis_url: str) -> None:
    """Enabled again, both tiers serve what they took in while nobody saw it."""
    async with serving(
        tmp_path, a_group_of("Shadow", "Shadow", soft=100, hard=3_600), redis_url=redis_url
    ) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.settle()
        core.clock.advance(61)
        assert (await read(core))["source"] == "l3"
        core.deploy(a_group_of("Disabled", "Enabled", soft=100, hard=3_600))
        assert (await read(core))["source"] == "l2"
        core.deploy(a_group_of("Shadow", "Shadow", soft=100, hard=3_600))
        await read(core)
        core.deploy(a_group_of("Enabled", "Shadow", soft=100, hard=3_600))
        assert (await read(core))["source"] == "l1"
        core.deploy(a_group_of("Disabled", "Disabled", soft=100, hard=3_600))
        assert (await read(core))["source"] == "l3"


async def test_strong_groups_compare_nothing(tmp_path: Path, redis_url: str) -> None:
    """Their caches answer only where L3 fails; nothing would have been a hit."""
    group = a_group_of("Shadow", "Shadow", read_consistency="Strong", stale_if_error=600)
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        assert (await read(core))["source"] == "l3"
        core.store.fail()
        assert (await read(core))["status"] == "unknown"
        assert shadow(core) == {}
