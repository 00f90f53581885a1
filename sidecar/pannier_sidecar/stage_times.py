"""How long the stages of a read took, for ``Server-Timing``."""

from __future__ import annotations

from typing import Final

from pannier_sidecar.clock import Clock

_MILLISECOND_US: Final = 1_000


class StageTimes:
    """The stages of one request, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.start_us = self._last_us = clock.now_us()
        self._laps: list[tuple[str, int]] = []

    def lap(self, stage: str) -> None:
        """End a stage."""
        now_us = self._clock.now_us()
        self._laps.append((stage, max(now_us - self._last_us, 0)))
        self._last_us = now_us

    def header(self) -> str:
        """Say it as a ``Server-Timing`` header, in milliseconds."""
        laps = [*self._laps, ("total", max(self._last_us - self.start_us, 0))]
        return ", ".join(f"{stage};dur={took_us / _MILLISECOND_US:.3f}" for stage, took_us in laps)

    def __repr__(self) -> str:
        return f"<StageTimes {self.header()}>"
