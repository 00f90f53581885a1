"""What an entry of L1 is held under: its group's plan, and the epoch its load began in.

One object per group is in force at a time; the hot path compares an entry with it by identity, and whatever
differs is looked at again by `pannier_sidecar.tiers.l1_local`. So a new catalog, or announcements that were
missed, cost nothing until an entry is read, and then one look.
"""

from __future__ import annotations

from pannier_sidecar.plan import GroupPlan


class Terms:
    """Compared by identity."""

    __slots__ = ("epoch", "plan")

    def __init__(self, plan: GroupPlan | None, epoch: int) -> None:
        self.plan = plan
        self.epoch = epoch

    def __repr__(self) -> str:
        return f"<Terms epoch {self.epoch} of {self.plan!r}>"


NOT_HELD = Terms(None, -1)
"""Of an entry that no L1 holds."""
