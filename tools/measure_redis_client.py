"""Client CPU per call to Redis: redis-py's pool, and one connection that all calls share.

    PYTHONPATH=contract:sidecar:. .venv/bin/python tools/measure_redis_client.py

Starts a redis-server of its own and stops it. CPU is this process's own, medians of interleaved rounds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop
from redis.asyncio import Redis
from tests.servers import RedisServer

from pannier_sidecar.tiers.redis_pipe import Command, Exchange, exchange_at

ROUNDS = 7
CALLS = 2_000
AT_ONCE = 32
RECORD = b"x" * 8_192
TIMELINE = {f"{number:013d}": b"x" * 240 for number in range(50)}
CALL: dict[str, list[Command]] = {
    "GET of 8 KB": [("GET", "record")],
    "HGETALL of 50 x 240 B": [("HGETALL", "timeline")],
    "20 GETs of 8 KB": [("GET", "record")] * 20,
}

Send = Callable[[Sequence[Command]], Awaitable[Any]]


def through_pool(client: Any) -> Send:
    """The way of redis-py: a connection per call, one write, one read."""

    async def send(commands: Sequence[Command]) -> Any:
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    return send


def through_pipe(pipe: Exchange) -> Send:
    """One connection for everybody."""

    async def send(commands: Sequence[Command]) -> Any:
        return await pipe.send(commands)

    return send


async def cpu_us(send: Send, commands: Sequence[Command]) -> float:
    """CPU of this process per call, with as many at once as a busy sidecar has."""

    async def caller() -> None:
        for _ in range(CALLS // AT_ONCE):
            await send(commands)

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / (CALLS // AT_ONCE * AT_ONCE) * 1e6


async def measure(url: str) -> None:
    """Print a table."""
    client = Redis.from_url(url, max_connections=AT_ONCE, protocol=2)
    await client.set("record", RECORD)
    await client.hset("timeline", items=[part for pair in TIMELINE.items() for part in pair])
    print(f"| call, {AT_ONCE} at once | redis-py, us | shared connection, us | |\n|---|---|---|---|")
    async with exchange_at(url, "l2") as pipe:
        for name, commands in CALL.items():
            rounds = [
                (await cpu_us(through_pool(client), commands), await cpu_us(through_pipe(pipe), commands))
                for _ in range(ROUNDS)
            ]
            pool, shared = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"| {name} | {pool:.0f} | {shared:.0f} | {pool / shared:.1f}x |")
    await client.aclose()


if __name__ == "__main__":
    with RedisServer() as server:
        uvloop.run(measure(server.url))
