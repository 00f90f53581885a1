"""The embedded L3 store: one SQLite file with the semantics of DynamoDB, for laptops and the first command.

Reads run on the event loop's thread (a cached row costs less than handing it to another thread, ADR 0003);
writes go through `embedded_writer`, decided by `ordering` inside the transaction. It is not shared: one
process owns it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pannier.keys import RECORD_SORT_KEY
from pannier_sidecar.clock import Clock, SystemClock
from pannier_sidecar.errors import TierError, TierTimeout, TierUnavailable
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, RowKey, TimelinePage, TimelineQuery, Verdict
from pannier_sidecar.tiers import embedded_rows as rows
from pannier_sidecar.tiers.embedded_file import TIER, EmbeddedFile, translated
from pannier_sidecar.tiers.embedded_writer import GroupCommitWriter

_SWEEP_ROWS = 200
_SWEEP_PAUSE_SECONDS = 15.0


class EmbeddedStore:
    """A `Store` in one directory; opening it raises `TierMisconfigured` where it is unusable or in use."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._file = EmbeddedFile(path)
        self._clock = clock or SystemClock()
        self._reader: sqlite3.Connection | None = None
        self._writer: GroupCommitWriter | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._file.open()
        try:
            with translated("opening"):
                self._reader = self._file.connect()
                self._writer = GroupCommitWriter(self._file.connect())
        except BaseException:
            self._file.close()
            raise
        self._writer.start()
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        if self._writer is not None:
            await self._writer.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._file.close()

    async def read_records(
        self, keys: Sequence[RowKey], *, strong: bool, timeout_seconds: float
    ) -> list[Row | TierError | None]:
        """Rows of record groups. Every read of this store is strong and none waits."""
        del strong, timeout_seconds
        try:
            with translated("reading"):
                reader = self._reading()
                return [rows.row_at(reader, key.plan, key.id, RECORD_SORT_KEY) for key in keys]
        except TierError as error:
            return [error] * len(keys)

    async def read_timelines(
        self, queries: Sequence[TimelineQuery], *, strong: bool, timeout_seconds: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        """Newest-first pages."""
        del strong, timeout_seconds
        try:
            with translated("reading"):
                reader = self._reading()
                return [rows.page(reader, query, now_us) for query in queries]
        except TierError as error:
            return [error] * len(queries)

    async def write(self, puts: Sequence[Put], *, timeout_seconds: float, now_us: int) -> list[PutOutcome]:
        """Apply all puts in order, in one transaction with whoever writes at the same time."""
        try:
            writer = self._writing()
            job = writer.submit(lambda connection: [rows.apply(connection, put, now_us) for put in puts])
        except TierError as error:
            return [_not_done("failed", put, error) for put in puts]
        try:
            outcomes: list[PutOutcome] = await writer.result(job, timeout_seconds)
        except TierTimeout as error:
            return [_not_done("unknown" if job.begun else "failed", put, error) for put in puts]
        except TierError as error:
            return [_not_done("failed", put, error) for put in puts]
        return outcomes

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
        """Fence and removal of up to ``max_rows`` rows in one transaction."""
        writer = self._writing()

        def work(connection: sqlite3.Connection) -> Erasure:
            standing = fence or rows.write_fence(connection, plan, row_id, now_us)
            return rows.remove_hidden(connection, plan, row_id, standing, max_rows, now_us)

        erasure: Erasure = await writer.result(writer.submit(work), timeout_seconds)
        return erasure

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        """Every group has its place in the file; what can be wrong is the file."""
        fault: TierError | None = None
        try:
            with translated("checking the file"):
                self._reading().execute("SELECT count(*) FROM sqlite_master").fetchone()
        except TierError as error:
            fault = error
        return {plan.name: fault for plan in plans}

    async def create_tables(self, plans: Sequence[GroupPlan]) -> None:
        """Nothing to make: all groups live in one table, apart by their table's name."""

    async def remove_expired(self, max_rows: int = _SWEEP_ROWS) -> int:
        """Remove up to ``max_rows`` rows whose time has passed; returns how many it were."""
        writer = self._writing()
        now = self._clock.now_us() // 1_000_000
        job = writer.submit(lambda connection: rows.remove_expired(connection, now, max_rows))
        removed: int = await writer.result(job, _SWEEP_PAUSE_SECONDS)
        return removed

    async def _sweep(self) -> None:
        """Remove expired rows in small steps, with writes going on in between; a failed step comes again."""
        while True:  # a pace, not a wait for something
            await asyncio.sleep(_SWEEP_PAUSE_SECONDS)
            with contextlib.suppress(TierError):
                while await self.remove_expired() == _SWEEP_ROWS:
                    pass

    def _reading(self) -> sqlite3.Connection:
        if self._reader is None:
            raise TierUnavailable(TIER, "the embedded store is not open")
        return self._reader

    def _writing(self) -> GroupCommitWriter:
        if self._writer is None:
            raise TierUnavailable(TIER, "the embedded store is not open")
        return self._writer

    def __repr__(self) -> str:
        return f"<EmbeddedStore {self._file!r} {self._writer!r}>"


def _not_done(verdict: Verdict, put: Put, error: TierError) -> PutOutcome:
    return PutOutcome(
        verdict=verdict, event_time_us=put.event_time_us, reason=error.reason, message=error.message
    )
