"""One load per key at a time: whoever needs a key that is being loaded waits for that load.

A flight belongs to nobody who waits for it: its task is detached, so a reader that is cancelled or runs out
of time takes nothing from the others, and the load still fills the caches. Keys that nobody loads yet start
in one batch. Waiters use `asyncio.wait`, which cancels nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

from pannier_sidecar.owned_tasks import OwnedTasks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Land = Callable[[K, V], None]
Batch = Callable[[Sequence[K], Land[K, V]], Awaitable[None]]


class SingleFlight(Generic[K, V]):
    """The loads in the air. Owned through ``async with``: leaving cancels them, their waiters hear of it."""

    def __init__(
        self,
        crashed: Callable[[BaseException | None], V],
        around: Callable[[Sequence[K]], AbstractContextManager[None]] = lambda _: contextlib.nullcontext(),
    ) -> None:
        """``around`` is entered for the keys of a batch as long as it flies."""
        self._crashed = crashed
        self._around = around
        self._flights: dict[K, asyncio.Future[V]] = {}
        self._tasks = OwnedTasks("load")

    def join(self, keys: Sequence[K], batch: Batch[K, V]) -> dict[K, asyncio.Future[V]]:
        """Join the flights of these keys; those that nobody loads start as one batch in the background.

        ``batch`` lands each key as soon as its value is known; a key that it leaves behind lands as crashed.
        """
        loop = asyncio.get_running_loop()
        joined: dict[K, asyncio.Future[V]] = {}
        new: dict[K, asyncio.Future[V]] = {}
        for key in keys:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = new[key] = loop.create_future()
            joined[key] = flight
        if new:
            self._tasks.start(self._fly(new, batch))
        return joined

    def is_flying(self, key: K) -> bool:
        """Whether a load of this key is under way."""
        return key in self._flights

    async def settled(self) -> None:
        """Return when nothing is in the air any more; for tests and for a quiet shutdown."""
        await self._tasks.settled()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    async def _fly(self, flights: dict[K, asyncio.Future[V]], batch: Batch[K, V]) -> None:
        def land(key: K, value: V) -> None:
            flight = flights.pop(key, None)
            if flight is not None:
                del self._flights[key]
                flight.set_result(value)

        reason: BaseException | None = None
        try:
            with self._around(tuple(flights)):
                await batch(tuple(flights), land)
        except Exception as error:  # noqa: BLE001 (reported by `crashed`; the waiters must not hang on a bug)
            reason = error
        finally:
            for key in tuple(flights):
                land(key, self._crashed(reason))

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._flights)} keys in {len(self._tasks)} batches>"
