"""Where rows come from: stored ones from `loader` (L2, then L3), computed ones from feature servers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Loaded
from pannier_sidecar.loader import Loader
from pannier_sidecar.on_demand.computed_loads import ComputedLoads
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey, TimelineQuery


class Loads:
    """The one fork on the way down from L1: nothing computed ever reaches a tier below."""

    def __init__(self, stored: Loader, computed: ComputedLoads) -> None:
        self._stored = stored
        self._computed = computed

    def load(self, keys: Sequence[RowKey]) -> dict[RowKey, asyncio.Future[Loaded]]:
        """Start or join the loads of these keys."""
        computed = [key for key in keys if key.plan.is_computed]
        if not computed:
            return self._stored.load(keys)
        flights = self._computed.load(computed)
        if len(computed) == len(keys):
            return flights
        return flights | self._stored.load([key for key in keys if not key.plan.is_computed])

    def refresh(self, due: Mapping[RowKey, Freshness]) -> Collection[asyncio.Future[Loaded]]:
        """Renew what L1 holds of these keys in the background, unless a load of them is under way."""
        computed = {key: found for key, found in due.items() if key.plan.is_computed}
        if not computed:
            return self._stored.refresh(due)
        stored = {key: found for key, found in due.items() if not key.plan.is_computed}
        return [*self._computed.refresh(computed), *self._stored.refresh(stored)]

    def load_ranges(
        self, queries: Sequence[TimelineQuery]
    ) -> dict[TimelineQuery, asyncio.Future[Timeline | TierError]]:
        """Start or join loads of ranges that no cache covers; computed groups have none."""
        return self._stored.load_ranges(queries)

    def load_us(self, plan: GroupPlan) -> float:
        """How long a load of this group takes of late."""
        return (self._computed if plan.is_computed else self._stored).load_us(plan.name)

    async def settled(self) -> None:
        """Return when no load is under way."""
        await self._stored.settled()
        await self._computed.settled()

    def __repr__(self) -> str:
        return f"<Loads {self._stored!r}, {self._computed!r}>"
