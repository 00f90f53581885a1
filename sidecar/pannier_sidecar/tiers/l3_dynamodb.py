"""The DynamoDB L3 store: reads, conditional writes, erasures and tables, behind the `Store` protocol.

Flow: here budgets become deadlines -> `dynamodb_reads`, `dynamodb_writes`, `dynamodb_erasures`,
`dynamodb_tables` -> `dynamodb_client` -> `dynamodb_wire`; nothing else knows boto. The stored bytes are those
of `items`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from pannier.errors import ValueRefused
from pannier.keys import RECORD_SORT_KEY
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient, DynamoDBSettings, deadline_after
from pannier_sidecar.tiers.dynamodb_erasures import DynamoDBErasures
from pannier_sidecar.tiers.dynamodb_faults import CallFailed
from pannier_sidecar.tiers.dynamodb_reads import DynamoDBReads
from pannier_sidecar.tiers.dynamodb_tables import DynamoDBTables
from pannier_sidecar.tiers.dynamodb_writes import Budget, DynamoDBWrites
from pannier_sidecar.tiers.items import OnBadValue

__all__ = ["DynamoDBSettings", "DynamoDBStore"]


def _ignore(plan: GroupPlan, name: str, refusal: ValueRefused) -> None:
    """Nobody asked to hear of values that cannot be read."""


class DynamoDBStore:
    """A `Store` on DynamoDB. Starting needs no DynamoDB: what is wrong shows in `check` and in each answer.

    ``on_bad_value`` hears of stored values of another type than declared; the row is served without them.
    ``on_throttled`` hears of every call that DynamoDB asked to slow down.
    """

    def __init__(
        self,
        settings: DynamoDBSettings | None = None,
        *,
        on_bad_value: OnBadValue = _ignore,
        on_throttled: Callable[[], None] = lambda: None,
        dice: random.Random | None = None,
    ) -> None:
        self._client = DynamoDBClient(settings or DynamoDBSettings(), dice, on_throttled=on_throttled)
        self._reads = DynamoDBReads(self._client, on_bad_value)
        self._writes = DynamoDBWrites(self._client, self._reads, on_bad_value)
        self._erasures = DynamoDBErasures(self._client, self._writes, on_bad_value)
        self._tables = DynamoDBTables(self._client)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        """Rows of record groups, in parallel chunks of BatchGetItem."""
        deadline = deadline_after(timeout_seconds)
        return await self._reads.rows(keys, RECORD_SORT_KEY, strong=strong, deadline=deadline)

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        """Newest-first pages, one Query each and more where tombstones fill them."""
        deadline = deadline_after(timeout_seconds)
        return await self._reads.pages(queries, strong=strong, deadline=deadline, now_us=now_us)

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        """Apply each put, in one UpdateItem in the common case."""
        return await self._writes.write(puts, Budget(now_us, deadline_after(timeout_seconds)))

    async def erase(  # noqa: PLR0913 (see the protocol)
        self,
        plan: GroupPlan,
        row_id: str,
        *,
        timeout_seconds: float,
        now_us: int,
        max_rows: int = 1000,
        fence: Row | None = None,
    ) -> Erasure:
        """Fence, then removal; where removal fails the erasure is just not finished."""
        budget = Budget(now_us, deadline_after(timeout_seconds))
        if fence is None:
            try:
                fence = await self._erasures.write_fence(plan, row_id, budget)
            except CallFailed as failure:
                raise failure.error from failure
        return await self._erasures.remove_hidden(plan, row_id, fence, max_rows, budget)

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        """Ask for each table's keys."""
        return await self._tables.check(plans)

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        """Make what is missing. Development only."""
        await self._tables.create(plans)

    def __repr__(self) -> str:
        return f"<DynamoDBStore {self._client!r}>"
