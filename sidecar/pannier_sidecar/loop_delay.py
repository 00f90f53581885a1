"""How late the event loop runs: a task that asks to be woken soon, and looks how much later it is.

It measures and decides nothing: `pannier_sidecar.admission` hears of each look. A loop is late because this
thread is busy or because it waits, for a core, a lock or a disk; the thread's own clock, which stands still
while it waits, tells how much of a delay its work can have been.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

LOOK_SECONDS: Final = 0.01


class LoopDelay:
    """Owned through ``async with``. A sleeper is woken behind all that was ready: that is its delay."""

    def __init__(
        self,
        heard: Callable[[int, int, int], None],
        monotonic_us: Callable[[], int],
        worked_us: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._heard = heard
        self._monotonic_us = monotonic_us
        self._worked_us = worked_us
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look(), name="loop-delay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        while True:
            due_us, worked_us = self._monotonic_us() + int(LOOK_SECONDS * 1_000_000), self._worked_us()
            await self._sleep(LOOK_SECONDS)
            now_us = self._monotonic_us()
            delay_us = max(now_us - due_us, 0)
            self._heard(delay_us, now_us, min(delay_us, self._worked_us() - worked_us))

    def __repr__(self) -> str:
        is_running = self._task is not None and not self._task.done()
        return f"<LoopDelay {'looking' if is_running else 'stopped'}>"
