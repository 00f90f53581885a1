"""The Redis tier on Redis Cluster: one node that owns every slot, reached through the cluster client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.integration.l2_support import CLICKS, NOW_US, Counts, a_click, a_record, a_tier, clicker, user
from tests.servers import RedisServer

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import timeline
from pannier_sidecar.errors import TierUnavailable

pytestmark = pytest.mark.redis


class ClusterNode(RedisServer):
    """redis-server in cluster mode."""

    def command(self) -> list[str]:
        return [*super().command(), "--cluster-enabled", "yes"]


@pytest_asyncio.fixture
async def node() -> AsyncIterator[ClusterNode]:
    with ClusterNode() as server:
        await _own_all_slots(server)
        yield server


async def _own_all_slots(server: RedisServer) -> None:
    """Give the node every slot, and wait until it says so itself."""
    client: Any = Redis.from_url(server.url, protocol=2)
    try:
        await client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        # the node tells nobody when it has made up its mind, it must be asked
        while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    finally:
        await client.aclose()


def cluster_url(server: RedisServer) -> str:
    return server.url.replace("redis://", "redis+cluster://")


async def test_batches_span_slots(node: ClusterNode) -> None:
    """Ids hash to many slots; one call reads and merges them all, records and timelines."""
    clicks = timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US)
    keys = [user(i) for i in range(50)] + [clicker(i) for i in range(50)]
    async with a_tier(cluster_url(node)) as tier:
        deltas = [(user(i), a_record(NOW_US + i)) for i in range(40)]
        assert await tier.merge([*deltas, *((clicker(i), clicks) for i in range(40))]) == [None] * 80
        assert await tier.merge([(user(0), a_record(NOW_US - 1))]) == [None]
        answers = await tier.read(keys)
        assert answers[:40] == [a_record(NOW_US + i) for i in range(40)]
        assert answers[50:90] == [timeline.merge(None, clicks, CLICKS.register_capacity)] * 40
        assert answers[40:50] == answers[90:] == [None] * 10
        assert "cluster" in repr(tier)


async def test_an_absent_cluster_is_unavailable_and_found_when_it_comes() -> None:
    """As with a single server: the sidecar starts, goes on without, and finds it by itself."""
    counts, clock = Counts(), ManualClock()
    with ClusterNode() as server:
        server.kill()
        async with a_tier(cluster_url(server), counts=counts, clock=clock) as tier:
            [fault] = await tier.read([user(1)])
            assert isinstance(fault, TierUnavailable)
            server.restart()
            await _own_all_slots(server)
            clock.advance(1)
            assert await tier.read([user(1)]) == [None]
            assert counts.circuits == ["closed", "open", "half_open", "closed"]
