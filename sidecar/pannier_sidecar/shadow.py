"""Tiers in state Shadow: what they would have answered, against what the tiers below them did.

They are filled and looked up as if they were enabled, and never serve: what an enabled tier would have kept
is kept, though L3 has said something newer, since that is what is to be found out. L2 is asked beside the
load of L3, L1 is looked up before the load; both are compared behind the answer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Loaded
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.owned_tasks import OwnedTasks
from pannier_sidecar.packs import Pack
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2 import SharedReader
from pannier_sidecar.views import knows_all_of, view

Outcome = Literal["agree", "differ", "newer", "miss", "unknown"]
MAX_ASKED: Final = 10_000
"""Keys whose comparison waits for L2 or L3; loads beyond that are not compared."""
GIVEN_UP_US: Final = 10_000_000
"""Longer than any load and any round trip to L2: what is not compared by then never is."""


def compared(plan: GroupPlan, would: State | None, said: State, now_us: int) -> Outcome:
    """Hold what a tier would have served (None = nothing) against what was said below it."""
    if would is None:
        return "miss"
    shown, true = view(plan, would, now_us), view(plan, said, now_us)
    if shown is None or true is None:
        return "unknown"
    if shown.shows_same(true):
        return "agree"
    return "newer" if knows_all_of(plan, would, said, now_us) else "differ"


class _Asked(msgspec.Struct):
    """One key on its way to a comparison: both tiers answer in whatever order."""

    since_us: int
    has_l2: bool = False
    would: State | None = None
    is_unknown: bool = False
    said: State | None = None


class Shadow:
    """Compares. Owned through ``async with``: L2 is asked by tasks of its own."""

    def __init__(
        self, *, l1: L1Cache, l2: SharedReader | None, arrivals: Arrivals, clock: Clock, metrics: Metrics
    ) -> None:
        self._l1 = l1
        self._l2 = l2
        self._arrivals = arrivals
        self._clock = clock
        self._metrics = metrics
        self._asked: dict[RowKey, _Asked] = {}
        self._tasks = OwnedTasks("shadow")

    def ask_l2(self, keys: Sequence[RowKey]) -> None:
        """Ask L2 for those of the keys whose remote tier is in the shadow, beside the load of L3."""
        asked = [key for key in keys if key.plan.policy.remote.is_shadow and not key.plan.is_strong]
        if self._l2 is None or not asked:
            return
        now_us = self._clock.now_us()
        if len(self._asked) + len(asked) > MAX_ASKED:
            self._forget(now_us)
        room = MAX_ASKED - len(self._asked)
        new = {key: _Asked(now_us) for key in asked if not self._is_under_way(key, now_us)}
        new = dict(itertools.islice(new.items(), room))
        self._asked |= new
        if new:
            self._tasks.start(self._read_l2(self._l2, new))

    def said(self, key: RowKey, state: State | TierError) -> None:
        """Hear what L3 said of a key; a shadow L2 gets it when it has said what it held before, if at all."""
        asked = self._asked.get(key)
        if asked is None or asked.said is not None:
            is_kept = key.plan.is_strong and key.plan.policy.remote.is_shadow  # for stale answers, if enabled
            if is_kept and not isinstance(state, TierError):
                self._arrivals.offer(key, state)
            return
        if isinstance(state, TierError):
            asked.is_unknown = True
        else:
            asked.said = state
        self._compare_l2(key, asked)

    def look_l1(self, keys: Sequence[RowKey], now_us: int) -> dict[RowKey, Pack | None]:
        """What L1 would have served of those of the keys whose local tier is in the shadow."""
        seen: dict[RowKey, Pack | None] = {}
        for key in keys:
            if key.plan.policy.local.is_shadow and not key.plan.is_strong:
                entry, found = self._l1.look(key.plan, key.id, now_us, 0.0)
                is_hit = entry is not None and entry.row and found is not Freshness.EXPIRED
                seen[key] = entry.pack if entry is not None and is_hit else None
        return seen

    def compare_l1_later(self, seen: Mapping[RowKey, Pack | None], served: Mapping[RowKey, Loaded]) -> None:
        """Compare what L1 would have served with what was, once the answer is on its way."""
        if seen:
            pairs = [(key, pack, served[key]) for key, pack in seen.items()]
            asyncio.get_running_loop().call_soon(self._compare_l1, pairs)

    async def settled(self) -> None:
        """Return when L2 has answered all it was asked."""
        await self._tasks.settled()

    async def _read_l2(self, l2: SharedReader, new: Mapping[RowKey, _Asked]) -> None:
        for (key, asked), answer in zip(new.items(), await l2.read(list(new)), strict=True):
            asked.has_l2 = True
            if isinstance(answer, TierError):
                asked.is_unknown = True
            else:
                asked.would = self._arrivals.alone(key, answer)
            self._compare_l2(key, asked)

    def _compare_l2(self, key: RowKey, asked: _Asked) -> None:
        """Count once both have answered; L2 is filled where it would have missed, or been refreshed."""
        now_us = self._clock.now_us()
        if not asked.has_l2 or not (asked.is_unknown or asked.said is not None):
            return
        if self._asked.get(key) is asked:
            del self._asked[key]
        if _is_given_up(asked, now_us):  # an answer so old could undo what was written since
            return
        if asked.said is not None and (asked.would is None or self._arrivals.is_due_in_l2(key, asked.would)):
            self._arrivals.offer(key, asked.said)
        if asked.is_unknown or asked.said is None:
            self._count(key, "l2", "unknown")
        else:
            self._count(key, "l2", compared(key.plan, asked.would, asked.said, now_us))

    def _is_under_way(self, key: RowKey, now_us: int) -> bool:
        asked = self._asked.get(key)
        return asked is not None and not _is_given_up(asked, now_us)

    def _compare_l1(self, pairs: Sequence[tuple[RowKey, Pack | None, Loaded]]) -> None:
        now_us = self._clock.now_us()
        for key, pack, loaded in pairs:
            self._count(key, "l1", _compared_packs(key.plan, pack, loaded, now_us))

    def _count(self, key: RowKey, tier: str, outcome: Outcome) -> None:
        self._metrics.group(key.plan.name).observed.shadow[tier, outcome] += 1

    def _forget(self, now_us: int) -> None:
        held = self._asked.items()
        self._asked = {key: asked for key, asked in held if not _is_given_up(asked, now_us)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<Shadow {len(self._asked)} keys to be compared>"


def _is_given_up(asked: _Asked, now_us: int) -> bool:
    return now_us - asked.since_us >= GIVEN_UP_US


def _compared_packs(plan: GroupPlan, pack: Pack | None, loaded: Loaded, now_us: int) -> Outcome:
    """Mostly both are rendered to the same bytes, which costs one comparison."""
    if pack is None:
        return "miss"
    if loaded.entry is None or loaded.stale:
        return "unknown"
    if pack.row == loaded.entry.row:
        return "agree"
    return compared(plan, pack.unpack(plan), loaded.entry.state(), now_us)
