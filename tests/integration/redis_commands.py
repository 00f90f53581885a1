"""What a Redis hears, by its own MONITOR."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import redis.asyncio


@contextlib.asynccontextmanager
async def commands_of(redis_url: str) -> AsyncIterator[list[str]]:
    """Give the list that every command is added to, from anybody, while the block is entered."""
    commands: list[str] = []
    monitored, heard = asyncio.Event(), commands.append

    async def listen() -> None:
        async with redis.asyncio.from_url(redis_url) as client, client.monitor() as monitor:
            monitored.set()
            async for command in monitor.listen():
                heard(str(command["command"]))

    listening = asyncio.create_task(listen())
    try:
        await monitored.wait()
        yield commands
    finally:
        listening.cancel()
