"""Reads of L3 within their bulkhead, asked a second time where the first answer is late.

The first good answer counts, the other try is cancelled and awaited. When a second try is due, and whether it
is paid for, is decided in `pannier_sidecar.hedging`; writes never come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final, TypeVar

from pannier_sidecar import hedging
from pannier_sidecar.bulkhead import Bulkhead
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError
from pannier_sidecar.hedging import MOST_SAVED, LoadTimes
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.patience import LATE_SECONDS
from pannier_sidecar.share_budget import ShareBudget

T = TypeVar("T")
Ask = Callable[[float], Coroutine[Any, Any, Sequence[T]]]
"""One try, within so many seconds; it may be called twice."""
_SECOND_US: Final = 1_000_000


class HedgedReads:
    """Asks L3. With a ``hedge_share`` of 0 every read is asked once."""

    def __init__(self, bulkhead: Bulkhead, *, clock: Clock, metrics: Metrics, hedge_share: float) -> None:
        self._bulkhead = bulkhead
        self._clock = clock
        self._metrics = metrics
        self._hedges = hedge_share > 0
        self._budget = ShareBudget(hedge_share, MOST_SAVED)
        self._times: dict[str, LoadTimes] = {}
        self._throttled_at_us: int | None = None

    async def ask(
        self, groups: Collection[str], calls: int, ask: Ask[T | TierError], timeout_seconds: float
    ) -> tuple[Sequence[T | TierError], int]:
        """What one of up to two tries said, and how long it took in microseconds; raises `TierError`."""
        async with self._bulkhead.room(calls):
            start_us = self._clock.now_us()
            self._budget = self._budget.earned()
            wait_us = self._wait_us(groups, timeout_seconds)
            if wait_us is None:
                states = await ask(timeout_seconds)
            else:
                states = await self._hedged(calls, ask, wait_us / _SECOND_US, timeout_seconds)
        took_us = max(self._clock.now_us() - start_us, 0)
        if self._hedges and _is_good(states):
            for group in groups:
                self._times.setdefault(group, LoadTimes()).add(took_us)
        return states, took_us

    def throttled(self) -> None:
        """Hear that L3 asks to slow down."""
        self._throttled_at_us = self._clock.now_us()

    def _wait_us(self, groups: Collection[str], timeout_seconds: float) -> int | None:
        """The slowest group of a load decides; None where nothing is known of one of them."""
        if not self._hedges:
            return None
        known = [self._times[group].late_us() if group in self._times else None for group in groups]
        late = [late_us for late_us in known if late_us is not None]
        if len(late) < len(known):
            return None
        return hedging.wait_us(max(late, default=None), int(timeout_seconds * _SECOND_US))

    async def _hedged(
        self, calls: int, ask: Ask[T | TierError], wait_seconds: float, timeout_seconds: float
    ) -> Sequence[T | TierError]:
        loop = asyncio.get_running_loop()
        tries = [loop.create_task(ask(timeout_seconds), name="l3-first-try")]
        try:
            await asyncio.wait(tries, timeout=wait_seconds)
            # a timer fires before the sockets are looked at: of a busy loop the answer may lie there unread
            await asyncio.wait(tries, timeout=LATE_SECONDS)
            if tries[0].done() or not self._may_hedge(calls):
                return await tries[0]
            second = self._second(calls, ask, timeout_seconds - wait_seconds)
            tries.append(loop.create_task(second, name="l3-second-try"))
            winner = await _first_good(tries)
            if winner is tries[1]:
                self._metrics.hedge("won")
            return winner.result()
        finally:
            for one in tries:
                one.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    def _may_hedge(self, calls: int) -> bool:
        """Take the price of a second try, if it may go out now."""
        occupancy = self._bulkhead.occupancy
        may = (
            self._budget.affords
            and occupancy.has_spare
            and occupancy.fits(calls)
            and hedging.is_calm(self._throttled_at_us, self._clock.now_us())
        )
        self._metrics.hedge("sent" if may else "withheld")
        if may:
            self._budget = self._budget.spent()
        return may

    async def _second(
        self, calls: int, ask: Ask[T | TierError], timeout_seconds: float
    ) -> Sequence[T | TierError]:
        async with self._bulkhead.room(calls):
            return await ask(timeout_seconds)

    def __repr__(self) -> str:
        return f"<HedgedReads by {self._bulkhead!r}, {self._budget.saved:.2f} second tries saved>"


async def _first_good(
    tries: Sequence[asyncio.Task[Sequence[T | TierError]]],
) -> asyncio.Task[Sequence[T | TierError]]:
    """The try that gave the first answer without an error in it; where there is none, the first try."""
    waiting = set(tries)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            if one.exception() is None and _is_good(one.result()):
                return one
    return tries[0]


def _is_good(states: Sequence[object]) -> bool:
    return not any(isinstance(state, TierError) for state in states)
