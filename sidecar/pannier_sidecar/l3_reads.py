"""L3's bulk reads as the loader needs them: records and timelines at once, strong and eventual apart.

It speaks to a `Store` and turns rows into entries. It merges nothing and caches nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Known, Said
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.l3 import Store

_SMOOTHING: Final = 0.2
_FIRST_LOAD_US: Final = 5_000.0
_EVERYTHING: Final = 1 << 30


class L3Reads:
    """Reads entries from L3, and learns how long that takes."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, timeout_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._load_us: dict[str, float] = {}

    def load_us(self, group: str) -> float:
        """How long a load of this group takes of late."""
        return self._load_us.get(group, _FIRST_LOAD_US)

    async def read(self, wanted: Sequence[Known], said: Callable[[Said], None], *, strong: bool) -> None:
        """Read every key, as strongly as it needs or all strongly; ``said`` hears of each as it comes."""
        parts: dict[tuple[bool, bool], list[Known]] = {}
        for known in wanted:
            part = known.key.plan.is_timeline, strong or known.needs_strong_read
            parts.setdefault(part, []).append(known)
        await asyncio.gather(*(self._read_part(part, known, said) for part, known in parts.items()))

    async def read_range(self, query: TimelineQuery, *, strong: bool) -> Timeline | TierError:
        """What L3 holds between two sort keys, as an entry to answer that range from and nothing else."""
        start_us = self._clock.now_us()
        try:
            pages = await self._store.read_timelines(
                [query], strong=strong, timeout_seconds=self._timeout_seconds, now_us=start_us
            )
        except TierError as error:
            return error
        finally:
            self._observe({query.plan.name}, start_us)
        self._metrics.group(query.plan.name).l3_lookups += 1
        page = pages[0]
        if isinstance(page, TierError):
            return page
        return timeline.snapshot(page, read_start_us=start_us, capacity=_EVERYTHING, low=query.low)

    async def _read_part(
        self, part: tuple[bool, bool], wanted: list[Known], said: Callable[[Said], None]
    ) -> None:
        is_timeline, strong = part
        start_us = self._clock.now_us()
        keys = [known.key for known in wanted]
        states: Sequence[State | TierError]
        try:
            if is_timeline:
                states = await self._timelines(keys, start_us, strong=strong)
            else:
                states = await self._records(keys, start_us, strong=strong)
        except TierError as error:
            states = [error] * len(keys)
        self._observe({key.plan.name for key in keys}, start_us)
        for known, state in zip(wanted, states, strict=True):
            self._count(known.key, state)
            said(Said(known, state, strong))

    async def _records(self, keys: list[RowKey], start_us: int, *, strong: bool) -> list[State | TierError]:
        rows = await self._store.read_records(keys, strong=strong, timeout_seconds=self._timeout_seconds)
        return [
            row if isinstance(row, TierError) else record.from_row(row, read_start_us=start_us)
            for row in rows
        ]

    async def _timelines(self, keys: list[RowKey], start_us: int, *, strong: bool) -> list[State | TierError]:
        queries = [
            # one more than may be asked for, so that the entry knows whether there are older ones
            TimelineQuery(key.plan, key.id, key.plan.query.max_limit + 1, LOWEST_SORT_KEY, HIGHEST_SORT_KEY)
            for key in keys
        ]
        pages = await self._store.read_timelines(
            queries, strong=strong, timeout_seconds=self._timeout_seconds, now_us=start_us
        )
        return [
            page
            if isinstance(page, TierError)
            else timeline.snapshot(page, read_start_us=start_us, capacity=key.plan.register_capacity)
            for key, page in zip(keys, pages, strict=True)
        ]

    def _observe(self, groups: set[str], start_us: int) -> None:
        took_us = max(self._clock.now_us() - start_us, 0)
        for group in groups:
            self._metrics.load_seconds("l3", group, took_us / 1_000_000)
            self._load_us[group] = (1 - _SMOOTHING) * self.load_us(group) + _SMOOTHING * took_us

    def _count(self, key: RowKey, state: State | TierError) -> None:
        counters = self._metrics.group(key.plan.name)
        if isinstance(state, TierError):
            self._metrics.tier_error(state.tier, state.reason)
            return
        counters.l3_lookups += 1
        if not state.registers if isinstance(state, Timeline) else state.kind is record.Kind.MISSING:
            counters.l3_missing += 1

    def __repr__(self) -> str:
        return f"<L3Reads of {self._store!r}>"
