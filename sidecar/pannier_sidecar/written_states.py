"""What a write leaves on the tiers above L3: its revision always, its value where policy says so.

No waiting: L2 and the other sidecars are told in the background (`pannier_sidecar.backfill`), own L1 at once,
and `RecentWrites` remembers for every load that is under way.
"""

from __future__ import annotations

from typing import NamedTuple

from pannier.keys import FENCE_SORT_KEY
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.packing import Opened, pack_state
from pannier_sidecar.packs import TimelinePack
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import RecentWrites, State, floor_of, is_outrun, merged
from pannier_sidecar.row import Row, RowKey
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2 import SharedWriter


class Begun(NamedTuple):
    """Where things stood as a write began."""

    at_us: int
    epoch: int
    sequence: int


class WrittenStates:
    """Tells the caches of writes."""

    def __init__(
        self, *, l1: L1Cache, recent: RecentWrites, writer: SharedWriter | None, clock: Clock
    ) -> None:
        self._l1 = l1
        self._recent = recent
        self._writer = writer
        self._clock = clock

    def begin(self) -> Begun:
        """Note where things stand, before L3 is asked."""
        return Begun(self._clock.now_us(), self._l1.epoch, self._recent.sequence)

    def wrote(self, key: RowKey, row: Row, begun: Begun) -> None:
        """L3 acknowledged a write, and it left this row."""
        now_us = self._clock.now_us()
        plan = key.plan
        floor = floor_of(plan, row, now_us)
        state: State = (
            timeline.delta_from_row(row, loaded_at_us=begun.at_us)
            if plan.is_timeline
            else record.from_row(row, read_start_us=begun.at_us)
        )
        writes_through = plan.policy.write_policy == "WriteThrough"
        was_overtaken = self._recent.wrote_since(key, begun.sequence, now_us)
        self._recent.note(key, floor, now_us)
        if self._writer is not None:
            holds_value = writes_through and plan.policy.remote.is_filled
            self._writer.confirm(key, state if holds_value else floor)
        if writes_through:
            newer = self._recent.delta(key, now_us) if was_overtaken else None
            self._put_into_l1(key, state, newer, now_us, begun.epoch)
        else:
            self._l1.drop(key)

    def erased(self, key: RowKey, fence: Row, begun: Begun) -> None:
        """L3 acknowledged the fence of a whole timeline id."""
        now_us = self._clock.now_us()
        self._leave(key, timeline.delta_from_row(fence, loaded_at_us=begun.at_us), now_us)

    def distrust(self, key: RowKey) -> None:
        """The id may have changed in a way that nobody can say: what is held of it is served no more.

        The marker carries the time of now, so that it stands above every state seen so far. Loads go to L3,
        strongly, and serve what it says; once the marker has aged that is cached again.
        """
        now_us = self._clock.now_us()
        marker = record.marker(now_us, now_us)
        self._leave(key, timeline.delta(FENCE_SORT_KEY, marker) if key.plan.is_timeline else marker, now_us)

    def _leave(self, key: RowKey, delta: State, now_us: int) -> None:
        self._recent.note(key, delta, now_us)
        if self._writer is not None:
            self._writer.confirm(key, delta)
        self._l1.drop(key)

    def _put_into_l1(self, key: RowKey, state: State, newer: State | None, now_us: int, epoch: int) -> None:
        """Renew L1: a record's state is an entry, a timeline's new record only within one that is held.

        ``newer`` is what else became known of the id while the write was in the air: another sidecar's write
        that L3 took after this one may well be heard of before this one's answer is there.
        """
        plan = key.plan
        held = self._l1.held(plan, key.id, now_us)
        before, opened = _opened(plan, held, now_us)
        if before is not None and is_outrun(before, state, now_us):
            before = None
        newest = merged(plan, before, state)
        if newer is not None:
            newest = merged(plan, newest, newer)
        pack = pack_state(plan, key.id, newest or state, now_us, opened)
        if not pack.row:
            self._l1.drop(key)
        elif isinstance(state, Timeline) and held is not None and before is not None:
            self._l1.amend(key, held, pack, now_us)
        elif newest is state:
            self._l1.put(plan, key.id, pack, now_us, epoch)
        elif newest is not before:
            self._l1.drop(key)

    def __repr__(self) -> str:
        return f"<WrittenStates into {self._l1!r}, {self._recent!r}>"


def _opened(plan: GroupPlan, held: LocalEntry | None, now_us: int) -> tuple[State | None, Opened | None]:
    """The state of an entry that may be served; of a timeline without the values that stand rendered."""
    if held is None or now_us >= held.hard_us:
        return None, None
    if isinstance(held.pack, TimelinePack) and held.plan is plan:
        opened = Opened(plan, held.pack)
        return opened.timeline, opened
    return held.state(), None
