"""What this sidecar would serve of an id now out of its caches, found out without serving or loading.

The order is that of a read (`pannier_sidecar.read_path`, `pannier_sidecar.loader`): L1, then L2. Nothing
found means that a read would load, which is no wrong answer. Nothing is taken in on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2 import SharedReader


class CacheLooks:
    """Looks into L1 and L2."""

    def __init__(self, *, l1: L1Cache, l2: SharedReader | None, arrivals: Arrivals, clock: Clock) -> None:
        self._l1 = l1
        self._l2 = l2
        self._arrivals = arrivals
        self._clock = clock

    async def look(self, keys: Sequence[RowKey]) -> dict[RowKey, State]:
        """What would be served of each key; one that would be loaded is left out."""
        standing = {key: state for key in keys if (state := self._in_l1(key)) is not None}
        asked = [key for key in keys if key not in standing and key.plan.policy.remote.is_served]
        if self._l2 is None or not asked:
            return standing
        for key, answer in zip(asked, await self._l2.read(asked), strict=True):
            if answer is None or isinstance(answer, TierError):
                continue
            known = self._arrivals.know(key, answer).state
            if known is not None and self._arrivals.would_serve(key, known):
                standing[key] = known
        return standing

    def _in_l1(self, key: RowKey) -> State | None:
        if not key.plan.policy.local.is_served or key.plan.is_strong:
            return None
        now_us = self._clock.now_us()
        entry = self._l1.held(key.plan, key.id, now_us)
        return entry.state() if entry is not None and entry.row and now_us < entry.hard_us else None

    def __repr__(self) -> str:
        return f"<CacheLooks into {self._l1!r} and {self._l2!r}>"
