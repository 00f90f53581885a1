"""Removal of the rows under a fence, behind the answer: in pages until none is left, then once more.

The fence is the delete; what happens here only takes the hidden rows off the disk. The second pass, ten
seconds later, takes events that were written live while the fence was being put down (docs/adr/0006).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.owned_tasks import OwnedTasks
from pannier_sidecar.row import Erasure, RowKey
from pannier_sidecar.tiers.l3 import Store

SECOND_PASS_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 5.0
MAX_FAILURES: Final = 20
"""In a row; then the rest is left hidden under the fence, for the next delete of the id."""

log = logging.getLogger(__name__)


class Erasures:
    """Owned through ``async with``; leaving gives up what is not removed yet."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        *,
        timeout_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._tasks = OwnedTasks("erasure")

    def go_on(self, key: RowKey, erasure: Erasure) -> None:
        """Remove what is left under the fence, now and once more later."""
        self._tasks.start(self._remove(key, erasure))

    async def settled(self) -> None:
        """Return when nothing is left to remove."""
        await self._tasks.settled()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    async def _remove(self, key: RowKey, erasure: Erasure) -> None:
        if not erasure.finished:
            await self._pages(key, erasure)
        await self._sleep(SECOND_PASS_SECONDS)
        await self._pages(key, erasure)

    async def _pages(self, key: RowKey, first: Erasure) -> None:
        failures = 0
        while failures < MAX_FAILURES:
            try:
                erasure = await self._store.erase(
                    key.plan,
                    key.id,
                    timeout_seconds=self._timeout_seconds,
                    now_us=self._clock.now_us(),
                    fence=first.fence,
                )
            except TierError as error:
                failures += 1
                self._metrics.tier_error(error.tier, error.reason)
                await self._sleep(RETRY_SECONDS)
                continue
            failures = 0
            if erasure.finished:
                return
        log.warning("rows of an erased id are left under its fence in %s", key.plan.name)

    def __repr__(self) -> str:
        return f"<Erasures {len(self._tasks)} under way>"
