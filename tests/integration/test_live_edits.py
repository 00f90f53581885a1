"""Edits of a group that is being served: they hold for what is cached already, and undo no write."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from tests.builders import a_group
from tests.integration.serving import Core, serving
from tests.servers import RedisServer

from pannier.catalog import CatalogGroup
from pannier.keys import cache_key
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

pytestmark = pytest.mark.redis
WIDE: dict[str, Any] = {"local_soft": 5, "local_hard": 20, "remote_soft": 500, "remote_hard": 900}


@contextlib.asynccontextmanager
async def two_sidecars(
    directory: Path, redis_url: str, *groups: CatalogGroup
) -> AsyncIterator[tuple[Core, Core]]:
    """Two cores over one store and one Redis, each with a catalog of its own to deploy."""
    clock = ManualClock()
    async with (
        EmbeddedStore(directory, clock) as store,
        serving(directory, *groups, redis_url=redis_url, clock=clock, store=store) as one,
        serving(directory, *groups, redis_url=redis_url, clock=clock, store=store) as two,
    ):
        yield one, two


def forget(core: Core, group: str = "clicks") -> None:
    """Empty L1."""
    core.l1.segment(core.plan.groups[group]).clear()


def edited(**fields: Any) -> CatalogGroup:
    """The group ``clicks`` under another policy; its schema stays."""
    return a_group(schema_hash="1", generation=2, **fields)


async def kept_seconds(redis_url: str, core: Core, row_id: str, group: str = "clicks") -> float:
    """How much longer Redis keeps an entry."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        return float(await client.pttl(cache_key(core.plan.groups[group].cache_prefix, row_id))) / 1_000


async def test_shortened_ttls_hold_for_entries_of_both_tiers(tmp_path: Path, redis_url: str) -> None:
    """An entry that was fresh for minutes is past hard the moment the edit arrives, in L1 and in Redis."""
    long = a_group(schema_hash="1", soft=500, hard=900, early_factor=1.0)
    async with two_sidecars(tmp_path, redis_url, long) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        for core in (one, two):
            await core.row("clicks", "a")
        one.clock.advance(100)
        assert (await one.row("clicks", "a"))["source"] == "l1"
        for core in (one, two):
            core.deploy(edited(soft=10, hard=60))
        assert (await one.row("clicks", "a"))["source"] == "l3"
        await one.settle()
        assert (await two.row("clicks", "a"))["source"] == "l2"
        assert (await two.row("clicks", "a"))["age_seconds"] == 0


async def test_a_lengthened_ttl_makes_redis_keep_what_it_holds_for_as_long(
    tmp_path: Path, redis_url: str
) -> None:
    """Redis was told to drop the entry by the old policy; who reads it under the new one says otherwise."""
    short = a_group(schema_hash="1", soft=10, hard=60, negative=5, stale_if_error=0)
    trips = a_group("trips", timeline=True, schema_hash="1", soft=10, hard=60, negative=5, stale_if_error=0)
    longer: dict[str, Any] = {
        "local_hard": 60,
        "remote_soft": 800,
        "remote_hard": 900,
        "negative": 100,
        "stale_if_error": 50,
    }
    async with two_sidecars(tmp_path, redis_url, short, trips) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.write("trips", "a", timestamp=1, features={"item": "x"})
        for core in (one, one):
            await core.row("trips", "a")
            await core.row("clicks", "none")
            await core.settle()
        assert await kept_seconds(redis_url, one, "a") <= 60
        assert await kept_seconds(redis_url, one, "none") <= 5
        one.clock.advance(4)
        two.deploy(edited(**longer), a_group("trips", timeline=True, schema_hash="1", generation=2, **longer))
        for group, row_id in (("clicks", "a"), ("trips", "a"), ("clicks", "none")):
            assert (await two.row(group, row_id))["source"] == "l2"
        await two.settle()
        assert await kept_seconds(redis_url, one, "a") > 900
        assert await kept_seconds(redis_url, one, "a", "trips") > 900
        assert await kept_seconds(redis_url, one, "none") > 90
        one.clock.advance(90)
        forget(two)
        assert (await two.row("clicks", "a"))["source"] == "l2"
        assert two.store.reads == []


async def test_stale_serving_that_is_lengthened_in_an_outage_holds_at_once(
    tmp_path: Path, redis_url: str
) -> None:
    """While L3 is down an operator allows more; what is past the old allowance in L1 is served, marked."""
    async with two_sidecars(tmp_path, redis_url, edited(soft=10, hard=60, stale_if_error=0)) as (one, _):
        await one.write("clicks", "a", features={"item": "x"})
        one.store.fail()
        one.clock.advance(100)
        assert (await one.row("clicks", "a"))["status"] == "unknown"
        one.deploy(a_group(schema_hash="1", generation=3, soft=10, hard=60, stale_if_error=1_000))
        row = await one.row("clicks", "a")
        assert (row["status"], row["stale"]) == ("found", True)


@pytest.mark.parametrize("waits_first", [False, True], ids=["edit, then wait", "wait, then edit"])
async def test_own_writes_survive_a_lengthened_ttl_while_redis_hangs(
    tmp_path: Path, redis_server: RedisServer, *, waits_first: bool
) -> None:
    """No edit makes servable what an unconfirmed write of this sidecar had superseded."""
    short = a_group(schema_hash="1", soft=10, hard=60, stale_if_error=0)
    async with serving(tmp_path, short, redis_url=redis_server.url) as core:
        await core.write("clicks", "a", features={"item": "old"})
        await core.settle()
        redis_server.pause()
        assert (await core.write("clicks", "a", features={"item": "new"})).verdict == "written"
        for waits in (waits_first, not waits_first):
            if waits:
                core.clock.advance(70)
            else:
                core.deploy(edited(soft=800, hard=900, stale_if_error=0))
        redis_server.resume()
        core.clock.advance(10)  # the circuit tries again
        await core.settle()
        forget(core)
        assert (await core.row("clicks", "a"))["features"] == {"item": "new"}


async def test_what_was_past_hard_before_the_edit_stays_so(tmp_path: Path, redis_url: str) -> None:
    """A lengthened TTL lets entries live longer; it raises none from the dead."""
    async with two_sidecars(tmp_path, redis_url, edited(soft=10, hard=60)) as (one, two):
        for row_id, wait in (("dead", 50), ("alive", 20)):
            await one.write("clicks", row_id, features={"item": "x"})
            await one.settle()
            one.clock.advance(wait)
        two.deploy(a_group(schema_hash="1", generation=3, soft=800, hard=900))
        two.clock.advance(300)
        assert (await two.row("clicks", "dead"))["source"] == "l3"
        assert (await two.row("clicks", "alive"))["source"] == "l2"


async def test_turning_redis_off_lets_no_entry_live_past_its_remote_bound(
    tmp_path: Path, redis_url: str
) -> None:
    """An L1 that took an old entry from Redis just before keeps it for no whole local hard TTL more."""
    fields: dict[str, Any] = {"local_soft": 300, "local_hard": 600, "remote_soft": 900, "remote_hard": 900}
    async with two_sidecars(tmp_path, redis_url, edited(**fields)) as (one, two):
        await one.write("clicks", "a", features={"item": "old"})
        await one.settle()
        one.clock.advance(800)
        await two.row("clicks", "a")
        two.deploy(a_group(schema_hash="1", generation=3, remote="Disabled", **fields))
        await one.write("clicks", "a", features={"item": "new"})
        one.clock.advance(99)
        assert (await two.row("clicks", "a"))["source"] == "l1"
        one.clock.advance(1)
        row = await two.row("clicks", "a")
        assert (row["source"], row["features"]) == ("l3", {"item": "new"})


async def test_a_tier_that_was_off_while_redis_hung_does_not_serve_the_past(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The revision of a write made meanwhile is kept until Redis has it, whatever the group's state."""
    on, off = edited(**WIDE), a_group(schema_hash="1", generation=3, remote="Disabled", **WIDE)
    async with serving(tmp_path, on, redis_url=redis_server.url) as core:
        await core.write("clicks", "a", features={"item": "old"})
        await core.settle()
        redis_server.pause()
        core.deploy(off)
        await core.write("clicks", "a", features={"item": "new"})
        core.clock.advance(100)
        core.deploy(on)
        redis_server.resume()
        core.clock.advance(10)
        forget(core)
        assert (await core.row("clicks", "a"))["features"] == {"item": "new"}
        await core.settle()
        forget(core)
        assert (await core.row("clicks", "a"))["features"] == {"item": "new"}


@pytest.mark.parametrize("name", ["clicks", "trips"])
async def test_sidecars_of_either_write_policy_read_each_other(
    tmp_path: Path, redis_url: str, name: str
) -> None:
    """While one is told to invalidate and the other to write through, then the other way round."""

    def group(policy: Any) -> CatalogGroup:
        return a_group(name, timeline=name == "trips", schema_hash="1", write_policy=policy, **WIDE)

    at = {"timestamp": 1} if name == "trips" else {}
    async with two_sidecars(tmp_path, redis_url, group("WriteThrough")) as cores:
        for turn in range(8):
            for position, core in enumerate(cores):
                core.deploy(group("Invalidate" if (turn + position) % 2 else "WriteThrough"))
            writer, reader = cores if turn % 4 < 2 else reversed(cores)
            await writer.write(name, "a", features={"count": turn}, **at)
            await writer.settle()
            forget(reader, name)
            for core in (writer, reader):
                row = await core.row(name, "a")
                shown = row["records"][0] if at else row
                assert shown["features"]["count"] == turn
                await core.settle()
            cores[0].clock.advance(3)


async def test_each_catalog_shows_its_own_schema_of_what_both_share(tmp_path: Path, redis_url: str) -> None:
    """A feature appended, removed or given another default on one side, read and filled by both in turn."""
    first: dict[str, Any] = {"a": "String", "b": {"type": "Int64", "default": 1}}
    edits: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({**first, "c": "String"}, {"a": "x", "b": 1, "c": "new"}),
        ({**first, "b": {"type": "Int64", "default": 9}, "c": "String"}, {"a": "x", "b": 9, "c": "new"}),
        ({**first, "b": {"type": "Int64", "state": "Removed"}, "c": "String"}, {"a": "x", "c": "new"}),
    ]
    async with two_sidecars(tmp_path, redis_url, a_group(features=first, schema_hash="0", **WIDE)) as cores:
        old, new = cores
        await old.write("clicks", "x", features={"a": "x"})
        for number, (features, shown) in enumerate(edits, 1):
            new.deploy(a_group(features=features, schema_hash=str(number), generation=number + 1, **WIDE))
            await new.write("clicks", "x", features={"c": "new"})
            await new.settle()
            for _ in range(2):
                assert (await old.row("clicks", "x"))["features"] == {"a": "x", "b": 1}
                assert (await new.row("clicks", "x"))["features"] == shown
                old.clock.advance(1_000)  # past every TTL: the old catalog fills Redis, the new one reads it
                forget(new)
                await old.row("clicks", "x")
                await old.settle()
                row = await new.row("clicks", "x")
                assert (row["source"], row["features"]) == ("l2", shown)
                forget(old)


async def test_strong_and_back_again(tmp_path: Path, redis_url: str) -> None:
    """A group made Strong asks L3 at the next read, hot or not; made Eventual again it serves its caches."""
    eventual, strong = edited(**WIDE), a_group(schema_hash="1", read_consistency="Strong", **WIDE)
    async with two_sidecars(tmp_path, redis_url, eventual) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        for _ in range(3):
            await two.row("clicks", "a", explain=False)
        assert two.store.reads == []
        two.deploy(strong)
        await one.write("clicks", "a", features={"item": "y"})
        for _ in range(2):
            assert (await two.row("clicks", "a", explain=False))["features"] == {"item": "y"}
        assert two.store.reads == [("clicks", "a", True)] * 2
        two.deploy(eventual)
        assert (await two.row("clicks", "a"))["source"] == "l1"


async def test_a_group_whose_l1_is_turned_off_gives_its_memory_back(tmp_path: Path, redis_url: str) -> None:
    """Not only the entries that are asked for again."""
    async with two_sidecars(tmp_path, redis_url, edited(**WIDE)) as (one, _):
        for number in range(50):
            await one.write("clicks", str(number), features={"item": "x"})
        assert one.l1.bytes > 0
        one.deploy(a_group(schema_hash="1", generation=3, local="Disabled", **WIDE))
        assert (await one.row("clicks", "7"))["source"] == "l2"
        assert (one.l1.bytes, dict(one.l1.usage())) == (0, {})


async def test_an_edit_in_an_outage_does_not_send_every_id_to_l3_again(tmp_path: Path) -> None:
    """The pause after a failed load outlives the edit."""
    group = edited(soft=10, hard=60, remote="Disabled")
    async with serving(tmp_path, group) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.store.fail()
        core.clock.advance(20)
        await core.row("clicks", "a")
        await core.settle()
        asked = len(core.store.reads)
        core.deploy(a_group(schema_hash="1", generation=3, soft=11, hard=60, remote="Disabled"))
        assert (await core.row("clicks", "a"))["source"] == "l1"
        await core.settle()
        assert len(core.store.reads) == asked


async def test_an_edit_touches_only_what_is_read_after_it(tmp_path: Path) -> None:
    """Of ten thousand entries the read ones are dated anew, in place; another group's stay as they are."""
    other = a_group("other", remote="Disabled")
    async with serving(tmp_path, edited(remote="Disabled"), other, l1_bytes=1 << 28) as core:
        await core.write("clicks", "0", features={"item": "x"})
        plan = core.plan.groups["clicks"]
        segment = core.l1.segment(plan)
        pack = segment.entries.get("0").pack  # type: ignore[union-attr]
        for number in range(10_000):
            core.l1.put(plan, str(number), pack, core.clock.now_us())
        await core.write("other", "a", features={"item": "x"})
        of_other = core.l1.segment(core.plan.groups["other"]).entries.get("a")
        before = {row_id: segment.entries.get(row_id) for row_id in map(str, range(10_000))}
        core.deploy(edited(remote="Disabled", soft=7), other)
        await core.read({"group": "clicks", "ids": ["3", "4", "5"]}, {"group": "other", "ids": ["a"]})
        assert core.plan.groups["other"] is of_other.plan  # type: ignore[union-attr]
        assert core.l1.segment(core.plan.groups["other"]).entries.get("a") is of_other
        after = {row_id: segment.entries.get(row_id) for row_id in before}
        assert all(after[row_id] is before[row_id] for row_id in before)
        touched = {row_id for row_id, entry in after.items() if entry is not None and entry.plan is not plan}
        assert touched == {"3", "4", "5"}
        assert all(entry is not None and entry.pack is pack for entry in after.values())
