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
from pannier_sidecar.errors import TierError, TierOverloaded
from pannier_sidecar.hedged_reads import HedgedReads
from pannier_sidecar.known import Known, Said
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.l3 import KEYS_PER_CALL, Store, calls_of

_SMOOTHING: Final = 0.2
_FIRST_LOAD_US: Final = 5_000.0
_EVERYTHING: Final = 1 << 30


class L3Reads:
    """Reads entries from L3, and learns how long that takes."""

    def __init__(
        self, store: Store, asking: HedgedReads, clock: Clock, metrics: Metrics, timeout_seconds: float
    ) -> None:
        self._store = store
        self._asking = asking
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

        async def ask(timeout_seconds: float) -> list[Timeline | TierError]:
            start_us = self._clock.now_us()
            (page,) = await self._store.read_timelines(
                [query], strong=strong, timeout_seconds=timeout_seconds, now_us=start_us
            )
            if isinstance(page, TierError):
                return [page]
            bounds = {"low": query.low, "high": query.high}
            return [timeline.snapshot(page, read_start_us=start_us, capacity=_EVERYTHING, **bounds)]

        group = query.plan.name
        try:
            (state,), took_us = await self._asking.ask({group}, 1, ask, self._timeout_seconds)
        except TierError as error:
            return error
        self._observe({group}, took_us)
        self._metrics.group(group).l3_lookups += 1
        return state

    async def _read_part(
        self, part: tuple[bool, bool], wanted: list[Known], said: Callable[[Said], None]
    ) -> None:
        is_timeline, strong = part
        keys = [known.key for known in wanted]
        groups = {key.plan.name for key in keys}
        read = self._timelines if is_timeline else self._records
        states: Sequence[State | TierError]
        try:
            states, took_us = await self._asking.ask(
                groups,
                calls_of(len(keys), 1 if is_timeline else KEYS_PER_CALL),
                lambda timeout_seconds: read(keys, timeout_seconds, strong=strong),
                self._timeout_seconds,
            )
            self._observe(groups, took_us)
        except TierError as error:
            states = [error] * len(keys)
        for known, state in zip(wanted, states, strict=True):
            self._count(known.key, state)
            said(Said(known, state, strong))

    async def _records(
        self, keys: list[RowKey], timeout_seconds: float, *, strong: bool
    ) -> list[State | TierError]:
        start_us = self._clock.now_us()
        rows = await self._store.read_records(keys, strong=strong, timeout_seconds=timeout_seconds)
        return [
            row if isinstance(row, TierError) else record.from_row(row, read_start_us=start_us)
            for row in rows
        ]

    async def _timelines(
        self, keys: list[RowKey], timeout_seconds: float, *, strong: bool
    ) -> list[State | TierError]:
        start_us = self._clock.now_us()
        queries = [
            # one more than may be asked for, so that the entry knows whether there are older ones
            TimelineQuery(key.plan, key.id, key.plan.query.max_limit + 1, LOWEST_SORT_KEY, HIGHEST_SORT_KEY)
            for key in keys
        ]
        pages = await self._store.read_timelines(
            queries, strong=strong, timeout_seconds=timeout_seconds, now_us=start_us
        )
        return [
            page
            if isinstance(page, TierError)
            else timeline.snapshot(page, read_start_us=start_us, capacity=key.plan.register_capacity)
            for key, page in zip(keys, pages, strict=True)
        ]

    def _observe(self, groups: set[str], took_us: int) -> None:
        for group in groups:
            self._metrics.load_seconds("l3", group, took_us / 1_000_000)
            self._load_us[group] = (1 - _SMOOTHING) * self.load_us(group) + _SMOOTHING * took_us

    def _count(self, key: RowKey, state: State | TierError) -> None:
        counters = self._metrics.group(key.plan.name)
        if isinstance(state, TierOverloaded):
            return  # not asked: no error of the tier, and counted where it was refused
        if isinstance(state, TierError):
            self._metrics.tier_error(state.tier, state.reason)
            return
        counters.l3_lookups += 1
        if not state.registers if isinstance(state, Timeline) else state.kind is record.Kind.MISSING:
            counters.l3_missing += 1

    def __repr__(self) -> str:
        return f"<L3Reads of {self._store!r}>"
