"""Works off in steps what would hold up everyone at once: groups that left, limits that were lowered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from pannier_sidecar.clock import Clock
from pannier_sidecar.tiers.l1_local import L1Cache

IDLE_SECONDS: Final = 0.25
BUSY_SECONDS: Final = 0.005
"""Between steps, of which each takes a few milliseconds at most; requests go on between them."""


class L1Tending:
    """Owned through ``async with``."""

    def __init__(
        self, l1: L1Cache, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._l1 = l1
        self._clock = clock
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    async def _tend(self) -> None:
        is_busy = False
        while True:
            await self._sleep(BUSY_SECONDS if is_busy else IDLE_SECONDS)
            is_busy = self._l1.tend(self._clock.now_us())

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tend(), name="l1-tending")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def __repr__(self) -> str:
        is_running = self._task is not None and not self._task.done()
        return f"<L1Tending {'running' if is_running else 'stopped'} of {self._l1!r}>"
