"""What was written of late, as far as this sidecar knows: the floor under all it loads.

Every own write leaves a small delta here (a marker, a tombstone, a fence; never a value), for longer than any
load or replica lag; so does what is heard of others' writes to ids that are held here or on their way
(`pannier_sidecar.invalidation`). A load merges it over what L2 or L3 said: where the marker comes out on top
the load saw an older state and goes on to L3, strongly. So own writes are read, and no load brings back what
an announcement had removed. This holds without L1, without L2, and when Redis forgot what it had confirmed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pannier.keys import cache_key
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Row, RowKey

KEEP_US: Final = 60_000_000
"""A delta is kept at least this long: more than a load may take, and more than a replica lags."""
CAPACITY: Final = 100_000
_FORGOTTEN_PER_NOTE: Final = 4
"""Of generations that have aged: more than are noted, so what is left of them shrinks with every note."""

State = Record | Timeline


def floor_of(plan: GroupPlan, row: Row, now_us: int) -> State:
    """The delta of a write without its value: enough to tell older states from newer ones."""
    if not plan.is_timeline:
        state = record.from_row(row, read_start_us=now_us)
        return state if row.deleted else record.marker(state.revision, now_us)
    if row.deleted:
        return timeline.delta_from_row(row, loaded_at_us=now_us)
    return timeline.marker_from_row(row, now_us=now_us)


def merged(plan: GroupPlan, a: State | None, b: State | None) -> State | None:
    """The newer of two states of one id; None is no state."""
    if b is None:
        return a
    if isinstance(b, Timeline):
        return timeline.merge(a if isinstance(a, Timeline) else None, b, plan.register_capacity)
    return record.merge(a if isinstance(a, Record) else None, b)


class _Note(msgspec.Struct, frozen=True, gc=False):
    """Up to 200,000 of them, so they are kept out of the collector's sight."""

    delta: State
    noted_at_us: int
    sequence: int


class RecentWrites:
    """Deltas by id, in two generations: the older one is dropped when the younger has lived long enough.

    Little by little: to free a hundred thousand at once holds up the event loop for up to 100 ms.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._young: dict[str, _Note] = {}
        self._old: dict[str, _Note] = {}
        self._aged: list[dict[str, _Note]] = []
        self._turned_us = 0
        self._blind_until_us = 0
        self.sequence = 0
        """How many writes were noted; a load remembers it to find out what was written meanwhile."""

    def note(self, key: RowKey, delta: State, now_us: int) -> None:
        """Remember that L3 acknowledged this, to this sidecar or to another."""
        self._turn(now_us)
        self._forget()
        self.sequence += 1
        known = self._known(key, now_us)
        united = merged(key.plan, known.delta if known else None, delta)
        self._young[_address(key)] = _Note(united or delta, now_us, self.sequence)

    def delta(self, key: RowKey, now_us: int) -> State | None:
        """What is known to have been written of this id of late."""
        known = self._known(key, now_us)
        return known.delta if known else None

    def wrote_since(self, key: RowKey, sequence: int, now_us: int) -> bool:
        """Whether this id was written after ``sequence`` was read."""
        known = self._known(key, now_us)
        return known is not None and known.sequence > sequence

    def is_blind(self, now_us: int) -> bool:
        """Whether deltas were dropped early: until they would have aged, every load is strong."""
        return now_us < self._blind_until_us

    def _known(self, key: RowKey, now_us: int) -> _Note | None:
        address = _address(key)
        known = self._young.get(address) or self._old.get(address)
        return known if known is not None and now_us - known.noted_at_us < KEEP_US else None

    def _turn(self, now_us: int) -> None:
        is_full = len(self._young) >= self._capacity
        has_aged = now_us - self._turned_us >= KEEP_US
        if not is_full and not has_aged:
            return
        if self._old and not has_aged:
            self._blind_until_us = now_us + KEEP_US
        self._aged.append(self._old)
        self._old, self._young = self._young, {}
        self._turned_us = now_us

    def _forget(self) -> None:
        for _ in range(_FORGOTTEN_PER_NOTE):
            if not self._aged:
                return
            if self._aged[-1]:
                self._aged[-1].popitem()
            else:
                self._aged.pop()

    def __repr__(self) -> str:
        return f"<RecentWrites {len(self._young)} young, {len(self._old)} old>"


def _address(key: RowKey) -> str:
    """Not the plan itself: a new catalog must not forget what was written under the old one.

    A text, not a pair: the collector would look through a dict of pairs again and again.
    """
    return cache_key(key.plan.cache_prefix, key.id)


def is_outrun(state: State, delta: State, now_us: int) -> bool:
    """Whether a look at L3 claims to know of a write that was acknowledged just now, and does not show it.

    It began "later" by a clock that has stepped back since, or that is ahead; by revision it would win.
    """
    if isinstance(state, Timeline):
        registers = delta.registers.values() if isinstance(delta, Timeline) else ()
        return any(r.revision <= state.as_of and now_us - r.loaded_at_us < KEEP_US for r in registers)
    return isinstance(delta, Record) and state.kind is Kind.MISSING and delta.revision <= state.revision


def is_marker(state: State) -> bool:
    """Whether a state says that a newer one exists that is not held, somewhere in it."""
    if isinstance(state, Timeline):
        return timeline.floor(state) > 0
    return state.kind is Kind.MARKER


def newest_revision(state: State) -> int:
    """The highest revision that a state shows or marks."""
    if isinstance(state, Record):
        return state.revision
    return max((register.revision for register in state.registers.values()), default=state.as_of)
