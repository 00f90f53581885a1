"""Read your own writes through one sidecar while Redis fails: writer and tier on a real Redis."""

from __future__ import annotations

import random

import pytest
from tests.integration.l2_support import Counts, a_record, a_tier, user
from tests.servers import RedisServer

from pannier_sidecar.backfill import L2Writer
from pannier_sidecar.clock import SystemClock
from pannier_sidecar.entry.record import Record
from pannier_sidecar.errors import TierError

pytestmark = pytest.mark.redis


async def test_a_write_made_while_redis_is_down_is_seen_and_arrives_after_its_restart(
    redis_server: RedisServer,
) -> None:
    """Before, during and after: never the older value, and L2 converges by itself."""
    counts, clock = Counts(), SystemClock()
    old, new = (a_record(clock.now_us() + i, loaded_at_us=clock.now_us()) for i in range(2))
    async with (
        a_tier(redis_server.url, counts=counts) as tier,
        L2Writer(tier, clock=clock, metrics=counts, dice=random.Random(1).random, sender=b"me") as writer,
    ):
        writer.backfill(user(1), old)
        assert await writer.drain(5)
        redis_server.kill()
        writer.confirm(user(1), new)
        assert not await writer.drain(0.05)
        [during] = await tier.read([user(1)])
        assert isinstance(during, TierError)
        assert writer.overlay(user(1), None) == new
        redis_server.restart()
        assert await writer.drain(10)  # and with that reads need not wait either
        [after] = await tier.read([user(1)])
        assert isinstance(after, Record)
        assert after.revision == new.revision
        assert writer.usage() == (0, 0)


async def test_an_older_value_that_survived_in_redis_is_not_read_over_an_unconfirmed_write(
    redis_server: RedisServer,
) -> None:
    """Only the writer's link hangs: what Redis still says is older than what this sidecar wrote."""
    clock = SystemClock()
    old, new = (a_record(clock.now_us() + i, loaded_at_us=clock.now_us()) for i in range(2))
    async with (
        a_tier(redis_server.url) as reader,
        a_tier(redis_server.url, timeout=0.2) as tier,
        L2Writer(tier, clock=clock, metrics=Counts(), dice=random.Random(1).random, sender=b"me") as writer,
    ):
        await reader.merge([(user(1), old)])
        redis_server.pause()
        writer.confirm(user(1), new)
        assert not await writer.drain(0.3)
        redis_server.resume()
        said = old
        assert writer.overlay(user(1), said) == new
        assert await writer.drain(10)
        [held] = await reader.read([user(1)])
        assert isinstance(held, Record)
        assert held.revision == new.revision
