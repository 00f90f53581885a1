"""Bulkheads before L2 and before the writes of L3: they refuse what would be too much for this process.

They change nothing of what is asked or answered. Where a bulk call finds no room all of its keys get the
refusal, as they would an outage; a write that was not sent is ``failed``, surely not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from pannier_sidecar.bulkhead import Bulkhead
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierOverloaded
from pannier_sidecar.lease import Claimed, Lease
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.l2 import LeaseTaker, SharedReader
from pannier_sidecar.tiers.l3 import KEYS_PER_CALL, Store, calls_of

_ERASING: Final = 2
"""Calls that a removal has in flight: pages are read and deleted one after the other."""


class LeasingReader(SharedReader, LeaseTaker, Protocol):
    """L2 as loads see it."""


class GuardedReader:
    """Reads of L2, at most so many round trips at a time."""

    def __init__(self, inner: LeasingReader, reads: Bulkhead) -> None:
        self._inner = inner
        self._reads = reads

    async def read(self, keys: Sequence[RowKey]) -> list[Record | Timeline | TierError | None]:
        """See `SharedReader`."""
        try:
            async with self._reads.room():
                return await self._inner.read(keys)
        except TierOverloaded as refusal:
            return [refusal] * len(keys)

    async def lease(self, wanted: Sequence[Lease]) -> list[Claimed]:
        """See `LeaseTaker`; without room there is no lease, and L3 has a bulkhead of its own."""
        try:
            async with self._reads.room():
                return await self._inner.lease(wanted)
        except TierOverloaded as refusal:
            return [Claimed(None, refusal)] * len(wanted)

    def __repr__(self) -> str:
        return f"<GuardedReader of {self._inner!r} by {self._reads!r}>"


class GuardedStore:
    """An L3 store as the write path sees it: writes, and the reads they need, in one bulkhead. Owns neither.

    Reads of the read path have their own, in `pannier_sidecar.hedged_reads`.
    """

    def __init__(self, inner: Store, writes: Bulkhead) -> None:
        self._inner = inner
        self._writes = writes

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        """See `Store`; raises `TierOverloaded`."""
        async with self._writes.room(calls_of(len(keys), KEYS_PER_CALL)):
            return await self._inner.read_records(keys, strong=strong, timeout_seconds=timeout_seconds)

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        """See `Store`; raises `TierOverloaded`."""
        async with self._writes.room(calls_of(len(queries), 1)):
            return await self._inner.read_timelines(
                queries, strong=strong, timeout_seconds=timeout_seconds, now_us=now_us
            )

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        """See `Store`."""
        try:
            async with self._writes.room(calls_of(len(puts), 1)):
                return await self._inner.write(puts, timeout_seconds=timeout_seconds, now_us=now_us)
        except TierOverloaded as refusal:
            return [
                PutOutcome(
                    verdict="failed",
                    event_time_us=now_us if put.event_time_us is None else put.event_time_us,
                    reason=refusal.reason,
                    message=refusal.message,
                )
                for put in puts
            ]

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
        """See `Store`; raises `TierOverloaded` having done nothing."""
        async with self._writes.room(_ERASING):
            return await self._inner.erase(
                plan, row_id, timeout_seconds=timeout_seconds, now_us=now_us, max_rows=max_rows, fence=fence
            )

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        """See `Store`."""
        return await self._inner.check(plans)

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        """See `Store`."""
        await self._inner.create_tables(plans)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __repr__(self) -> str:
        return f"<GuardedStore of {self._inner!r} by {self._writes!r}>"
