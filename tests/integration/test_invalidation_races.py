"""What is on its way when an announcement comes: no load and no write brings back what it removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.builders import a_group
from tests.integration.several_sidecars import LONG, forget, heard, hears, sidecars
from tests.integration.watched_store import WatchedStore
from tests.servers import RedisServer
from tests.tcp_proxy import HOST, TcpProxy

from pannier_sidecar.row import Put, PutOutcome

pytestmark = pytest.mark.redis
SHAPES = pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])


@SHAPES
async def test_a_load_from_l3_that_is_overtaken_reads_again(
    tmp_path: Path, redis_url: str, timeline: Any
) -> None:
    """It began before the write, and L3's old answer comes after the announcement."""
    group = a_group(timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 2) as (writer, reader):
        await writer.write("clicks", "a", features={"item": "old"}, **extra)
        await writer.settle()
        await forget(redis_url, writer, "a")
        reader.store.hold()
        asked = asyncio.create_task(reader.row("clicks", "a"))
        await reader.store.reading.wait()
        before = heard(reader)
        await writer.write("clicks", "a", features={"item": "new"}, **extra)
        await hears(reader, before + 1)
        reader.store.release()
        assert '"item": "new"' in json.dumps(await asked)
        await reader.settle()
        assert reader.store.reads == [("clicks", "a", False), ("clicks", "a", True)]
        assert '"item": "new"' in json.dumps(await reader.row("clicks", "a"))


@SHAPES
async def test_an_answer_of_l2_that_is_overtaken_is_not_believed(
    tmp_path: Path, redis_server: RedisServer, timeline: Any
) -> None:
    """Redis said it before the write, on another connection than the one that listens."""
    group = a_group(timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    url = redis_server.url
    async with TcpProxy(HOST, redis_server.port) as proxy:
        urls = [url, f"redis://{HOST}:{proxy.port}"]
        async with sidecars(tmp_path, group, redis_urls=urls, listen_urls=[url, url]) as (writer, reader):
            await writer.write("clicks", "a", features={"item": "old"}, **extra)
            await writer.settle()
            await reader.row("clicks", "other")  # so that it is connected
            proxy.blackhole(answers_only=True)
            asked = asyncio.create_task(reader.row("clicks", "a"))
            await _asked_of_redis(redis_server, "HGETALL" if timeline else "GET")
            before = heard(reader)
            await writer.write("clicks", "a", features={"item": "new"}, **extra)
            await hears(reader, before + 1)
            proxy.heal()
            assert '"item": "new"' in json.dumps(await asked)
            assert '"item": "new"' in json.dumps(await reader.row("clicks", "a"))


class LateAnswers(WatchedStore):
    """A store that acts on writes at once, and whose word of it is late."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.written = asyncio.Event()
        self.may_tell = asyncio.Event()

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        outcomes = await super().write(puts, timeout_seconds=timeout_seconds, now_us=now_us)
        self.written.set()
        await self.may_tell.wait()
        return outcomes


@SHAPES
@pytest.mark.parametrize("then", ["write", "delete"])
async def test_an_own_write_that_is_overtaken_does_not_hide_the_newer_one(
    tmp_path: Path, redis_url: str, timeline: Any, then: str
) -> None:
    """L3 took ours first and theirs second, and we hear of theirs first."""
    group = a_group(timeline=timeline, **LONG)
    extra = {"timestamp": 1} if timeline else {}
    async with sidecars(tmp_path, group, redis_urls=[redis_url] * 2) as (late, other):
        if timeline:  # so that L1 has something to put a record into
            await late.row("clicks", "a")
        store = LateAnswers(late.store)
        late.writes._store = store
        ours = asyncio.create_task(late.write("clicks", "a", features={"item": "ours"}, **extra))
        await store.written.wait()
        if then == "write":
            await other.write("clicks", "a", features={"item": "theirs"}, **extra)
        else:
            await other.writes.delete(other.plan, "clicks", "a")
        await hears(late, 1)
        store.may_tell.set()
        assert (await ours).verdict == "written"
        row = json.dumps(await late.row("clicks", "a"))
        assert ('"item": "theirs"' if then == "write" else '"status": "missing"') in row


async def test_a_load_that_began_under_another_catalog_is_overtaken_all_the_same(
    tmp_path: Path, redis_url: str
) -> None:
    """What is in the air is known by its id, not by the plan it took off with."""
    old, new = a_group(schema_hash="1", **LONG), a_group(schema_hash="1", **{**LONG, "soft": 400})
    async with sidecars(tmp_path, old, redis_urls=[redis_url] * 2) as (writer, reader):
        await writer.write("clicks", "a", features={"item": "old"})
        await writer.settle()
        await forget(redis_url, writer, "a")
        reader.store.hold()
        asked = asyncio.create_task(reader.row("clicks", "a"))
        await reader.store.reading.wait()
        reader.deploy(new)
        before = heard(reader)
        await writer.write("clicks", "a", features={"item": "new"})
        await hears(reader, before + 1)
        reader.store.release()
        await asked
        await reader.settle()
        assert '"item": "new"' in json.dumps(await reader.row("clicks", "a"))


async def _asked_of_redis(server: RedisServer, command: str) -> None:
    """Wait until Redis has executed a command."""
    key = f"cmdstat_{command.lower()}"
    async with asyncio.timeout(5), Redis.from_url(server.url) as client:
        while (await client.info("commandstats")).get(key, {"calls": 0})["calls"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
