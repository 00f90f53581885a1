"""What counts: a histogram of fixed buckets, and a counter with labels whose number is bounded.

Plain integers, cheap enough for the request path. What is counted by them stands in `metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

LOAD_BUCKETS_SECONDS: Final = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.1,
    0.25,
    1.0,
    5.0,
)
AGE_BUCKETS_SECONDS: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
MAX_LABELS: Final = 256
OTHER: Final = "other"


class Histogram:
    """Counts per fixed bucket: one bisection and two additions per observation."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, n: int = 1) -> None:
        """Count ``n`` observations of one value."""
        self.counts[bisect_left(self.bounds, value)] += n
        self.total += value * n

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as Prometheus wants them: each holds all below it."""
        edges = [*(str(bound) for bound in self.bounds), "+Inf"]
        running, buckets = 0, []
        for edge, count in zip(edges, self.counts, strict=True):
            running += count
            buckets.append((edge, float(running)))
        return buckets

    def __repr__(self) -> str:
        return f"<Histogram {sum(self.counts)} observations, sum {self.total:.6g}>"


class LabelledCounts:
    """A counter with labels whose number of combinations is bounded."""

    __slots__ = ("_counts", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, n: int = 1) -> None:
        """Count; a combination beyond the bound counts as ``other``."""
        if labels not in self._counts and len(self._counts) >= MAX_LABELS:
            labels = (OTHER,) * self._width
        self._counts[labels] = self._counts.get(labels, 0) + n

    def items(self) -> Iterable[tuple[tuple[str, ...], int]]:
        """Label values and their counts."""
        return self._counts.items()

    def __repr__(self) -> str:
        return f"<LabelledCounts {self._counts}>"
