"""What may be done for a share of something else, and never more: a bucket, as a frozen value.

Everything that counts fills it by the share, everything that is paid for empties it by one. Second tries of
reads (`hedging`) and retries of reads (`tiers.dynamodb_client`) are bounded by it.
"""

from __future__ import annotations

from typing import Final

import msgspec

_ROUNDING: Final = 1e-9


class ShareBudget(msgspec.Struct, frozen=True, gc=False):
    """One budget as of its last change."""

    share: float
    most: float
    """What is saved at most: a quiet hour must not pay for a storm."""
    saved: float = 0.0

    def earned(self) -> ShareBudget:
        """One more of what counts."""
        return ShareBudget(self.share, self.most, min(self.saved + self.share, self.most))

    @property
    def affords(self) -> bool:
        """Whether one is paid for."""
        return self.saved >= 1 - _ROUNDING

    def spent(self) -> ShareBudget:
        """One was done."""
        return ShareBudget(self.share, self.most, max(self.saved - 1, 0.0))
