"""The consistency observer: takes samples of what was served and heard, and asks L3 whether that was right.

Nothing of it is on a request's time: a request leaves a sample behind, and a task of its own looks at L3 and
at the caches, now and again at the later ages. What a look means is decided in `pannier_sidecar.consistency`,
what it may cost in `pannier_sidecar.sampling`. It repairs nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import random
from types import TracebackType
from typing import Final, Self

import structlog

from pannier_sidecar.cache_looks import CacheLooks
from pannier_sidecar.clock import Clock
from pannier_sidecar.consistency import (
    Check,
    Outcome,
    Sample,
    after_l3,
    after_look,
    of_hit,
    of_invalidation,
    stale_for_us,
)
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Loaded
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.owned_tasks import OwnedTasks
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey
from pannier_sidecar.sampling import Allowance, is_too_soon
from pannier_sidecar.strong_looks import StrongLooks
from pannier_sidecar.tiers.l1_entry import LocalEntry, holds_same_rows
from pannier_sidecar.tiers.l1_table import Entries

MAX_PENDING: Final = 256
"""Samples under observation; there are so many only where much is wrong."""
TICK_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 30.0
"""How long L3 is left alone after it throttled or failed anyone."""
_OUTAGES: Final = frozenset({"TierThrottled", "TierTimeout", "TierUnavailable"})

_log: Final = structlog.stdlib.get_logger(__name__)


class Observer:
    """Owned through ``async with``: checking is a task of its own."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        *,
        plan: Callable[[], ReadPlan | None],
        caches: CacheLooks,
        l3: StrongLooks,
        clock: Clock,
        metrics: Metrics,
        dice: Callable[[], float] = random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._plan = plan
        self._caches = caches
        self._l3 = l3
        self._clock = clock
        self._metrics = metrics
        self._dice = dice
        self._sleep = sleep
        self._allowances: dict[tuple[str, Sample], Allowance] = {}
        self._heard: Counter[str] = Counter()
        self._last_us: dict[Sample, int] = {"hit": -1 << 60, "invalidation": -1 << 60}
        """When a sample of each kind was last taken."""
        self._pending: list[Check] = []
        self._outages = 0
        self._paused_until_us = 0
        self._work = asyncio.Event()
        self._tasks = OwnedTasks("observer")

    def saw(self, plan: GroupPlan, ids: Sequence[str], entries: Entries, now_us: int) -> None:
        """Hear of a read that caches answered; every so many rows one of its ids becomes a sample."""
        if plan.is_computed or is_too_soon(self._last_us["hit"], now_us):
            return  # of what is computed no tier holds the truth
        counters = self._metrics.group(plan.name)
        if self._takes(plan, "hit", counters.name, counters.rows, now_us):
            row_id = ids[min(int(self._dice() * len(ids)), len(ids) - 1)]
            self._begin(of_hit(plan, row_id, entries[row_id].state(), now_us))

    def saw_served(self, served: Mapping[RowKey, Loaded], now_us: int) -> None:
        """Hear of a request that took the long way: what caches answered of it, unmarked, is like any hit."""
        hits: dict[GroupPlan, dict[str, LocalEntry]] = {}
        for key, loaded in served.items():
            if loaded.entry is not None and loaded.source != "l3" and not loaded.stale:
                hits.setdefault(key.plan, {})[key.id] = loaded.entry
        for plan, entries in hits.items():
            self.saw(plan, list(entries), entries, now_us)

    def heard(self, key: RowKey, revision: int) -> None:
        """Hear of an invalidation: from now on nothing older than this revision should be served."""
        now_us = self._clock.now_us()
        label = self._metrics.group(key.plan.name).name
        self._heard[label] += 1
        if is_too_soon(self._last_us["invalidation"], now_us):
            return
        if self._takes(key.plan, "invalidation", label, self._heard[label], now_us):
            self._begin(of_invalidation(key.plan, key.id, revision, now_us))

    async def check_due(self) -> None:
        """Check all samples that are due; those that are not settled by it stay."""
        now_us = self._clock.now_us()
        due = [check for check in self._pending if check.due_us <= now_us]
        self._pending = [check for check in self._pending if check.due_us > now_us]
        keyed = [(check, key) for check in due if (key := self._key_of(check)) is not None]
        standing = await self._caches.look([key for check, key in keyed if check.looks_first])
        doubted = []
        for check, key in keyed:
            outcome = None
            if check.looks_first:
                outcome = after_look(check, key.plan, standing.get(key), self._clock.now_us())
            if outcome is None:
                doubted.append((check, key))
            else:
                self._record(check, key, outcome)
        said = await self._ask_l3(doubted)
        for check, key in doubted:
            outcome = after_l3(check, key.plan, standing.get(key), said.get(key), self._clock.now_us())
            if outcome is None:
                self._pending.append(check)
            else:
                self._record(check, key, outcome)

    def _takes(self, plan: GroupPlan, sample: Sample, label: str, total: int, now_us: int) -> bool:
        """Whether the next sample is due and may be taken; pays for it."""
        per_million = plan.policy.consistency_checks_per_million
        if not per_million:
            return False
        allowance = self._allowances.get((label, sample), _NOTHING_EARNED).earned(total, per_million)
        takes = allowance.affords and len(self._pending) < MAX_PENDING and not self._is_paused(now_us)
        if takes:
            allowance = allowance.paid()
            self._last_us[sample] = now_us
        self._allowances[label, sample] = allowance
        return takes

    def _begin(self, check: Check) -> None:
        self._pending.append(check)
        self._work.set()

    def _key_of(self, check: Check) -> RowKey | None:
        """The sample's key in the catalog of now; None where it means other rows, or is not wanted."""
        plan = self._plan()
        group = plan.groups.get(check.plan.name) if plan is not None else None
        if group is None or not holds_same_rows(check.plan, group):
            return None
        return RowKey(group, check.id) if group.policy.consistency_checks_per_million else None

    async def _ask_l3(self, doubted: Sequence[tuple[Check, RowKey]]) -> dict[RowKey, State | TierError]:
        if not doubted or self._is_paused(self._clock.now_us()):
            return {}
        for check, _ in doubted:
            check.reads_left -= 1
        return await self._l3.read(list(dict.fromkeys(key for _, key in doubted)))

    def _record(self, check: Check, key: RowKey, outcome: Outcome) -> None:
        """Count an outcome; the sample stays if it is to be looked at again, else the rest is paid back."""
        counters = self._metrics.group(key.plan.name)
        counters.observed.checks[check.sample, check.after, outcome] += 1
        if outcome == "stale" and check.age == 0 and check.sample == "hit":
            stale_us = stale_for_us(check, key.plan)
            if stale_us is not None:
                counters.stale_for.observe(stale_us / 1_000_000)
        if check.counted(outcome, self._clock.now_us()):
            self._pending.append(check)
        else:
            paid = counters.name, check.sample
            self._allowances[paid] = self._allowances.get(paid, _NOTHING_EARNED).refunded(check.reads_left)

    def _is_paused(self, now_us: int) -> bool:
        """Whether L3 is left alone, since it failed somebody a moment ago."""
        errors = self._metrics.tier_errors.items()
        outages = sum(n for (tier, reason), n in errors if tier == "l3" and reason in _OUTAGES)
        if outages > self._outages:
            self._outages = outages
            self._paused_until_us = now_us + int(PAUSE_SECONDS * 1_000_000)
        return now_us < self._paused_until_us

    async def _go_on(self) -> None:
        while True:
            next_us = min((check.due_us for check in self._pending), default=None)
            if next_us is None:
                self._work.clear()
                await self._work.wait()
            elif (wait_us := next_us - self._clock.now_us()) > 0:
                await self._sleep(min(wait_us / 1_000_000, TICK_SECONDS))
            else:
                await self._check()

    async def _check(self) -> None:
        try:
            await self.check_due()
        except Exception:  # noqa: BLE001 - logged whole; a fault of ours must not end the observing for good
            _log.exception("consistency_check_failed")

    async def __aenter__(self) -> Self:
        self._tasks.start(self._go_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        paused = f", paused until {self._paused_until_us}" if self._paused_until_us else ""
        return f"<Observer {len(self._pending)} samples{paused}>"


_NOTHING_EARNED: Final = Allowance()
