"""The connection that listens: what it hears, how it knows that it hears no more, and how it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.integration.serving import QUICK, until
from tests.integration.test_l2_cluster import ClusterNode, _own_all_slots, cluster_url
from tests.servers import RedisServer
from tests.tcp_proxy import HOST, TcpProxy

from pannier_sidecar.tiers.l2_subscription import Heartbeat, Subscription

pytestmark = pytest.mark.redis


class Ear:
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.fails = False

    def heard(self, channel: str, payload: bytes) -> None:
        if self.fails:
            raise ValueError("a bug of ours")
        self.told.append(("heard", (channel, payload)))

    def listening(self, channels: frozenset[str]) -> None:
        self.told.append(("listening", set(channels)))

    def denied(self, channel: str, reason: str) -> None:
        self.told.append(("denied", (channel, "channels" in reason)))

    def lost(self, reason: str) -> None:
        self.told.append(("lost", reason))

    def all(self, kind: str) -> list[Any]:
        return [what for said, what in self.told if said == kind]


@asynccontextmanager
async def listening(
    url: str, *channels: str, heartbeat: Heartbeat = QUICK
) -> AsyncIterator[tuple[Ear, Subscription]]:
    ear = Ear()
    subscription = Subscription(url, ear, dice=lambda: 0.5, heartbeat=heartbeat)
    subscription.want(channels)
    async with subscription:
        yield ear, subscription


def a_url(proxy: TcpProxy) -> str:
    return f"redis://{HOST}:{proxy.port}"


def publish(server: RedisServer, channel: str, text: str) -> None:
    assert server.ask(f"PUBLISH {channel} {text}").startswith(":")


async def test_it_hears_what_is_published_on_its_channels(redis_server: RedisServer) -> None:
    """From the moment it says that it listens, in order, and of no other channel."""
    async with listening(redis_server.url, "a", "b") as (ear, subscription):
        await until(lambda: subscription.is_listening)
        for number in range(200):
            publish(redis_server, "ab"[number % 2], str(number))
        publish(redis_server, "c", "other")
        await until(lambda: len(ear.all("heard")) == 200)
        assert ear.all("heard") == [("ab"[n % 2], str(n).encode()) for n in range(200)]
        assert ear.all("listening") == [{"a", "b"}]
        assert repr(subscription) == f"<Subscription at {HOST}, listening to 2 channels>"


async def test_it_follows_the_channels_that_are_wanted(redis_server: RedisServer) -> None:
    """New ones are told of when Redis has confirmed them, old ones are left."""
    async with listening(redis_server.url) as (ear, subscription):
        await until(lambda: ear.all("listening") == [set()])
        subscription.want(["a", "b"])
        await until(lambda: ear.all("listening")[1:] == [{"a", "b"}])
        subscription.want(["b", "c"])
        await until(lambda: ear.all("listening")[2:] == [{"c"}])
        await until(lambda: redis_server.ask("PUBLISH a x") == ":0")
        publish(redis_server, "c", "y")
        await until(lambda: ear.all("heard")[-1:] == [("c", b"y")])
        assert ear.all("lost") == []


async def test_a_connection_that_breaks_is_told_and_made_anew(redis_server: RedisServer) -> None:
    """With all channels, told as a gap."""
    async with TcpProxy(HOST, redis_server.port) as proxy, listening(a_url(proxy), "a") as (ear, _):
        for number in range(1, 4):
            await until(lambda: len(ear.all("listening")) == number)  # noqa: B023 (awaited at once)
            publish(redis_server, "a", str(number))
            await until(lambda: len(ear.all("heard")) == number)  # noqa: B023
            proxy.cut()
            await until(lambda: len(ear.all("lost")) == number)  # noqa: B023
        await until(lambda: len(ear.all("listening")) == 4)
        assert ear.all("listening") == [{"a"}] * 4


async def test_a_half_open_connection_is_found_out_by_its_silence(redis_server: RedisServer) -> None:
    """Nobody says that it is dead; the PINGs without an answer do."""
    async with (
        TcpProxy(HOST, redis_server.port) as proxy,
        listening(a_url(proxy), "a") as (ear, subscription),
    ):
        await until(lambda: subscription.is_listening)
        proxy.blackhole()
        await until(lambda: bool(ear.all("lost")))
        assert "no answer to 3 PINGs" in ear.all("lost")[0]
        assert not subscription.is_listening
        proxy.heal()
        await until(lambda: subscription.is_listening)
        publish(redis_server, "a", "x")
        await until(lambda: ear.all("heard") == [("a", b"x")])
        assert len(ear.all("lost")) == 1


async def test_a_quiet_connection_that_answers_its_pings_is_kept(redis_server: RedisServer) -> None:
    """Silence alone is no sign of death."""
    heartbeat = QUICK._replace(ping_seconds=0.01)
    async with listening(redis_server.url, "a", heartbeat=heartbeat) as (ear, subscription):
        await until(lambda: subscription.is_listening)
        async with Redis.from_url(redis_server.url) as client:
            while (await client.info("commandstats"))["cmdstat_ping"]["calls"] < 10:  # noqa: ASYNC110 (Redis counts them)
                await asyncio.sleep(0.01)
        assert ear.told == [("listening", {"a"})]


async def test_a_redis_that_is_killed_is_heard_again_when_it_is_back(redis_server: RedisServer) -> None:
    """However long it is away, and told once."""
    async with listening(redis_server.url, "a") as (ear, subscription):
        await until(lambda: subscription.is_listening)
        redis_server.kill()
        await until(lambda: not subscription.is_listening)
        redis_server.restart()
        await until(lambda: subscription.is_listening)
        publish(redis_server, "a", "x")
        await until(lambda: ear.all("heard") == [("a", b"x")])
        assert [kind for kind, _ in ear.told] == ["listening", "lost", "listening", "heard"]


async def test_it_starts_without_redis_and_listens_when_it_comes() -> None:
    """That nothing is heard from the beginning is told as well."""
    with RedisServer() as server:
        server.kill()
        async with listening(server.url, "a") as (ear, subscription):
            await until(lambda: bool(ear.all("lost")))
            server.restart()
            await until(lambda: subscription.is_listening)
            assert [kind for kind, _ in ear.told] == ["lost", "listening"]


async def test_it_listens_again_after_more_tries_than_a_float_can_double(redis_server: RedisServer) -> None:
    """An outage of half an hour: the pause stays at its longest, and the subscription alive."""
    tries, hasty = 0, QUICK._replace(longest_pause_seconds=0.0)

    def count() -> float:
        nonlocal tries
        tries += 1
        return 0.0

    redis_server.kill()
    ear = Ear()
    subscription = Subscription(redis_server.url, ear, dice=count, heartbeat=hasty)
    async with subscription:
        await until(lambda: tries > 1_100, seconds=60)
        redis_server.restart()
        await until(lambda: subscription.is_listening)
    assert [kind for kind, _ in ear.told] == ["lost", "listening"]


async def test_a_slow_consumer_is_cut_by_redis_and_knows_it(redis_server: RedisServer) -> None:
    """Redis keeps only so much for a listener that does not read; what is lost is told as a gap."""
    assert redis_server.ask('CONFIG SET client-output-buffer-limit "pubsub 65536 0 0"') == "+OK"
    patient = QUICK._replace(ping_seconds=60.0)  # so that only Redis can end it
    async with (
        TcpProxy(HOST, redis_server.port) as proxy,
        listening(a_url(proxy), "a", heartbeat=patient) as (ear, subscription),
        Redis.from_url(redis_server.url) as client,
    ):
        await until(lambda: subscription.is_listening)
        proxy.blackhole()
        while await client.publish("a", b"x" * 65_000):
            pass  # until the kernel's buffers, the proxy's and Redis's own are full
        proxy.heal()
        await until(lambda: len(ear.all("listening")) == 2)
        assert len(ear.all("lost")) == 1
        before = len(ear.all("heard"))
        publish(redis_server, "a", "y")
        await until(lambda: ear.all("heard")[before:] == [("a", b"y")])


async def test_a_denied_channel_takes_none_with_it(redis_server: RedisServer) -> None:
    """Redis's ACL separates tenants by the names of their channels, as by those of their keys."""
    assert redis_server.ask("ACL SETUSER tenant on >secret ~pn1:shop/* &pn1:shop/* +@all") == "+OK"
    url = redis_server.url.replace("redis://", "redis://tenant:secret@")
    async with listening(url, "pn1:shop/a:", "pn1:bank/a:", "pn1:shop/b:") as (ear, subscription):
        await until(lambda: subscription.is_listening)
        assert ear.told == [
            ("denied", ("pn1:bank/a:", True)),
            ("listening", {"pn1:shop/a:", "pn1:shop/b:"}),
        ]
        assert redis_server.ask("ACL SETUSER tenant &pn1:bank/*") == "+OK"
        await until(lambda: ear.all("listening")[1:] == [{"pn1:bank/a:"}])


async def test_a_fault_of_ours_costs_the_connection_and_not_the_subscription(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What the message said is unknown, which is a gap like any other."""
    async with listening(redis_server.url, "a") as (ear, subscription):
        await until(lambda: subscription.is_listening)
        ear.fails = True
        publish(redis_server, "a", "x")
        await until(lambda: bool(ear.all("lost")))
        ear.fails = False
        await until(lambda: len(ear.all("listening")) == 2)
        assert "a bug of ours" in caplog.text


async def test_a_wrong_password_is_told_and_tried_on() -> None:
    """Somebody may mend it."""
    with RedisServer() as server:
        assert server.ask("CONFIG SET requirepass secret") == "+OK"
        async with listening(server.url, "a") as (ear, subscription):
            await until(lambda: bool(ear.all("lost")))
            assert not subscription.is_listening


async def test_any_node_of_a_cluster_will_do() -> None:
    """Nodes pass on what is published."""
    with ClusterNode() as node:
        await _own_all_slots(node)
        async with listening(cluster_url(node), "a") as (ear, subscription):
            await until(lambda: subscription.is_listening)
            publish(node, "a", "x")
            await until(lambda: ear.all("heard") == [("a", b"x")])
