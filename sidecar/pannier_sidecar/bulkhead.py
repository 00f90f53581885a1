"""Room for a bounded number of calls to one tier in one direction: trouble there must not fill the process.

What finds no room waits a moment, in order, with few others; beyond that it is refused with `TierOverloaded`,
which says nothing of the tier's health: it opens no circuit and makes no row missing. A bulkhead waits and
counts; what it stands before is `pannier_sidecar.tiers.bulkheads`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Literal, NamedTuple

from pannier_sidecar.errors import TierOverloaded
from pannier_sidecar.metrics import Metrics, RoomName, RoomUsage

_SPARE: Final = 0.75
"""Fuller than this there is no room for what is not needed."""


class Limits(NamedTuple):
    """How much a bulkhead holds."""

    calls: int
    """In flight at once."""
    waiting: int
    """Waiting for room at once."""
    wait_seconds: float


class Occupancy(NamedTuple):
    """How full a bulkhead is: pure, so that the decision is one function of values."""

    limits: Limits
    in_flight: int = 0
    waiting: int = 0

    def decide(self, calls: int) -> Literal["enter", "wait", "refuse"]:
        """What becomes of so many more calls; in order, so nobody enters past those who wait."""
        if not self.waiting and self.fits(calls):
            return "enter"
        return "wait" if self.waiting < self.limits.waiting else "refuse"

    def fits(self, calls: int) -> bool:
        """Whether there is room for so many; a load larger than the whole goes alone."""
        return self.in_flight == 0 or self.in_flight + calls <= self.limits.calls

    @property
    def has_spare(self) -> bool:
        """Whether there is room for a call that can be done without."""
        return not self.waiting and self.in_flight < _SPARE * self.limits.calls


class Bulkhead:
    """One tier, one direction."""

    def __init__(self, name: RoomName, limits: Limits, metrics: Metrics) -> None:
        self._name = name
        self._limits = limits
        self._metrics = metrics
        self._in_flight = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        metrics.watch_room(name, self.usage)

    @property
    def occupancy(self) -> Occupancy:
        """How full it is now."""
        return Occupancy(self._limits, self._in_flight, len(self._queue))

    @contextlib.asynccontextmanager
    async def room(self, calls: int = 1) -> AsyncIterator[None]:
        """Hold room for so many calls; raises `TierOverloaded` where there is none in time."""
        decision = self.occupancy.decide(calls)
        if decision == "refuse":
            raise self._refusal(f"{len(self._queue)} more wait")
        if decision == "wait":
            await self._wait(calls)
        else:
            self._in_flight += calls
        try:
            yield
        finally:
            self._in_flight -= calls
            self._let_in()

    def usage(self) -> RoomUsage:
        """How full it is, for metrics and status."""
        return RoomUsage(self._in_flight, len(self._queue), self._limits.calls)

    async def _wait(self, calls: int) -> None:
        """Return with the room held."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((calls, turn))
        try:
            await asyncio.wait((turn,), timeout=self._limits.wait_seconds)
        except asyncio.CancelledError:
            self._give_up(calls, turn)
            raise
        if not turn.done():
            self._give_up(calls, turn)
            raise self._refusal(f"none ended within {self._limits.wait_seconds:g} s")

    def _give_up(self, calls: int, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or the room if it came just now."""
        if turn.done():
            self._in_flight -= calls
        else:
            self._queue.remove((calls, turn))
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and self.occupancy.fits(self._queue[0][0]):
            calls, turn = self._queue.popleft()
            self._in_flight += calls
            turn.set_result(None)

    def _refusal(self, why: str) -> TierOverloaded:
        self._metrics.shed(self._name)
        tier, _, direction = self._name.partition("_")
        return TierOverloaded(tier, f"not asked: {self._in_flight} {direction}s are in flight, and {why}")

    def __repr__(self) -> str:
        return f"<Bulkhead {self._name}: {self._in_flight} of {self._limits.calls}, {len(self._queue)} wait>"
