"""Time as a constructor argument: nothing else in the sidecar reads a clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Microseconds since the Unix epoch."""

    def now_us(self) -> int:
        """The wall clock, in microseconds."""
        ...


class SystemClock:
    """The machine's wall clock."""

    __slots__ = ()

    def now_us(self) -> int:
        """The wall clock, in microseconds."""
        return time.time_ns() // 1000

    def __repr__(self) -> str:
        return "<SystemClock>"


class ManualClock:
    """A clock that moves when told to, for tests and simulations."""

    __slots__ = ("_now_us",)

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """The time it was last set to."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Move by this many seconds (may be negative: wall clocks do step back)."""
        self._now_us += int(seconds * 1_000_000)

    def __repr__(self) -> str:
        return f"<ManualClock {self._now_us}>"
