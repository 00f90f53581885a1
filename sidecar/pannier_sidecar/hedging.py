"""When to ask L3 a second time because the first answer is late, and how often that may be: values only.

After the time within which 19 of 20 loads of the group were answered of late, for a bounded share of loads
(Dean and Barroso, "The Tail at Scale", CACM 2013): the tail gets shorter for a few percent more calls.
Asking is done in `pannier_sidecar.hedged_reads`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

QUANTILE: Final = 0.95
LEAST_WAIT_US: Final = 10_000
"""Sooner, our own loop is as likely the reason as L3."""
SAMPLES: Final = 128
FIRST_SAMPLES: Final = 20
"""Fewer say nothing of a 95th percentile."""
_REFRESH: Final = 16
MOST_SAVED: Final = 5.0
"""Second tries that a quiet time pays for."""
_THROTTLED_US: Final = 1_000_000
"""Who was asked to slow down asks nothing twice for this long."""


class LoadTimes:
    """How long the latest loads of one group took."""

    __slots__ = ("_age", "_late_us", "_times_us")

    def __init__(self) -> None:
        self._times_us: deque[int] = deque(maxlen=SAMPLES)
        self._late_us: int | None = None
        self._age = 0

    def add(self, took_us: int) -> None:
        """One more load was answered."""
        self._times_us.append(took_us)
        self._age += 1

    def late_us(self) -> int | None:
        """The time that 19 of 20 kept; None where too few are known. Looked up anew every few loads."""
        if len(self._times_us) < FIRST_SAMPLES:
            return None
        if self._late_us is None or self._age >= _REFRESH:
            ordered = sorted(self._times_us)
            self._late_us = ordered[int(QUANTILE * len(ordered))]
            self._age = 0
        return self._late_us

    def __repr__(self) -> str:
        return f"<LoadTimes of {len(self._times_us)} loads, 19 of 20 within {self._late_us} us>"


def wait_us(late_us: int | None, timeout_us: int) -> int | None:
    """How long to wait for the first answer before a second try; None = there is none in this load."""
    if late_us is None:
        return None
    wait = max(late_us, LEAST_WAIT_US)
    return wait if wait <= timeout_us // 2 else None


def is_calm(throttled_at_us: int | None, now_us: int) -> bool:
    """Whether L3 has not asked to slow down of late."""
    return throttled_at_us is None or not 0 <= now_us - throttled_at_us < _THROTTLED_US
