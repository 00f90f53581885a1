"""A store between a test and a real one: it tells what it was asked, and answers as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pannier_sidecar.errors import TierError, TierUnavailable
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.l3 import Store


class WatchedStore:
    """A store that tells what it was asked, and answers when and how the test says."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.reads: list[tuple[str, str, bool]] = []
        """(group, id, strong) of every key read, in order."""
        self.ranges: list[TimelineQuery] = []
        self.erasures: asyncio.Queue[str] = asyncio.Queue()
        """Ids that were erased, page by page."""
        self.error: TierError | None = None
        self.reading = asyncio.Event()
        """Set as soon as a read has arrived."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.lagging: dict[tuple[str, str], Row | None] = {}
        """What eventual reads still say of a record, as a replica that lags behind."""

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        self.reads += [(key.plan.name, key.id, strong) for key in keys]
        rows = await self._inner.read_records(keys, strong=strong, timeout_seconds=timeout_seconds)
        if not strong:
            rows = [self.lagging.get((k.plan.name, k.id), row) for k, row in zip(keys, rows, strict=True)]
        await self._pass()
        return [self.error] * len(keys) if self.error is not None else rows

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        self.reads += [(query.plan.name, query.id, strong) for query in queries]
        self.ranges += queries
        pages = await self._inner.read_timelines(
            queries, strong=strong, timeout_seconds=timeout_seconds, now_us=now_us
        )
        await self._pass()
        return [self.error] * len(queries) if self.error is not None else pages

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        if self.error is not None:
            return [PutOutcome(verdict="unknown", reason=self.error.reason) for _ in puts]
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
        self.erasures.put_nowait(row_id)
        if self.error is not None:
            raise self.error
        return await self._inner.erase(
            plan, row_id, timeout_seconds=timeout_seconds, now_us=now_us, max_rows=max_rows, fence=fence
        )

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        return await self._inner.check(plans)

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        await self._inner.create_tables(plans)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def _pass(self) -> None:
        self.reading.set()
        await self.may_answer.wait()

    def hold(self) -> None:
        """Let reads arrive, and answer none before `release`."""
        self.reading.clear()
        self.may_answer.clear()

    def release(self) -> None:
        """Answer."""
        self.may_answer.set()

    def fail(self) -> None:
        """Be down from now on."""
        self.error = TierUnavailable("l3", "is down")

    def recover(self) -> None:
        """Be up again."""
        self.error = None
