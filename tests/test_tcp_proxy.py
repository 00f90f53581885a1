"""The proxy that breaks connections breaks them as a network does."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.servers import ROOT, RedisServer
from tests.tcp_proxy import HOST, TcpProxy

pytestmark = pytest.mark.redis


def _client(port: int) -> Redis:
    return Redis(host=HOST, port=port, socket_timeout=None, retry=Retry(NoBackoff(), 0))


async def test_bytes_pass_until_connections_are_cut(redis_server: RedisServer) -> None:
    """A cut breaks what is open; whoever connects again is served, unless connections are refused."""
    async with TcpProxy(HOST, redis_server.port) as proxy, _client(proxy.port) as client:
        assert await client.ping()
        waiting = asyncio.ensure_future(client.blpop(["nothing"]))
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
        proxy.cut()
        with pytest.raises(RedisError):
            await waiting
        assert await client.ping()
        proxy.cut(refuse=True)
        with pytest.raises(RedisError):
            await client.ping()
        proxy.heal()
        assert await client.ping()


async def test_a_swallowed_connection_stays_open_and_goes_on_when_healed(redis_server: RedisServer) -> None:
    """Nobody is told of a half-open connection; what was sent meanwhile arrives in the end."""
    async with TcpProxy(HOST, redis_server.port) as proxy, _client(proxy.port) as client:
        assert await client.ping()
        proxy.blackhole()
        asked = asyncio.ensure_future(client.set("a", "1"))
        await asyncio.wait({asked}, timeout=0.2)
        assert redis_server.ask("EXISTS a") == ":0"
        assert not asked.done()
        proxy.heal()
        assert await asked
        assert redis_server.ask("EXISTS a") == ":1"


async def test_what_was_idle_is_forgotten_and_others_go_on(redis_server: RedisServer) -> None:
    """A router forgets a flow that says nothing: its two ends are not told, and busy ones are served."""
    async with TcpProxy(HOST, redis_server.port) as proxy, _client(proxy.port) as client:
        waiting = asyncio.ensure_future(client.blpop(["list"]))
        async with asyncio.timeout(10):
            while proxy.open < 1 or "blocked_clients:1" not in await _told(redis_server):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with _client(proxy.port) as busy:
            await asyncio.sleep(1.0)
            assert await busy.ping()
            assert proxy.forget_idle(0.9) == 1
            assert await busy.rpush("list", "1") == 1
            await asyncio.wait({waiting}, timeout=0.2)
            assert not waiting.done()
            proxy.heal()
            assert await waiting == (b"list", b"1")


async def _told(server: RedisServer) -> str:
    async with Redis.from_url(server.url) as client:
        return str(await client.info("clients")).replace("'", "").replace(" ", "")


def test_it_runs_as_a_process_of_its_own(redis_server: RedisServer) -> None:
    """Other processes steer it by words on its standard input."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.tcp_proxy", HOST, str(redis_server.port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert int(child.stdout.readline()) > 0
        for word in ("blackhole", "heal", "refuse", "cut"):
            child.stdin.write(f"{word}\n")
            child.stdin.flush()
            assert child.stdout.readline() == "ok\n"
        child.stdin.close()
        assert child.wait(5) == 0
