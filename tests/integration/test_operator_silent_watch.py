"""A watch that falls silent by itself, while all else goes on: a router has forgotten its connection.

Scenario 15 of the operator's checklist, with less patience than the operator has. That a watch notices its
own silence is in `test_watching`; here it does not, so that only lists tell of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.control_plane import ApiServer
from tests.integration.operator_cluster import Cluster, a_cluster, an_operator_here
from tests.tcp_proxy import HOST, TcpProxy

from pannier_operator.app import Operator
from pannier_operator.liveness import MISSES
from pannier_operator.replica import Patience

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("aws_credentials"),
]
NEVER = 86_400.0
IDLE_SECONDS = 4.0
"""Of a watch without events; whatever else the operator has open is used more often by then."""


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


@contextlib.asynccontextmanager
async def behind(cluster: Cluster, way: TcpProxy, patience: Patience) -> AsyncIterator[tuple[Operator, str]]:
    """An operator that reaches the API server by a proxy, and a group that is ready."""
    config = cluster.user.kubeconfig
    config.write_text(config.read_text().replace(f":{cluster.api.port}", f":{way.port}"))
    async with an_operator_here(
        cluster,
        patience=patience,
        resync_seconds="3600",
        lease_seconds="60",
        lease_renew_seconds="40",
        lease_retry_seconds="1",
    ) as operator:
        name = await cluster.apply()
        await cluster.ready(name)
        yield operator, name


async def forget_the_watch(way: TcpProxy) -> None:
    """Have the watch's connection forgotten, once it is the only one that is not in use."""
    async with asyncio.timeout(60):
        while way.idle(IDLE_SECONDS) == 0:  # noqa: ASYNC110 - others go on asking, and time goes by
            await asyncio.sleep(0.1)
    assert way.forget_idle(IDLE_SECONDS) < way.open


async def liveness(operator: Operator) -> tuple[int, str]:
    """What a kubelet is told."""
    async with aiohttp.ClientSession() as session, session.get(f"{operator.admin.url}/livez") as answer:
        return answer.status, (await answer.text()).strip()


async def hard_ttl(cluster: Cluster) -> int | None:
    """What sidecars are told."""
    return (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds


async def edited(cluster: Cluster, name: str, seconds: int) -> None:
    """Edit the group and wait until sidecars are told."""
    await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": seconds}}})
    await cluster.ready(name)
    assert await hard_ttl(cluster) == seconds


async def test_15_edits_that_a_silent_watch_does_not_bring_come_by_the_list(cluster: Cluster) -> None:
    """None is lost; after some the process says that it is not alive; with events it is again."""
    patience = Patience(check_seconds=0.5, silence_seconds=NEVER)
    async with TcpProxy(HOST, cluster.api.port) as way, behind(cluster, way, patience) as (operator, name):
        await forget_the_watch(way)
        for n in range(MISSES):
            assert (await liveness(operator))[0] == 200, n
            await edited(cluster, name, 7 + n)
        assert await liveness(operator) == (503, "the watch brings no events")
        way.heal()

        async def is_alive() -> bool:
            return (await liveness(operator))[0] == 200

        await cluster.until(is_alive)
        await edited(cluster, name, 30)
        assert (await liveness(operator))[0] == 200
