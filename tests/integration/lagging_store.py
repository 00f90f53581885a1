"""A store whose eventual reads may be those of a replica that lags: what was there before the last write."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.fences import Newest
from pannier_sidecar.tiers.l3 import Store

BUDGET_SECONDS = 30.0
LAG_SECONDS = 20
_Address = tuple[str, str]


class LaggingStore:
    """Lags at random, for at most `LAG_SECONDS` after a write."""

    def __init__(self, inner: Store, clock: Clock, dice: random.Random) -> None:
        self._inner = inner
        self._clock = clock
        self._dice = dice
        self._rows: dict[_Address, tuple[int, Row | None]] = {}
        self._pages: dict[_Address, tuple[int, TimelinePage]] = {}

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        rows = await self._inner.read_records(keys, strong=strong, timeout_seconds=timeout_seconds)
        return [
            self._rows[_address(key)][1] if not strong and self._lags(self._rows.get(_address(key))) else row
            for key, row in zip(keys, rows, strict=True)
        ]

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        pages = await self._inner.read_timelines(
            queries, strong=strong, timeout_seconds=timeout_seconds, now_us=now_us
        )
        return [
            _cut(self._pages[_address(query)][1], query, now_us)
            if not strong and self._lags(self._pages.get(_address(query)))
            else page
            for query, page in zip(queries, pages, strict=True)
        ]

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        for put in puts:
            await self._remember(RowKey(put.plan, put.id), now_us)
        return await self._inner.write(puts, timeout_seconds=timeout_seconds, now_us=now_us)

    async def erase(
        self,
        plan: GroupPlan,
        row_id: str,
        *,
        timeout_seconds: float,
        now_us: int,
        max_rows: int = 1000,
        fence: Row | None = None,
    ) -> Erasure:
        await self._remember(RowKey(plan, row_id), now_us)
        return await self._inner.erase(
            plan, row_id, timeout_seconds=timeout_seconds, now_us=now_us, max_rows=max_rows, fence=fence
        )

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        return await self._inner.check(plans)

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        await self._inner.create_tables(plans)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The store under it is not this one's to close."""

    def _lags(self, before: tuple[int, object] | None) -> bool:
        if before is None or self._dice.random() < 0.5:
            return False
        return self._clock.now_us() < before[0] + LAG_SECONDS * 1_000_000

    async def _remember(self, key: RowKey, now_us: int) -> None:
        if key.plan.is_timeline:
            query = TimelineQuery(key.plan, key.id, 1 << 20, LOWEST_SORT_KEY, HIGHEST_SORT_KEY)
            (page,) = await self._inner.read_timelines(
                [query], strong=True, timeout_seconds=BUDGET_SECONDS, now_us=now_us
            )
            assert isinstance(page, TimelinePage)
            self._pages[_address(key)] = now_us, page
        else:
            (row,) = await self._inner.read_records([key], strong=True, timeout_seconds=BUDGET_SECONDS)
            assert not isinstance(row, TierError)
            self._rows[_address(key)] = now_us, row

    def __repr__(self) -> str:
        return f"<LaggingStore over {self._inner!r}>"


def _address(key: RowKey | TimelineQuery) -> _Address:
    return key.plan.name, key.id


def _cut(page: TimelinePage, query: TimelineQuery, now_us: int) -> TimelinePage:
    newest = Newest(query, now_us)
    newest.take_fence(page.fence)
    for row in page.rows:
        if not query.low <= row.sort_key <= query.high:
            continue
        if newest.is_complete:
            return newest.page(ended=False)
        newest.take(row)
    return newest.page(ended=True)
