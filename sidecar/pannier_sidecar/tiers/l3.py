"""What every L3 store can do. `l3_dynamodb` and `l3_embedded` pass one conformance suite.

Bulk is the primitive: answers are aligned with the keys asked. A key the store could not answer has a
`TierError` as its value (unknown), which is never None (the store said: no such row).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery

CALLS_AT_ONCE: Final = 32
"""Calls that one bulk may have in flight: one that asks for thousands leaves room for others."""
KEYS_PER_CALL: Final = 100
"""Records that one call reads at most."""


def calls_of(items: int, items_per_call: int) -> int:
    """How many calls a bulk of so many items has in flight at once."""
    return min(-(-items // items_per_call), CALLS_AT_ONCE)


class Store(Protocol):
    """An L3 store. Owned through ``async with``; safe for concurrent use in one event loop."""

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        """Rows of record groups, tombstones and expired rows included (the caller filters by its clock)."""
        ...

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        """Newest-first pages, each until ``limit`` live rows (at ``now_us``) or the end of the range.

        Live is what is not expired, not deleted and not hidden by the id's fence.
        """
        ...

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        """Apply each put by event time, atomically per item; puts of one item in the order given.

        Never raises for one put: its outcome is ``failed`` (surely not stored) or ``unknown`` (may be).
        """
        ...

    async def erase(  # noqa: PLR0913 (all but the address are keywords)
        self,
        plan: GroupPlan,
        row_id: str,
        *,
        timeout_seconds: float,
        now_us: int,
        max_rows: int = 1000,
        fence: Row | None = None,
    ) -> Erasure:
        """Delete a whole timeline id: write its fence, then remove up to ``max_rows`` rows under it.

        The fence is the delete: once it is acknowledged the id is gone for readers. Repeat with the ``fence``
        of the first answer until ``finished``; without it a repeat is a new delete and takes what was written
        since. Raises `TierError`.
        """
        ...

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        """Per group name: None if its table is there with the right keys, else what is wrong (for status)."""
        ...

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        """Make what is missing. Development only: in a cluster the operator owns tables."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
