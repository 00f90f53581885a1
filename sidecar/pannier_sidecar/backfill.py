"""What goes to L2 behind the answer: backfills that may be lost, and writes that may not be forgotten.

A *backfill* repeats what L3 said; when there is too much of it the oldest is dropped, when Redis fails it is
gone. A *write* is kept until Redis confirmed it or no older entry in Redis may be served any more. Until then
`overlay` lays it over what Redis says, so that a client reads its own writes through one sidecar while Redis
fails. Both are coalesced per id. It does not read, and knows no freshness. From here to `RedisTier.merge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from pannier.keys import cache_key
from pannier_sidecar.backfill_queue import DEFAULT_LIMITS, BoundedQueue, Entry, QueueLimits, Waiting, merged
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.lifetime import GUARD_SECONDS
from pannier_sidecar.entry.record import MICROSECONDS, READ_MARGIN_US, Record
from pannier_sidecar.errors import TierError, TierMisconfigured
from pannier_sidecar.metrics import BackfillUsage
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l2_redis import require_stored

_BATCH = 200
"""Merges per round trip."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_LAST_FLUSH_SECONDS = 2.0

log = logging.getLogger(__name__)


class Merger(Protocol):
    """Merges entries into L2."""

    async def merge(self, deltas: Sequence[tuple[RowKey, Entry]]) -> list[TierError | None]:
        """Merge each; None where it is done."""
        ...


class BackfillMetrics(Protocol):
    """What the writer counts."""

    def backfill(self, event: str, n: int = 1) -> None:
        """``n`` entries were enqueued, written, dropped, failed (at each try), or cost an overflow."""
        ...


class _Floor(NamedTuple):
    """Of a group that had to forget writes: what L2 says without knowing this revision is a miss."""

    revision: int
    until_us: int


class L2Writer:
    """The background writer. Owned through ``async with``; leaving it flushes for a moment what is left."""

    def __init__(
        self,
        tier: Merger,
        *,
        clock: Clock,
        metrics: BackfillMetrics,
        dice: Callable[[], float],
        limits: QueueLimits = DEFAULT_LIMITS,
    ) -> None:
        self._tier = tier
        self._clock = clock
        self._metrics = metrics
        self._dice = dice
        self._backfills = BoundedQueue(limits)
        self._unconfirmed = BoundedQueue(limits)
        self._floors: dict[str, _Floor] = {}
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def backfill(self, key: RowKey, entry: Entry) -> None:
        """Offer what L3 said."""
        require_stored(key.plan)
        address = cache_key(key.plan.cache_prefix, key.id)
        dropped = self._backfills.put(address, key, entry, self._clock.now_us())
        if dropped:
            self._metrics.backfill("dropped", len(dropped))
        self._enqueued()

    def confirm(self, key: RowKey, delta: Entry) -> None:
        """Take over a write that L3 acknowledged, to be kept until L2 has it."""
        require_stored(key.plan)
        address = cache_key(key.plan.cache_prefix, key.id)
        forgotten = self._unconfirmed.put(address, key, delta, self._clock.now_us())
        for waiting in forgotten:
            self._raise_floor(waiting)
        if forgotten:
            self._metrics.backfill("overflow", len(forgotten))
        self._enqueued()

    def overlay(self, key: RowKey, entry: Entry | None) -> Entry | None:
        """What L2 said of the key under the writes it has not confirmed; None if it cannot know of them."""
        floor = self._floors.get(key.plan.cache_prefix)
        if floor is not None:
            if self._clock.now_us() >= floor.until_us:
                del self._floors[key.plan.cache_prefix]
            elif entry is not None and _knows_until(entry) < floor.revision:
                entry = None
        if not self._unconfirmed.waiting:
            return entry
        waiting = self._unconfirmed.waiting.get(cache_key(key.plan.cache_prefix, key.id))
        return entry if waiting is None else merged(entry, waiting.entry, key.plan)

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits any more; False if that takes too long."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def usage(self) -> BackfillUsage:
        """How much waits."""
        return BackfillUsage(len(self._backfills.waiting), len(self._unconfirmed.waiting))

    def _enqueued(self) -> None:
        self._metrics.backfill("enqueued")
        self._idle.clear()
        self._work.set()

    def _raise_floor(self, waiting: Waiting) -> None:
        """Remember for the whole group what cannot be remembered for one id any more."""
        prefix = waiting.key.plan.cache_prefix
        held = self._floors.get(prefix, _Floor(0, 0))
        until_us = waiting.since_us + _kept_us(waiting.key.plan)
        revision = _newest_revision(waiting.entry)
        self._floors[prefix] = _Floor(max(held.revision, revision), max(held.until_us, until_us))

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._work.wait()
            self._work.clear()
            while self._backfills.waiting or self._unconfirmed.waiting:
                await asyncio.sleep(
                    0
                )  # let the tick gather its batch, and others run while Redis fails at once
                if await self._flush():
                    failures = 0
                    continue
                failures += 1
                pause_seconds = min(_FIRST_PAUSE_SECONDS * 2**failures, _LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause_seconds * (0.5 + self._dice() / 2))
            self._idle.set()

    async def _flush(self) -> bool:
        """Send one batch, writes first; False if a write is left to be tried again later."""
        self._forget_outlived()
        writes = list(self._unconfirmed.waiting.items())[:_BATCH]
        room = _BATCH - len(writes)
        backfills = [
            taken
            for address in list(self._backfills.waiting)[:room]
            if (taken := self._backfills.take(address)) is not None
        ]
        batch = [waiting for _, waiting in writes] + backfills
        outcomes = await self._sent(batch)
        failed = sum(outcome is not None for outcome in outcomes)
        self._metrics.backfill("written", len(batch) - failed)
        self._metrics.backfill("failed", failed)
        is_done = True
        for (address, waiting), outcome in zip(writes, outcomes, strict=False):
            if outcome is not None:
                self._unconfirmed.to_the_end(address, waiting)
                is_done = False
            elif self._unconfirmed.waiting.get(address) is waiting:
                self._unconfirmed.take(address)
        return is_done

    async def _sent(self, batch: Sequence[Waiting]) -> list[TierError | None]:
        """Merge a batch; a fault of ours in one entry costs neither its neighbours nor the writer."""
        try:
            return await self._tier.merge([(waiting.key, waiting.entry) for waiting in batch])
        except Exception as error:
            if len(batch) == 1:
                log.exception("an entry of %s could not be sent to L2", batch[0].key.plan.name)
                return [TierMisconfigured("l2", f"cannot be sent: {error}")]
        return [outcome for one in batch for outcome in await self._sent([one])]

    def _forget_outlived(self) -> None:
        """Let go of writes that no servable entry of L2 can be older than."""
        now_us = self._clock.now_us()
        outlived = [
            address
            for address, waiting in self._unconfirmed.waiting.items()
            if now_us >= waiting.since_us + _kept_us(waiting.key.plan)
        ]
        for address in outlived:
            self._unconfirmed.take(address)
        if outlived:
            self._metrics.backfill("dropped", len(outlived))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="l2-writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if not self._task.done():
            await self.drain(_LAST_FLUSH_SECONDS)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if left := len(self._unconfirmed.waiting):
            log.warning(
                "stopped with writes of %d ids that Redis never confirmed; it may hold older values of them "
                "until their hard TTL",
                left,
            )

    def __repr__(self) -> str:
        usage = self.usage()
        running = "running" if self._task is not None and not self._task.done() else "stopped"
        waiting = f"{usage.queued} queued, {usage.unconfirmed} unconfirmed"
        return f"<L2Writer {running}, {waiting}, {len(self._floors)} floors>"


def _kept_us(plan: GroupPlan) -> int:
    return max(plan.policy.remote.hard_ttl_seconds, GUARD_SECONDS) * MICROSECONDS


def _newest_revision(entry: Entry) -> int:
    if isinstance(entry, Record):
        return entry.revision
    return max((register.revision for register in entry.registers.values()), default=entry.as_of)


def _knows_until(entry: Entry) -> int:
    """The revision up to which the entry is sure to know of every write of its id."""
    if isinstance(entry, Record):
        return max(entry.revision, entry.loaded_at_us - READ_MARGIN_US)
    return entry.as_of
