"""Time as a constructor argument: nothing else in the operator reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is measured."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets; it goes on while the process is stopped."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets; it goes on while the process is stopped."""
        return time.monotonic()

    def __repr__(self) -> str:
        return "<SystemClock>"


class ManualClock:
    """Clocks that move when told to, for tests."""

    __slots__ = ("_elapsed_seconds", "_start")

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_seconds = 0.0

    def now(self) -> datetime:
        """The time it was last moved to."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Seconds it was moved by."""
        return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Move on by this many seconds."""
        self._elapsed_seconds += seconds

    def __repr__(self) -> str:
        return f"<ManualClock {self.now().isoformat()}>"
