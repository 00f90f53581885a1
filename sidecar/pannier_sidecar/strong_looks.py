"""L3's strongly consistent word on single ids, for comparison only: it serves nobody and fills nothing.

Apart from `pannier_sidecar.l3_reads`, whose counts and load times are those of serving. It asks a timeline
for what the default question shows, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.l3 import Store


class StrongLooks:
    """Reads L3 for comparison."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, timeout_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds

    async def read(self, keys: Sequence[RowKey]) -> dict[RowKey, State | TierError]:
        """What L3 holds of each key, or why it does not say."""
        records = [key for key in keys if not key.plan.is_timeline]
        timelines = [key for key in keys if key.plan.is_timeline]
        said: dict[RowKey, State | TierError] = {}
        parts = [self._timelines(timelines)] if timelines else []
        if records:
            parts.append(self._records(records))
        for part in await asyncio.gather(*parts):
            said |= part
        for state in said.values():
            if isinstance(state, TierError):
                self._metrics.tier_error(state.tier, state.reason)
        return said

    async def _records(self, keys: Sequence[RowKey]) -> dict[RowKey, State | TierError]:
        start_us = self._clock.now_us()
        try:
            rows = await self._store.read_records(keys, strong=True, timeout_seconds=self._timeout_seconds)
        except TierError as error:
            return dict.fromkeys(keys, error)
        return {
            key: row if isinstance(row, TierError) else record.from_row(row, read_start_us=start_us)
            for key, row in zip(keys, rows, strict=True)
        }

    async def _timelines(self, keys: Sequence[RowKey]) -> dict[RowKey, State | TierError]:
        start_us = self._clock.now_us()
        bounds = LOWEST_SORT_KEY, HIGHEST_SORT_KEY
        # one more than shown, so that the snapshot reaches down to the last of them
        queries = [TimelineQuery(k.plan, k.id, k.plan.query.default_limit + 1, *bounds) for k in keys]
        try:
            pages = await self._store.read_timelines(
                queries, strong=True, timeout_seconds=self._timeout_seconds, now_us=start_us
            )
        except TierError as error:
            return dict.fromkeys(keys, error)
        return {
            key: page
            if isinstance(page, TierError)
            else timeline.snapshot(page, read_start_us=start_us, capacity=key.plan.register_capacity)
            for key, page in zip(keys, pages, strict=True)
        }

    def __repr__(self) -> str:
        return f"<StrongLooks at {self._store!r}>"
