"""What the caches hold of a timeline: the newest snapshot of L3 plus every write newer than it.

An entry is complete for sort keys at or above ``complete_from`` and above ``trimmed_at``, as of revision
``as_of``. Merging entries in any order, grouping and repetition leads to the same answers; where an entry
cannot know, it says "load" (`answer` returns None) and never guesses. It does not render: the rows it names
are rendered by the caller.

How merging stays small: revisions at or below the highest ``as_of`` are decided by that snapshot alone, so
only its own registers and newer ones are kept, and an absent key inside the coverage is a key with nothing to
show. A register that has to make room is remembered by its key and revision, until a snapshot knows better.
"""

from __future__ import annotations

import heapq

import msgspec

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.entry.record import READ_MARGIN_US, Kind, Record, from_row, is_newer, marker
from pannier_sidecar.row import Row, TimelinePage

Register = Record
"""A timeline's register is a record under its sort key; it is never Missing."""

TO_THE_END = ""
"""``complete_from`` of an entry that knows every row there is."""
NO_COVERAGE = "\x7f"
"""``complete_from`` of an entry that knows single writes only; above every sort key."""
NEVER = -1
"""``as_of`` of an entry without a snapshot."""
UNTRIMMED = ""


class Timeline(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One timeline as a tier holds it; ``registers`` holds the fence under its own sort key too."""

    as_of: int
    complete_from: str
    trimmed_at: str
    """Highest sort key whose newer-than-snapshot register made room; nothing at or below it is known."""
    trimmed_revision: int
    """Highest revision that made room; a snapshot as of it or later knows all of them."""
    loaded_at_us: int
    """When the read behind the coverage began; 0 without coverage."""
    registers: dict[str, Register]

    @property
    def fence(self) -> Register | None:
        """The whole-id delete, if one is known."""
        return self.registers.get(FENCE_SORT_KEY)

    def reaches(self, sort_key: str) -> bool:
        """Whether everything from ``sort_key`` up to the newest row is known."""
        return sort_key >= self.complete_from and sort_key > self.trimmed_at

    @property
    def reaches_the_end(self) -> bool:
        """Whether every row of the id is known."""
        return self.complete_from == TO_THE_END and self.trimmed_at == UNTRIMMED


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What an entry says of a read: the rows to show, newest first, by sort key."""

    sort_keys: tuple[str, ...]
    more: bool
    """Older live rows lie in the range."""
    exists: bool
    """The id has a live row, in the range or outside."""
    valid_until_us: int | None
    """When the first of the rows this rests on expires by itself."""


def snapshot(
    page: TimelinePage,
    *,
    read_start_us: int,
    capacity: int,
    low: str = LOWEST_SORT_KEY,
    high: str = HIGHEST_SORT_KEY,
) -> Timeline:
    """Make an entry of a page that began at ``high``, by default the newest row, and asked down to ``low``.

    A page of a range that ends below the newest row may be made into an entry to answer that very range from,
    but must not reach a cache: it knows nothing of what lies above, nor whether the id exists.
    """
    if not page.exhausted and not page.rows:
        return Timeline(NEVER, NO_COVERAGE, UNTRIMMED, 0, 0, {})
    as_of = max(read_start_us - READ_MARGIN_US, 0)
    registers = {
        row.sort_key: _register(row, read_start_us)
        for row in page.rows
        if not (row.deleted and row.revision <= as_of)
    }
    if page.fence is not None and not page.fence.is_expired(read_start_us):
        registers[FENCE_SORT_KEY] = _register(page.fence, read_start_us)
    if not page.exhausted:
        complete_from = page.rows[-1].sort_key
    else:
        is_whole = low <= LOWEST_SORT_KEY and high >= HIGHEST_SORT_KEY
        complete_from = TO_THE_END if is_whole else low
    return trim(
        Timeline(as_of, complete_from, UNTRIMMED, 0, read_start_us, _without_erased(registers)), capacity
    )


def delta(sort_key: str, register: Register) -> Timeline:
    """Make an entry of one write: a register without coverage, which alone answers nothing."""
    return Timeline(NEVER, NO_COVERAGE, UNTRIMMED, 0, 0, {sort_key: register})


def delta_from_row(row: Row, *, loaded_at_us: int) -> Timeline:
    """Make the entry of a write from the row that L3 returned for it."""
    return delta(row.sort_key, _register(row, loaded_at_us))


def marker_from_row(row: Row, *, now_us: int) -> Timeline:
    """Make the entry of a write whose value is not to be held: its key, revision and event time."""
    return delta(row.sort_key, marker(row.revision, now_us, event_time_us=row.newest_stamp_us))


def merge(a: Timeline | None, b: Timeline, capacity: int) -> Timeline:
    """Unite two entries: the newer snapshot, and from both every register newer than it."""
    if a is None:
        return trim(b, capacity)
    newer, older = (b, a) if _covers_later(b, a) else (a, b)
    registers = dict(newer.registers)
    for sort_key, register in older.registers.items():
        if register.revision <= newer.as_of:
            continue
        held = registers.get(sort_key)
        if held is None or is_newer(register, held):
            registers[sort_key] = register
    keeps_edge = older.trimmed_revision > newer.as_of
    united = Timeline(
        newer.as_of,
        newer.complete_from,
        max(a.trimmed_at, b.trimmed_at) if keeps_edge else newer.trimmed_at,
        max(a.trimmed_revision, b.trimmed_revision) if keeps_edge else newer.trimmed_revision,
        newer.loaded_at_us,
        _without_erased(registers),
    )
    return trim(united, capacity)


def trim(timeline: Timeline, capacity: int) -> Timeline:
    """Keep the newest ``capacity`` sort keys, tombstones counted, the fence beside; remember what went."""
    registers = timeline.registers
    surplus = len(registers) - (FENCE_SORT_KEY in registers) - capacity
    if surplus <= 0:
        return timeline
    # the fence is the greatest key of all, so it is never among these
    oldest = heapq.nsmallest(surplus + 1, registers)
    kept = oldest.pop()
    gone = set(oldest)
    writes = [key for key in gone if registers[key].revision > timeline.as_of]
    return Timeline(
        timeline.as_of,
        timeline.complete_from if len(writes) == surplus else max(timeline.complete_from, kept),
        max([timeline.trimmed_at, *writes]),
        max([timeline.trimmed_revision, *(registers[key].revision for key in writes)]),
        timeline.loaded_at_us,
        {key: register for key, register in registers.items() if key not in gone},
    )


def answer(timeline: Timeline, *, limit: int, low: str, high: str, now_us: int) -> Answer | None:
    """Slice the newest ``limit`` live rows with ``low <= sort key <= high``, or say None: load from L3."""
    live = _LiveRows(timeline, now_us)
    shown = live.newest(limit + 1, low, high)
    if shown is None or (len(shown) <= limit and not timeline.reaches(low)):
        return None
    resting_on: list[str] | None = shown or live.newest(1, TO_THE_END, FENCE_SORT_KEY)
    if resting_on is None or not (resting_on or timeline.reaches_the_end):
        return None
    expiries = [e for key in resting_on if (e := timeline.registers[key].valid_until_us) is not None]
    return Answer(tuple(shown[:limit]), len(shown) > limit, bool(resting_on), min(expiries, default=None))


def floor(timeline: Timeline) -> int:
    """The highest revision known to exist and not held; a load must be strong to reach it. 0 = none."""
    return max((r.revision for r in timeline.registers.values() if r.kind is Kind.MARKER), default=0)


class _LiveRows:
    """The covered rows of an entry at one moment, newest first."""

    def __init__(self, timeline: Timeline, now_us: int) -> None:
        fence = timeline.fence
        self._now_us = now_us
        self._registers = timeline.registers
        lowest, trimmed = timeline.complete_from, timeline.trimmed_at
        ordered = sorted(timeline.registers, reverse=True)
        if fence is not None:
            del ordered[0]  # the fence is the greatest key of all
        if lowest or trimmed:
            ordered = [key for key in ordered if key >= lowest and key > trimmed]
        self._keys = ordered
        self._fence_us = NEVER if fence is None or fence.is_expired(now_us) else fence.event_time_us
        self._must_load = fence is not None and fence.kind is Kind.MARKER

    def newest(self, count: int, low: str, high: str) -> list[str] | None:
        """Up to ``count`` live sort keys of the range; None where a marker stands in the way of knowing."""
        found: list[str] = []
        if self._must_load:
            return None
        registers, fence_us, now_us = self._registers, self._fence_us, self._now_us
        for key in self._keys:
            if key > high:
                continue
            if key < low or len(found) == count:
                break
            register = registers[key]
            if register.event_time_us <= fence_us:
                continue
            if register.kind is Kind.MARKER:
                return None
            if register.kind is Kind.FOUND and (register.expires_at is None or register.is_live(now_us)):
                found.append(key)
        return found


def _register(row: Row, loaded_at_us: int) -> Register:
    return from_row(row, read_start_us=loaded_at_us)


def _covers_later(a: Timeline, b: Timeline) -> bool:
    """Whether the coverage of ``a`` replaces that of ``b``: a later look, or the same reaching further."""
    return a.as_of > b.as_of or (a.as_of == b.as_of and a.complete_from < b.complete_from)


def _without_erased(registers: dict[str, Register]) -> dict[str, Register]:
    """Let go of what a whole-id delete hides, so that erased values do not stay in the tiers.

    A register written after the fence was stays and is hidden by `answer` instead: once the fence has
    expired, a late event may be stored again.
    """
    fence = registers.get(FENCE_SORT_KEY)
    if fence is None or fence.kind is Kind.MARKER:
        return registers
    return {
        key: register
        for key, register in registers.items()
        if key == FENCE_SORT_KEY
        or register.event_time_us > fence.event_time_us
        or register.revision > fence.revision
    }
