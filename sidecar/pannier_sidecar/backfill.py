"""What goes to L2 behind the answer: backfills that may be lost, and writes that may not be forgotten.

A *backfill* repeats what L3 said; when there is too much of it the oldest is dropped, when Redis fails it is
gone. A *write* is kept until Redis confirmed it or no older entry in Redis may be served any more. Until then
`overlay` lays it over what Redis says, so that a client reads its own writes through one sidecar while Redis
fails. Both are coalesced per id. Writes are announced to the other sidecars in the round trip that merges
them, right after the merge: whoever hears of one finds it in L2, and one that was not announced is not
confirmed. It does not read, and knows no freshness. From here to `RedisTier.merge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from pannier.keys import cache_key
from pannier_sidecar.backfill_queue import DEFAULT_LIMITS, BoundedQueue, Entry, QueueLimits, Waiting, merged
from pannier_sidecar.backoff import pause_seconds
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.ghost import RECORD_GHOST, TIMELINE_GHOST
from pannier_sidecar.entry.lifetime import longest_kept_seconds
from pannier_sidecar.entry.record import MICROSECONDS
from pannier_sidecar.errors import TierError, TierMisconfigured
from pannier_sidecar.floors import Floors
from pannier_sidecar.lease import Lease
from pannier_sidecar.metrics import BackfillUsage
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import newest_revision
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l2 import SharedMerger
from pannier_sidecar.tiers.l2_redis import require_stored
from pannier_sidecar.written_messages import messages_of

_BATCH = 200
"""Merges per round trip."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_LAST_FLUSH_SECONDS = 2.0

log = logging.getLogger(__name__)


class BackfillMetrics(Protocol):
    """What the writer counts."""

    def backfill(self, event: str, n: int = 1) -> None:
        """``n`` entries were enqueued, written, turned away, dropped, failed, or cost an overflow."""
        ...

    def invalidation(self, group: str, event: str, n: int = 1) -> None:
        """``n`` ids of a group were published, or Redis refused to let this sidecar publish them."""
        ...


class L2Writer:
    """The background writer. Owned through ``async with``; leaving it flushes for a moment what is left."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        tier: SharedMerger,
        *,
        clock: Clock,
        metrics: BackfillMetrics,
        dice: Callable[[], float],
        latest: Callable[[GroupPlan], GroupPlan] = lambda plan: plan,
        limits: QueueLimits = DEFAULT_LIMITS,
        sender: bytes,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take a tier and what surrounds it.

        ``sender`` tells this sidecar's announcements from those of others; ``latest`` gives a group as it is
        now: a lengthened TTL lengthens what has to be remembered.
        """
        self._tier = tier
        self._sender = sender
        self._latest = latest
        self._clock = clock
        self._metrics = metrics
        self._dice = dice
        self._sleep = sleep
        self._backfills = BoundedQueue(limits)
        self._unconfirmed = BoundedQueue(limits)
        self._floors = Floors()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def backfill(self, key: RowKey, entry: Entry) -> None:
        """Offer what L3 said."""
        self._offer(key, entry)

    def leave_ghost(self, key: RowKey) -> None:
        """Leave a sign that the key was asked for once."""
        self._metrics.backfill("turned_away")
        self._offer(key, TIMELINE_GHOST if key.plan.is_timeline else RECORD_GHOST)

    def _offer(self, key: RowKey, entry: Entry) -> None:
        require_stored(key.plan)
        address = cache_key(key.plan.cache_prefix, key.id)
        dropped = self._backfills.put(address, key, entry, self._clock.now_us())
        if dropped:
            self._metrics.backfill("dropped", len(dropped))
        self._enqueued()

    async def hand_over(self, leases: Sequence[Lease]) -> None:
        """Send what waits of these keys now, past everything else, and let go of their leases behind it.

        Other sidecars wait for it. Where nothing waits there is nothing to bring, and they need not wait.
        """
        addresses = (cache_key(lease.key.plan.cache_prefix, lease.key.id) for lease in leases)
        batch = [taken for address in addresses if (taken := self._backfills.take(address)) is not None]
        self._count(await self._sent(batch, 0, leases))

    def confirm(self, key: RowKey, delta: Entry) -> None:
        """Take over a write that L3 acknowledged, to be kept until L2 has it."""
        require_stored(key.plan)
        address = cache_key(key.plan.cache_prefix, key.id)
        forgotten = self._unconfirmed.put(address, key, delta, self._clock.now_us())
        for waiting in forgotten:
            prefix = waiting.key.plan.cache_prefix
            self._floors.lift(prefix, newest_revision(waiting.entry), waiting.since_us)
        if forgotten:
            self._metrics.backfill("overflow", len(forgotten))
        self._enqueued()

    def overlay(self, key: RowKey, entry: Entry | None) -> Entry | None:
        """What L2 said of the key under the writes it has not confirmed; None if it cannot know of them."""
        prefix = key.plan.cache_prefix
        if entry is not None and self._floors.hides(
            prefix, entry, self._clock.now_us(), self._kept_us(key.plan)
        ):
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

    def _kept_us(self, plan: GroupPlan) -> int:
        """How long an older entry of the group may be served out of Redis, fresh or stale."""
        return longest_kept_seconds(self._latest(plan).policy) * MICROSECONDS

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
                first, longest = _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS
                await self._sleep(pause_seconds(failures, first=first, longest=longest, draw=self._dice()))
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
        outcomes = await self._sent(batch, len(writes))
        self._count(outcomes)
        is_done = True
        for (address, waiting), outcome in zip(writes, outcomes, strict=False):
            if outcome is not None:
                self._unconfirmed.to_the_end(address, waiting)
                is_done = False
            elif self._unconfirmed.waiting.get(address) is waiting:
                self._unconfirmed.take(address)
        return is_done

    def _count(self, outcomes: Sequence[TierError | None]) -> None:
        failed = sum(outcome is not None for outcome in outcomes)
        self._metrics.backfill("written", len(outcomes) - failed)
        self._metrics.backfill("failed", failed)

    async def _sent(
        self, batch: Sequence[Waiting], writes: int, leases: Sequence[Lease] = ()
    ) -> list[TierError | None]:
        """Merge a batch and announce the writes in front of it.

        A fault of ours in one entry costs neither its neighbours nor the writer.
        """
        try:
            messages = messages_of(self._sender, batch[:writes])
            deltas = [(waiting.key, waiting.entry) for waiting in batch]
            outcomes = await self._tier.merge(deltas, leases, list(messages.values()))
        except Exception as error:
            if len(batch) == 1:
                log.exception("an entry of %s could not be sent to L2", batch[0].key.plan.name)
                return [TierMisconfigured("l2", f"cannot be sent: {error}")]
        else:
            published = dict(zip(messages, outcomes[len(batch) :], strict=True))
            self._hold_back(batch[:writes], outcomes, published)
            return outcomes[: len(batch)]
        return [
            outcome
            for position, one in enumerate(batch)
            for outcome in await self._sent([one], int(position < writes))
        ]

    def _hold_back(
        self,
        writes: Sequence[Waiting],
        outcomes: list[TierError | None],
        published: Mapping[str, TierError | None],
    ) -> None:
        """A write that was not announced is not done either, unless Redis refuses that for good."""
        for position, waiting in enumerate(writes):
            plan = waiting.key.plan
            fault = published[plan.cache_prefix]
            if fault is None or isinstance(fault, TierMisconfigured):
                self._metrics.invalidation(plan.name, "refused" if fault else "published")
            else:
                outcomes[position] = outcomes[position] or fault

    def _forget_outlived(self) -> None:
        """Let go of writes that no servable entry of L2 can be older than."""
        now_us = self._clock.now_us()
        outlived = [
            address
            for address, waiting in self._unconfirmed.waiting.items()
            if now_us >= waiting.since_us + self._kept_us(waiting.key.plan)
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
