"""When too much is under way, and how much less it should be: values and ``now``, nothing else.

Counting alone sees a store that hangs, not a core that is full. So how late the event loop runs is looked at
too, and judged as CoDel judges a queue: a delay that stays above a target for a whole interval is a standing
queue, one that falls below it in between was a burst (Nichols and Jacobson, "Controlling Queue Delay", ACM
Queue 2012). Under a standing queue what may be under way shrinks by a factor, after it grows again step by
step, and so keeps near what the core can do. The shell around this is `pannier_sidecar.admission`.
"""

from __future__ import annotations

from typing import Final

import msgspec

INTERVAL_US: Final = 100_000
LEAST: Final = 16
"""Under way at any rate: some ten milliseconds of work, so that what is asked for most gets into L1 also
while others eat the core."""
UNASKED_TURNS: Final = 10
"""Calm intervals after which more is allowed without anybody having asked for it."""
_KEPT_TENTHS: Final = 7
_GROWTH: Final = 16
_LONGEST_RETRY_SECONDS: Final = 3


class StandingDelay(msgspec.Struct, frozen=True, gc=False):
    """Whether the event loop has been late all the time of late, as of the last look at it."""

    target_us: int
    above_since_us: int | None = None
    """Since when no look found it in time."""

    def observed(self, delay_us: int, now_us: int) -> StandingDelay:
        """Take in one look."""
        if delay_us <= self.target_us:
            return StandingDelay(self.target_us)
        is_first = self.above_since_us is None or now_us < self.above_since_us
        return StandingDelay(self.target_us, now_us) if is_first else self

    def is_standing(self, now_us: int) -> bool:
        """Whether that is more than a burst."""
        return self.above_since_us is not None and now_us - self.above_since_us >= INTERVAL_US


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """How many of a kind may be under way."""

    now: int
    most: int

    def admits(self, under_way: int) -> bool:
        """Whether one more may begin."""
        return under_way < self.now

    def cut(self, peak: int) -> Allowance:
        """Allow less than the ``peak`` that was too much."""
        least = min(LEAST, self.most)
        return Allowance(max(least, min(self.now, peak) * _KEPT_TENTHS // 10), self.most)

    def raised(self) -> Allowance:
        """Allow a little more."""
        return Allowance(min(self.most, self.now + max(1, self.now // _GROWTH)), self.most)


def retry_after_seconds(draw: float) -> int:
    """When to come back, by a draw from [0, 1): not all at the same moment, and never at once."""
    return 1 + int(draw * _LONGEST_RETRY_SECONDS)
