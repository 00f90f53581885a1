"""Who may begin: requests that leave the hot path take a seat, and those without one are refused at once.

Nobody queues here. What L1 answers alone takes no seat and is never refused. Lanes are apart, so that writes
take nothing from reads. How many seats there are is decided in `pannier_sidecar.overload`, from the bound
that is set and from how late the event loop runs (`pannier_sidecar.loop_delay` looks).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Final, Literal, Self

from pannier_sidecar.errors import Overloaded
from pannier_sidecar.metrics import Metrics, RoomUsage
from pannier_sidecar.overload import INTERVAL_US, UNASKED_TURNS, Allowance, StandingDelay, retry_after_seconds

Kind = Literal["read", "write"]

_REFUSED: Final[dict[Kind, str]] = {
    "read": "as many reads that need more than L1 are under way as may be; nothing was loaded for this one",
    "write": "as many writes are under way as may be; nothing of this one was stored, repeating it is safe",
}


class Lane:
    """The seats of one kind of request."""

    def __init__(self, kind: Kind, most: int, metrics: Metrics, dice: Callable[[], float]) -> None:
        self.kind = kind
        self._allowance = Allowance(most, most)
        self._metrics = metrics
        self._dice = dice
        self._under_way = 0
        self._peak = 0
        """Most that were under way since the last adjustment."""

    def seat(self) -> Seat:
        """A place for one request, not taken yet."""
        return Seat(self)

    def try_begin(self) -> bool:
        """Begin one more, unless that is too much."""
        if not self._allowance.admits(self._under_way):
            self._peak = max(self._peak, self._allowance.now)
            return False
        self._under_way += 1
        self._peak = max(self._peak, self._under_way)
        return True

    def begin(self) -> None:
        """Begin one more; raises `Overloaded`."""
        if not self.try_begin():
            raise self._refusal()

    def end(self) -> None:
        """One is done."""
        self._under_way -= 1

    def adjust(self, calm_turns: int) -> None:
        """Allow less where the loop is late all the time, more where the allowance was used up.

        Where nobody uses it up it grows as well, more slowly: what was cut in a burst must not meet the next.
        ``calm_turns``: adjustments in a row for which the loop was in time.
        """
        if not calm_turns:
            self._allowance = self._allowance.cut(self._peak)
        elif self._peak >= self._allowance.now or calm_turns % UNASKED_TURNS == 0:
            self._allowance = self._allowance.raised()
        self._peak = self._under_way

    def usage(self) -> RoomUsage:
        """How many are under way, and how many may be."""
        return RoomUsage(self._under_way, 0, self._allowance.now)

    def _refusal(self) -> Overloaded:
        self._metrics.shed(self.kind)
        return Overloaded(_REFUSED[self.kind], retry_after_seconds(self._dice()))

    def __repr__(self) -> str:
        return f"<Lane {self.kind}: {self._under_way} of {self._allowance.now}>"


class Seat:
    """The place of one request, left with its block; taken once, however often it is asked for."""

    __slots__ = ("_has", "_lane")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._has = False

    def take(self) -> None:
        """Take the place; raises `Overloaded`."""
        if not self._has:
            self._lane.begin()
            self._has = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has:
            self._has = False
            self._lane.end()

    def __repr__(self) -> str:
        return f"<Seat {'taken' if self._has else 'free'} in {self._lane!r}>"


class Admission:
    """The lanes of one sidecar, and what they know of the event loop."""

    def __init__(
        self,
        *,
        reads: int,
        writes: int,
        delay_target_us: int,
        metrics: Metrics,
        dice: Callable[[], float],
    ) -> None:
        self.reads = Lane("read", reads, metrics, dice)
        self.writes = Lane("write", writes, metrics, dice)
        self._metrics = metrics
        self._delay = StandingDelay(delay_target_us)
        self._adjusted_us = 0
        self._calm_turns = 0
        metrics.watch_room("read", self.reads.usage)
        metrics.watch_room("write", self.writes.usage)

    def observe(self, delay_us: int, now_us: int, own_us: int = 0) -> None:
        """Hear how late the event loop runs; once per interval the lanes follow.

        ``own_us``: how much of it was our own work, at most. For the metrics only: who waits should let in
        as little as one who is busy.
        """
        self._metrics.loop_delay.observe(delay_us / 1_000_000)
        self._metrics.loop_work.observe(own_us / 1_000_000)
        self._delay = self._delay.observed(delay_us, now_us)
        if 0 <= now_us - self._adjusted_us < INTERVAL_US:
            return
        self._adjusted_us = now_us
        self._calm_turns = 0 if self._delay.is_standing(now_us) else self._calm_turns + 1
        for lane in (self.reads, self.writes):
            lane.adjust(self._calm_turns)

    def __repr__(self) -> str:
        return f"<Admission {self.reads!r}, {self.writes!r}>"


def end_after(lane: Lane, flights: Collection[asyncio.Future[Any]]) -> None:
    """End one that was begun once all of these are done."""
    left = len(flights)
    if not left:
        lane.end()
        return

    def landed(_flight: asyncio.Future[Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            lane.end()

    for flight in flights:
        flight.add_done_callback(landed)
