"""One connection shared by all calls: replies find their call, and one that ends fails nobody twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis import exceptions as redis_errors
from tests.integration.l2_support import Counts
from tests.servers import RedisServer

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.errors import TierMisconfigured, TierTimeout, TierUnavailable
from pannier_sidecar.tiers.redis_lane import RedisLane
from pannier_sidecar.tiers.redis_pipe import Exchange, exchange_at

pytestmark = pytest.mark.redis


@contextlib.asynccontextmanager
async def a_pipe(url: str) -> AsyncIterator[Exchange]:
    async with exchange_at(url, "l2") as pipe:
        yield pipe


def connections(server: RedisServer) -> int:
    """How many clients Redis has accepted so far."""
    import redis  # noqa: PLC0415 (the plain client, for this one question)

    with redis.Redis.from_url(server.url) as client:
        return int(client.info("stats")["total_connections_received"])


async def test_calls_of_one_tick_share_a_connection_and_get_their_own_replies(
    redis_server: RedisServer,
) -> None:
    """A thousand calls at once take one connection, and none of them sees another's reply."""
    before = connections(redis_server)
    async with a_pipe(redis_server.url) as pipe:
        calls = [pipe.send([("SET", f"k{i}", i), ("GET", f"k{i}")]) for i in range(1_000)]
        assert await asyncio.gather(*calls) == [[b"OK", b"%d" % i] for i in range(1_000)]
    assert connections(redis_server) == before + 2, "the pipe, and the one that counts"


async def test_an_error_of_one_command_is_its_reply(redis_url: str) -> None:
    """The other commands of the batch, and the other batches, are answered as if nothing had been."""
    async with a_pipe(redis_url) as pipe:
        first, second = pipe.send([("GET",), ("PING",)]), pipe.send([("PING",)])
        bad, good = await first
        assert isinstance(bad, redis_errors.ResponseError)
        assert good == b"PONG"
        assert await second == [b"PONG"]


async def test_a_reply_that_nobody_waits_for_any_more_goes_to_nobody(redis_server: RedisServer) -> None:
    """A call that was given up leaves the order of replies as it was."""
    async with a_pipe(redis_server.url) as pipe:
        await pipe.send([("SET", "a", "1"), ("SET", "b", "2")])
        redis_server.pause()
        lost, kept = pipe.send([("GET", "a"), ("GET", "a")]), pipe.send([("GET", "b")])
        await asyncio.sleep(0)
        lost.cancel()
        redis_server.resume()
        assert await kept == [b"2"]


async def test_what_a_killed_redis_did_not_answer_is_asked_once_more(redis_server: RedisServer) -> None:
    """Calls under way survive a restart; without a Redis they fail."""
    async with a_pipe(redis_server.url) as pipe:
        await pipe.send([("PING",)])
        redis_server.pause()
        waiting = pipe.send([("PING",)])
        await asyncio.sleep(0)
        redis_server.kill()
        redis_server.restart()
        assert await waiting == [b"PONG"]
        redis_server.kill()
        with pytest.raises(redis_errors.ConnectionError):
            await pipe.send([("PING",)])


async def test_calls_of_a_connection_that_was_given_up_fail_and_new_ones_succeed(
    redis_server: RedisServer,
) -> None:
    """What hangs is left behind with its connection."""
    async with a_pipe(redis_server.url) as pipe:
        await pipe.send([("PING",)])
        redis_server.pause()
        hanging = pipe.send([("PING",)])
        await asyncio.sleep(0)
        await pipe.reset()
        with pytest.raises(redis_errors.ConnectionError):
            await hanging
        redis_server.resume()
        assert await pipe.send([("PING",)]) == [b"PONG"]


async def test_leaving_fails_what_still_waits(redis_server: RedisServer) -> None:
    """Nobody waits for a reply of a client that is closed."""
    async with a_pipe(redis_server.url) as pipe:
        redis_server.pause()
        waiting = pipe.send([("PING",)])
        await asyncio.sleep(0)
    with pytest.raises(redis_errors.ConnectionError):
        await waiting
    redis_server.resume()


@pytest.mark.parametrize("url", ["redis://h/?socket_timeout=soon", "http://h", "redis+cluster://h:port"])
def test_a_url_that_no_client_understands_is_refused_before_anything_is_tried(url: str) -> None:
    """A person has to mend it."""
    with pytest.raises(TierMisconfigured):
        exchange_at(url, "l2")


async def test_a_lane_opens_after_three_timeouts_and_leaves_what_hangs(redis_server: RedisServer) -> None:
    """While it is open calls are refused at once; past the pause one goes through on a new connection."""
    clock, counts = ManualClock(), Counts()
    exchange = exchange_at(redis_server.url, "l2")
    async with RedisLane("l2", exchange, clock=clock, metrics=counts, timeout_seconds=0.1) as lane:
        assert await lane.call([]) == []
        assert await lane.call([("PING",)]) == [b"PONG"]
        redis_server.pause()
        for _ in range(3):
            with pytest.raises(TierTimeout):
                await lane.call([("PING",)])
        assert isinstance(lane.refusal(), TierUnavailable)
        with pytest.raises(TierUnavailable, match="not tried"):
            await lane.call([("PING",)])
        redis_server.resume()
        clock.advance(1)
        assert lane.refusal() is None
        assert await lane.call([("PING",)]) == [b"PONG"]
    assert counts.circuits == ["closed", "open", "half_open", "closed"]
    assert "closed" in repr(lane)
