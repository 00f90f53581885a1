"""What is written through one sidecar is seen by the readers of all others, on a real Redis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.builders import a_group
from tests.fault_proxy import FaultProxy, throttled
from tests.integration.dynamodb_stores import settings
from tests.integration.serving import until
from tests.integration.several_sidecars import LONG, heard, hears, sidecars
from tests.servers import RedisServer

from pannier_sidecar.row import Row, RowKey
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_a_write_through_one_sidecar_is_seen_by_all(
    tmp_path: Path, redis_url: str, write_policy: Any, timeline: Any
) -> None:
    """Also where the other one holds the id in L1 with most of its time left."""
    group = a_group(write_policy=write_policy, timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 2) as (writer, reader):
        await writer.write("clicks", "a", features={"item": "old"}, **extra)
        await writer.settle()
        assert '"item": "old"' in json.dumps(await reader.row("clicks", "a"))
        await reader.settle()
        assert (await reader.row("clicks", "a"))["source"] == "l1"
        before = heard(reader)
        await writer.write("clicks", "a", features={"item": "new"}, **extra)
        await hears(reader, before + 1)
        assert heard(reader, "dropped") == 1
        assert '"item": "new"' in json.dumps(await reader.row("clicks", "a"))
        assert heard(writer) == 0


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_a_missing_key_is_found_by_all_as_soon_as_it_is_written(
    tmp_path: Path, redis_url: str, timeline: Any
) -> None:
    """What every sidecar knew to be missing is forgotten by all of them when one writes it."""
    group = a_group(timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 3) as cores:
        for core in cores:
            assert (await core.row("clicks", "a"))["status"] == "missing"
            await core.settle()
            assert (await core.row("clicks", "a"))["source"] == "l1"
        await cores[0].write("clicks", "a", features={"item": "x"}, **extra)
        for core in cores[1:]:
            await hears(core, 1)
        for core in cores:
            assert (await core.row("clicks", "a"))["status"] == "found"


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_a_delete_is_taken_over_without_a_load(tmp_path: Path, redis_url: str, timeline: Any) -> None:
    """A tombstone or fence says itself what is true now, so nobody has to ask L2."""
    group = a_group(timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 2) as (writer, reader):
        await writer.write("clicks", "a", features={"item": "x"}, **extra)
        await writer.settle()
        assert (await reader.row("clicks", "a"))["status"] == "found"
        before = heard(reader)
        await writer.writes.delete(writer.plan, "clicks", "a")
        await hears(reader, before + 1)
        assert heard(reader, "amended") == 1
        row = await reader.row("clicks", "a")
        assert (row["status"], row["source"]) == ("missing", "l1")


@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
async def test_a_redis_that_forgot_everything_brings_back_nothing_older(
    tmp_path: Path, redis_server: RedisServer, write_policy: Any
) -> None:
    """Who wrote, and who held the id and heard of it, reads L3 strongly while a replica may lag behind."""
    group, url = a_group(write_policy=write_policy, **LONG), redis_server.url
    async with sidecars(tmp_path, group, redis_urls=[url] * 2) as cores:
        writer, reader = cores
        await writer.write("clicks", "a", features={"item": "old"})
        await writer.settle()
        for core in cores:
            assert (await core.row("clicks", "a"))["status"] == "found"
            await core.settle()
            key = RowKey(core.plan.groups["clicks"], "a")
            (row,) = await core.store.read_records([key], strong=True, timeout_seconds=5)
            assert isinstance(row, Row)
            core.store.lagging["clicks", "a"] = row
        before = heard(reader)
        await writer.write("clicks", "a", features={"item": "new"})
        await writer.settle()
        await hears(reader, before + 1)
        redis_server.flush()
        for core in cores:
            core.l1.drop(RowKey(core.plan.groups["clicks"], "a"))
            assert (await core.row("clicks", "a"))["features"]["item"] == "new"
            await core.settle()


async def test_an_invalidation_through_one_sidecar_reaches_all(tmp_path: Path, redis_url: str) -> None:
    """For programs that write the table past Pannier: one call, and no sidecar serves what it held."""
    group = a_group(**LONG)
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 2) as (caller, reader):
        await caller.write("clicks", "a", features={"item": "old"})
        await caller.settle()
        assert (await reader.row("clicks", "a"))["status"] == "found"
        await reader.settle()
        reader.clock.advance(1)
        before = heard(reader)
        await caller.writes.invalidate(caller.plan, "clicks", ["a"])
        await hears(reader, before + 1)
        assert heard(reader, "dropped") == 1
        assert (await reader.row("clicks", "a"))["source"] == "l3"
        assert reader.store.reads[-1] == ("clicks", "a", True)


async def test_backfills_are_announced_to_nobody(tmp_path: Path, redis_url: str) -> None:
    """What a read loaded is no news."""
    async with sidecars(tmp_path, a_group(**LONG), redis_urls=[redis_url] * 2) as (first, second):
        for number in range(20):
            await first.row("clicks", str(number))
        await first.settle()
        await first.write("clicks", "x", features={"item": "x"})
        await hears(second, 1)
        await first.settle()
        assert heard(second) == 1
        assert first.metrics.subscription.published == 1


async def test_every_write_is_announced_whatever_the_policy_of_its_tiers(
    tmp_path: Path, redis_url: str
) -> None:
    """A sidecar that runs another revision of the catalog may hold what this one does not."""
    here = a_group(local="Disabled", remote="Disabled", read_consistency="Strong")
    async with sidecars(tmp_path, here, redis_urls=[redis_url] * 2) as (writer, reader):
        reader.deploy(a_group(**LONG))
        await until(lambda: reader.l1.epoch > 0)
        assert (await reader.row("clicks", "a"))["status"] == "missing"
        await reader.settle()
        await writer.write("clicks", "a", features={"item": "x"})
        await hears(reader, 1, "dropped")
        assert (await reader.row("clicks", "a"))["status"] == "found"


async def test_a_group_that_stores_nothing_is_announced_to_nobody(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """No Redis command is about it, SUBSCRIBE and PUBLISH included."""
    group = a_group("live", storage_mode="None", local="Disabled", remote="Disabled")
    async with sidecars(tmp_path, group, redis_urls=[redis_server.url]) as (core,):
        await core.row("live", "a")
        async with Redis.from_url(redis_server.url) as client:
            stats = await client.info("commandstats")
        assert not {"cmdstat_subscribe", "cmdstat_publish", "cmdstat_get"} & stats.keys()


async def test_throttling_creates_no_negative_entry(
    tmp_path: Path, redis_server: RedisServer, dynoxide_url: str
) -> None:
    """A store that asks to slow down says nothing of the row; in no tier is it missing afterwards."""
    group = a_group(table=f"t{redis_server.port}", **LONG)
    async with (
        FaultProxy(dynoxide_url) as proxy,
        DynamoDBStore(settings(proxy.url)) as store,
        sidecars(tmp_path, group, redis_urls=[redis_server.url] * 2, store=store, timeout_seconds=0.5) as (
            writer,
            reader,
        ),
    ):
        await writer.write("clicks", "a", features={"item": "x"})
        await writer.settle()
        redis_server.flush()
        proxy.on("BatchGetItem", throttled())
        for _ in range(3):
            assert (await reader.row("clicks", "a"))["status"] == "unknown"
            await reader.settle()
        assert reader.l1.usage().get("clicks") is None or reader.l1.usage()["clicks"].entries == 0
        assert redis_server.ask("DBSIZE") in {":0", ":1"}  # nothing, or the lease of the load
        proxy.heal()
        reader.clock.advance(10)
        assert (await reader.row("clicks", "a"))["status"] == "found"
