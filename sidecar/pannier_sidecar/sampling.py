"""How much checking may cost: L3 reads that rows read have earned, and a gap between samples.

The allowance is a token bucket as a value (Turner, "New directions in communications", IEEE Communications
24(10), 1986). A sample pays beforehand for the most it can cost and gets the rest back, so that no system,
however wrong, makes checking cost more than was earned.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PRICE: Final = 4
"""Reads of L3 that one sample may need: the first, and one at each later age while it is contradicted."""
CAPACITY: Final = 2 * PRICE
"""A quiet hour must not pay for a burst."""
GAP_US: Final = 250_000
"""Between two samples of one kind: four a second cost less than a percent of a core, also where all of them
are timelines (ADR 0013)."""
_MILLION: Final = 1_000_000


class Allowance(NamedTuple):
    """What checking one kind of samples of one group may still read from L3."""

    millionths: int = 0
    """Of a read."""
    counted: int = 0
    """Rows that were read when it was last earned upon."""

    def earned(self, rows: int, per_million: int) -> Allowance:
        """Add the share of the rows read since; ``rows`` is the running total."""
        gained = max(rows - self.counted, 0) * per_million
        return Allowance(min(self.millionths + gained, CAPACITY * _MILLION), rows)

    @property
    def affords(self) -> bool:
        """Whether a sample can be paid for."""
        return self.millionths >= PRICE * _MILLION

    def paid(self) -> Allowance:
        """Take the price of a sample."""
        return self._replace(millionths=self.millionths - PRICE * _MILLION)

    def refunded(self, reads: int) -> Allowance:
        """Give back what a sample did not need."""
        return self._replace(millionths=min(self.millionths + reads * _MILLION, CAPACITY * _MILLION))


def is_too_soon(last_us: int, now_us: int) -> bool:
    """Whether the process took a sample of this kind a moment ago; a clock that stepped back says no."""
    return 0 <= now_us - last_us < GAP_US
