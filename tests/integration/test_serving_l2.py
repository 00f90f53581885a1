"""Two sidecars over one Redis and store: what L2 spares L3, what it must not hide, and life without it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving
from tests.servers import RedisServer

from pannier.catalog import CatalogGroup
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

pytestmark = pytest.mark.redis


@contextlib.asynccontextmanager
async def two_sidecars(
    directory: Path, redis_url: str, groups: tuple[CatalogGroup, ...], others: tuple[CatalogGroup, ...] = ()
) -> AsyncIterator[tuple[Core, Core]]:
    """Open two cores over one store and one Redis; the second may have another catalog."""
    clock = ManualClock()
    async with (
        EmbeddedStore(directory, clock) as store,
        serving(directory, *groups, redis_url=redis_url, clock=clock, store=store) as one,
        serving(directory, *(others or groups), redis_url=redis_url, clock=clock, store=store) as two,
    ):
        yield one, two


def forget(core: Core, group: str = "clicks") -> None:
    """Empty L1."""
    core.l1.segment(core.plan.groups[group]).clear()


async def test_what_one_sidecar_loaded_another_reads_from_l2(tmp_path: Path, redis_url: str) -> None:
    """Records, timelines and negatives of one sidecar spare the other its loads."""
    groups = (a_group(), a_group("trips", timeline=True))
    async with two_sidecars(tmp_path, redis_url, groups) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.write("trips", "a", timestamp=1, features={"item": "t"})
        forget(one)
        for group in ("clicks", "trips"):
            await one.row(group, "a")
            await one.row(group, "none")
        await one.settle()
        results = await two.read(
            {"group": "clicks", "ids": ["a", "none"]}, {"group": "trips", "ids": ["a", "none"]}, explain=True
        )
        rows = [row for result in results for row in result["rows"]]
        assert [row["status"] for row in rows] == ["found", "missing"] * 2
        assert {row["source"] for row in rows} == {"l2"}
        assert two.store.reads == []
        assert (two.counters("clicks").l2, two.counters("clicks").negative) == (1, 1)
        assert (await two.row("trips", "a"))["source"] == "l1"


async def test_l1_counts_its_deadlines_from_its_own_taking(tmp_path: Path, redis_url: str) -> None:
    """An entry taken from L2 at an age past the local hard TTL is a fresh L1 hit."""
    group = a_group(local_soft=5, local_hard=20, local_negative=5, remote_soft=120, remote_hard=600)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(60)
        assert (await two.row("clicks", "a"))["source"] == "l2"
        row = await two.row("clicks", "a")
        assert (row["source"], row["age_seconds"]) == ("l1", 60.0)


async def test_a_refresh_of_l1_reads_l2_and_only_a_soft_l2_asks_l3(tmp_path: Path, redis_url: str) -> None:
    """L1 turns soft often, L3 is asked only when L2 is due."""
    group = a_group(local_soft=5, local_hard=20, local_negative=5, remote_soft=50, remote_hard=600)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, _):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        for _ in range(8):
            one.clock.advance(6)
            assert (await one.row("clicks", "a"))["source"] == "l1"
            await one.settle()
        assert one.store.reads == []
        one.clock.advance(6)
        assert (await one.row("clicks", "a"))["age_seconds"] == 54.0
        await one.settle()
        assert len(one.store.reads) == 1
        assert (await one.row("clicks", "a"))["age_seconds"] == 0


async def test_a_soft_entry_of_l2_is_served_and_renewed_behind_the_answer(
    tmp_path: Path, redis_url: str
) -> None:
    """A reader that finds L2 soft does not wait for L3."""
    group = a_group(local_soft=5, local_hard=20, remote_soft=50, remote_hard=600)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(51)
        two.store.hold()
        assert (await two.row("clicks", "a"))["source"] == "l2"
        two.store.release()
        await two.settle()
        assert len(two.store.reads) == 1
        one.clock.advance(6)
        forget(one)
        assert (await one.row("clicks", "a"))["age_seconds"] == 6.0


async def test_no_tier_serves_past_the_remote_hard_ttl(tmp_path: Path, redis_url: str) -> None:
    """The bound holds for every copy: an L1 that took the entry late gives it up with the others."""
    group = a_group(local_soft=50, local_hard=100, remote_soft=50, remote_hard=100)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        await one.write("clicks", "a", features={"item": "old"})
        await one.settle()
        one.clock.advance(49)
        await two.row("clicks", "a")
        one.clock.advance(51)
        assert (await two.row("clicks", "a"))["source"] == "l3"


async def test_an_invalidating_write_leaves_a_marker_that_makes_others_read_strongly(
    tmp_path: Path, redis_url: str
) -> None:
    """The value is not shared, but no older one is served from L2 either."""
    for group in (
        a_group(write_policy="Invalidate"),
        a_group("trips", timeline=True, write_policy="Invalidate"),
    ):
        name, extra = group.group_name, {"timestamp": 1} if group.is_timeline else {}
        async with two_sidecars(tmp_path / name, redis_url, (group,)) as (one, two):
            await one.write(name, "a", features={"item": "old"}, **extra)
            await one.row(name, "a")
            await one.settle()
            await one.write(name, "a", features={"item": "new"}, **extra)
            await one.settle()
            assert '"new"' in json.dumps(await two.row(name, "a"))
            assert two.store.reads == [(name, "a", True)]


async def test_nothing_under_a_marker_is_served_stale(tmp_path: Path, redis_url: str) -> None:
    """A sidecar that learns of a newer revision while L3 is down says unknown, not the old value."""
    group = a_group(write_policy="Invalidate", soft=10, hard=60, stale_if_error=1_000)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        await one.write("clicks", "a", features={"item": "old"})
        await one.row("clicks", "a")
        await one.settle()
        await two.row("clicks", "a")
        one.clock.advance(61)
        await one.write("clicks", "a", features={"item": "new"})
        await one.settle()
        two.store.fail()
        assert (await two.row("clicks", "a"))["status"] == "unknown"


async def test_an_erased_timeline_is_not_served_stale(tmp_path: Path, redis_url: str) -> None:
    """The fence of another sidecar hides what this one still holds, also while L3 is down."""
    group = a_group("trips", timeline=True, soft=10, hard=60, stale_if_error=1_000)
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        await one.write("trips", "a", timestamp=1, features={"item": "x"})
        await one.row("trips", "a")
        await one.settle()
        await two.row("trips", "a")
        one.clock.advance(61)
        await one.writes.delete(one.plan, "trips", "a")
        await one.settle()
        two.store.fail()
        assert (await two.row("trips", "a"))["status"] == "unknown"


async def test_l2_serves_stale_where_l1_lost_the_entry(tmp_path: Path, redis_url: str) -> None:
    """Redis keeps entries as long as they may be served stale."""
    async with two_sidecars(tmp_path, redis_url, (a_group(soft=10, hard=60, stale_if_error=300),)) as (
        one,
        two,
    ):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(100)
        two.store.fail()
        row = await two.row("clicks", "a")
        assert (row["stale"], row["source"], row["features"]) == (True, "l2", {"item": "x"})
        one.clock.advance(300)
        assert (await two.row("clicks", "a"))["status"] == "unknown"


async def test_a_row_that_left_l3_without_a_tombstone_is_missing_after_the_next_load(
    tmp_path: Path, redis_url: str
) -> None:
    """Missing carries a revision of its own, so it replaces the cached row and is itself cached."""
    async with two_sidecars(tmp_path, redis_url, (a_group(soft=10, hard=100, negative=10),)) as (one, _):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(99)
        one.store.lagging["clicks", "a"] = None  # swept by the store's own expiry
        await one.row("clicks", "a")
        await one.settle()
        asked = len(one.store.reads)
        row = await one.row("clicks", "a")
        assert (row["status"], row["source"]) == ("missing", "l1")
        assert len(one.store.reads) == asked


async def test_an_unchanged_row_renews_its_deadlines(tmp_path: Path, redis_url: str) -> None:
    """Equal revisions: the later look wins, so a refresh buys a whole soft TTL."""
    async with two_sidecars(tmp_path, redis_url, (a_group(soft=10, hard=100),)) as (one, _):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        for _ in range(3):
            one.clock.advance(11)
            await one.row("clicks", "a")
            await one.settle()
        assert len(one.store.reads) == 3
        assert (await one.row("clicks", "a"))["age_seconds"] == 0


async def test_a_tier_turned_off_and_on_does_not_serve_the_past(tmp_path: Path, redis_url: str) -> None:
    """A write leaves its revision in Redis also while the group does not use it."""
    on, off = a_group(schema_hash="1"), a_group(schema_hash="1", remote="Disabled")
    async with two_sidecars(tmp_path, redis_url, (on,)) as (one, two):
        await one.write("clicks", "a", features={"item": "old"})
        await one.settle()
        one.deploy(off)
        await one.write("clicks", "a", features={"item": "new"})
        await one.settle()
        assert (await two.row("clicks", "a"))["features"] == {"item": "new"}
        one.deploy(on)
        forget(one)
        assert (await one.row("clicks", "a"))["features"] == {"item": "new"}


async def test_a_sidecar_with_an_older_catalog_does_not_poison_l2(tmp_path: Path, redis_url: str) -> None:
    """It stores features it does not know by id, and the newer sidecar renders them."""
    old = a_group(features={"a": "String"}, schema_hash="1")
    new_feature = {"type": "Set", "element_type": "Int64", "default": [0]}
    new = a_group(features={"a": "String", "b": new_feature}, schema_hash="2")
    async with two_sidecars(tmp_path, redis_url, (old,), (new,)) as (one, two):
        await two.write("clicks", "x", features={"a": "1", "b": [5, 3]})
        await two.settle()
        forget(two)
        two.clock.advance(100_000)  # whatever two wrote is past its end, one fills anew
        assert (await one.row("clicks", "x"))["features"] == {"a": "1"}
        await one.settle()
        row = await two.row("clicks", "x")
        assert (row["source"], row["features"]) == ("l2", {"a": "1", "b": [3, 5]})


async def test_a_group_that_stores_nothing_sends_nothing_to_redis(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Not even its ids."""
    group = a_group("live", storage_mode="None")
    async with serving(tmp_path, group, redis_url=redis_server.url) as core:
        assert (await core.row("live", "a"))["status"] == "unknown"
        assert core.metrics.tier_errors.items() == {}.items()
        assert core.counters("live").loads == {}


async def test_without_redis_the_sidecar_goes_on(tmp_path: Path, redis_server: RedisServer) -> None:
    """A killed Redis costs loads from L3, never an answer or a write."""
    async with serving(tmp_path, a_group(), redis_url=redis_server.url) as core:
        await core.write("clicks", "a", features={"item": "x"})
        assert core.writer is not None
        await core.writer.drain(5)
        redis_server.kill()
        forget(core)
        assert (await core.row("clicks", "a"))["features"] == {"item": "x"}
        assert (await core.write("clicks", "a", features={"item": "y"})).verdict == "written"
        forget(core)
        assert (await core.row("clicks", "a"))["features"] == {"item": "y"}
        assert (await core.row("clicks", "none"))["status"] == "missing"


async def test_own_writes_are_read_while_redis_hangs_and_after_it_is_back(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The older value that Redis still holds is never served to who wrote the newer one."""
    group = a_group(local_soft=5, local_hard=20, remote_soft=500, remote_hard=900)
    trips = a_group("trips", timeline=True, local_soft=5, local_hard=20, remote_soft=500, remote_hard=900)
    async with serving(tmp_path, group, trips, redis_url=redis_server.url) as core:
        await core.write("clicks", "a", features={"item": "old"})
        await core.write("trips", "a", timestamp=1, features={"item": "old"})
        await core.row("trips", "a")
        await core.settle()
        redis_server.pause()
        await core.write("clicks", "a", features={"item": "new"})
        await core.write("trips", "a", timestamp=1, features={"item": "new"})
        for _ in range(2):
            for name in ("clicks", "trips"):
                forget(core, name)
                assert '"new"' in json.dumps(await core.row(name, "a"))
            redis_server.resume()
            core.clock.advance(10)  # the circuit tries again
        await core.settle()
        for name in ("clicks", "trips"):
            forget(core, name)
            assert '"new"' in json.dumps(await core.row(name, "a"))
