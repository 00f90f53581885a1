"""What a lost word of other sidecars costs: a bounded time of older values, and no storm on L3."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.builders import a_group
from tests.fault_proxy import FaultProxy
from tests.integration.dynamodb_stores import settings
from tests.integration.serving import Core, until
from tests.integration.several_sidecars import sidecars
from tests.servers import RedisServer
from tests.tcp_proxy import HOST, TcpProxy

from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

pytestmark = pytest.mark.redis
IDS = tuple(str(number) for number in range(20))
SOFT, WINDOW = 5, 60
"""Seconds of the local soft TTL, and of the remote one: in each such window an id is loaded from L3 once."""


@dataclass
class Fleet:
    """Sidecars whose readers ask for everything all the time, and what can break between them and Redis."""

    cores: list[Core]
    redis: RedisServer
    data: TcpProxy
    listening: TcpProxy
    dynamodb: FaultProxy

    @property
    def l3_reads(self) -> int:
        """Calls of DynamoDB that read; the ids of a call are those of one reader."""
        return self.dynamodb.calls["BatchGetItem"]

    async def read(self, core: Core) -> dict[str, str | None]:
        """Let one core's readers ask for all ids, each for itself; gives what they saw."""
        rows = await asyncio.gather(*(core.row("clicks", row_id) for row_id in IDS))
        return {row["id"]: row.get("features", {}).get("item") for row in rows}

    async def live(self, seconds: int) -> None:
        """Let time pass with everybody reading once a second."""
        for _ in range(seconds):
            for core in self.cores:
                await self.read(core)
                await core.loader.settled()
            self.cores[0].clock.advance(1)

    async def write(self, item: str) -> None:
        """Write all ids through the first core; whether L2 hears of it is another matter."""
        await self.cores[0].write_all(
            *({"group": "clicks", "id": row_id, "features": {"item": item}} for row_id in IDS)
        )

    async def listen_again(self, losses: int = 1) -> None:
        """Wait until each core knows of the gap and listens anew."""
        for core in self.cores:
            await until(lambda: core.metrics.subscription.losses >= losses)  # noqa: B023 (awaited at once)
            await until(lambda: core.metrics.subscription.state == "listening")  # noqa: B023


@contextlib.asynccontextmanager
async def a_fleet(
    directory: Path, redis: RedisServer, dynoxide_url: str, count: int = 3
) -> AsyncIterator[Fleet]:
    group = a_group(
        table=f"t{redis.port}",
        local_soft=SOFT,
        local_hard=40,
        remote_soft=WINDOW,
        remote_hard=600,
        negative=5,
    )
    async with (
        FaultProxy(dynoxide_url) as dynamodb,
        TcpProxy(HOST, redis.port) as data,
        TcpProxy(HOST, redis.port) as listening,
        DynamoDBStore(settings(dynamodb.url)) as store,
        sidecars(
            directory,
            group,
            redis_urls=[f"redis://{HOST}:{data.port}"] * count,
            listen_urls=[f"redis://{HOST}:{listening.port}"] * count,
            store=store,
            l2_timeout_seconds=0.2,
        ) as cores,
    ):
        yield Fleet(cores, redis, data, listening, dynamodb)


async def _nothing(fleet: Fleet) -> None:
    del fleet


async def _subscriptions_cut(fleet: Fleet) -> None:
    fleet.listening.cut(refuse=True)
    await fleet.write("missed")
    await fleet.cores[0].settle()
    fleet.listening.heal()
    await fleet.listen_again()


async def _subscriptions_half_open(fleet: Fleet) -> None:
    fleet.listening.blackhole()
    await fleet.write("missed")
    await fleet.cores[0].settle()
    for core in fleet.cores:
        await until(lambda: core.metrics.subscription.losses == 1)  # noqa: B023
    fleet.listening.heal()
    await fleet.listen_again()


async def _everything_half_open(fleet: Fleet) -> None:
    fleet.listening.blackhole()
    fleet.data.blackhole()
    await fleet.write("missed")
    await fleet.live(3)
    for core in fleet.cores:
        await until(lambda: core.metrics.subscription.losses == 1)  # noqa: B023
    fleet.listening.heal()
    fleet.data.heal()
    await fleet.listen_again()


async def _redis_killed(fleet: Fleet) -> None:
    fleet.redis.kill()
    await fleet.write("missed")
    await fleet.live(3)
    fleet.redis.restart()
    await fleet.listen_again()
    await fleet.cores[0].settle()  # what Redis has yet to hear is tried again in real time, not in the test's


async def _redis_flushed(fleet: Fleet) -> None:
    await fleet.write("missed")
    await fleet.cores[0].settle()
    fleet.redis.flush()


async def _slow_consumers_cut_by_redis(fleet: Fleet) -> None:
    """What Redis does with a listener whose output buffer is full."""
    assert fleet.redis.ask("CLIENT KILL TYPE pubsub").startswith(":")
    await fleet.write("missed")
    await fleet.listen_again()


FAULTS: Sequence[Callable[[Fleet], Awaitable[None]]] = (
    _subscriptions_cut,
    _subscriptions_half_open,
    _everything_half_open,
    _redis_killed,
    _redis_flushed,
    _slow_consumers_cut_by_redis,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
async def test_a_fault_costs_one_older_look_and_no_storm(
    tmp_path: Path,
    redis_server: RedisServer,
    dynoxide_url: str,
    fault: Callable[[Fleet], Awaitable[None]],
) -> None:
    """Once it listens again each sidecar shows what was written meanwhile after one look per id.

    L3 is read at most twice as often as without the fault, over a window of the remote soft TTL.
    """
    async with a_fleet(tmp_path, redis_server, dynoxide_url) as fleet:
        await fleet.write("first")
        await fleet.live(WINDOW)
        before = fleet.l3_reads
        await fleet.live(WINDOW)
        steady = fleet.l3_reads - before
        assert len(IDS) <= steady <= 2 * len(IDS)
        began_us, before = fleet.cores[0].clock.now_us(), fleet.l3_reads
        await fault(fleet)
        fleet.cores[0].clock.advance(1)  # a circuit that had opened lets the next call through
        for core in fleet.cores:
            await fleet.read(core)
            await core.loader.settled()
            await fleet.read(core)
            await core.loader.settled()
        fleet.cores[0].clock.advance(1)  # nor does a refresh that failed, or another's, stand in the way
        for core in fleet.cores:
            await fleet.read(core)
            await core.loader.settled()
            assert set((await fleet.read(core)).values()) == {"missed"}
        passed = (fleet.cores[0].clock.now_us() - began_us) // 1_000_000
        await fleet.live(WINDOW - passed)
        assert fleet.l3_reads - before <= 2 * steady
