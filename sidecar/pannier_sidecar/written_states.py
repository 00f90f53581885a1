"""What a write leaves on the tiers above L3: its revision always, its value where policy says so.

No waiting: L2 is told in the background (`pannier_sidecar.backfill`), own L1 at once, and `RecentWrites`
remembers for every load that is under way.
"""

from __future__ import annotations

from pannier.keys import FENCE_SORT_KEY
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.packing import pack_state
from pannier_sidecar.recent_writes import RecentWrites, State, floor_of, is_outrun, merged
from pannier_sidecar.row import Row, RowKey
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2 import SharedWriter


class WrittenStates:
    """Tells the caches of writes."""

    def __init__(
        self, *, l1: L1Cache, recent: RecentWrites, writer: SharedWriter | None, clock: Clock
    ) -> None:
        self._l1 = l1
        self._recent = recent
        self._writer = writer
        self._clock = clock

    def wrote(self, key: RowKey, row: Row, start_us: int) -> None:
        """L3 acknowledged a write that began at ``start_us`` and left this row."""
        now_us = self._clock.now_us()
        plan = key.plan
        floor = floor_of(plan, row, now_us)
        state: State = (
            timeline.delta_from_row(row, loaded_at_us=start_us)
            if plan.is_timeline
            else record.from_row(row, read_start_us=start_us)
        )
        writes_through = plan.policy.write_policy == "WriteThrough"
        self._recent.note(key, floor, now_us)
        if self._writer is not None:
            holds_value = writes_through and plan.policy.remote.state == "Enabled"
            self._writer.confirm(key, state if holds_value else floor)
        if writes_through:
            self._put_into_l1(key, state, now_us)
        else:
            self._l1.drop(key)

    def erased(self, key: RowKey, fence: Row, start_us: int) -> None:
        """L3 acknowledged the fence of a whole timeline id."""
        now_us = self._clock.now_us()
        self._leave(key, timeline.delta_from_row(fence, loaded_at_us=start_us), now_us)

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

    def _put_into_l1(self, key: RowKey, state: State, now_us: int) -> None:
        """Renew L1: a record's state is an entry, a timeline's new record only within one that is held."""
        plan = key.plan
        held = self._l1.held(plan, key.id, now_us)
        before = held.state() if held is not None and now_us < held.hard_us else None
        if before is not None and is_outrun(before, state, now_us):
            before = None
        newest = merged(plan, before, state)
        pack = pack_state(plan, key.id, newest or state, now_us)
        if not pack.row:
            self._l1.drop(key)
        elif isinstance(state, Timeline) and held is not None and before is not None:
            self._l1.amend(key, held, pack, now_us)
        elif newest is state:
            self._l1.put(plan, key.id, pack, now_us)

    def __repr__(self) -> str:
        return f"<WrittenStates into {self._l1!r}, {self._recent!r}>"
