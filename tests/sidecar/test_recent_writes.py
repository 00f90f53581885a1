"""Recent writes: the floor under loads, for long enough, in bounded room."""

from __future__ import annotations

import gc
import sys
from itertools import pairwise

from tests.builders import a_plan

from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.recent_writes import KEEP_US, RecentWrites, floor_of, is_marker, merged
from pannier_sidecar.row import Row, RowKey

NOW_US = 1_700_000_000_000_000
PLAN = a_plan()
TRIPS = a_plan("trips", timeline=True)


def row(revision: int = NOW_US, *, sort_key: str = "null", deleted: bool = False) -> Row:
    """What L3 returned for a write."""
    return Row(
        sort_key=sort_key,
        revision=revision,
        event_time_us=NOW_US,
        stamps_us={},
        values={0: b"1"},
        deleted=deleted,
    )


def test_a_floor_holds_no_value_and_hides_older_states() -> None:
    """A write leaves a marker, a delete leaves the tombstone itself."""
    floor = floor_of(PLAN, row(), NOW_US)
    assert isinstance(floor, Record)
    assert (floor.kind, floor.values) == (Kind.MARKER, {})
    older = Record(Kind.FOUND, NOW_US - 1, NOW_US + 9, 0, None, {0: b"0"})
    same = Record(Kind.FOUND, NOW_US, NOW_US + 9, 0, None, {0: b"1"})
    assert merged(PLAN, older, floor) == floor
    assert merged(PLAN, same, floor) == same
    deleted = floor_of(PLAN, row(deleted=True), NOW_US)
    assert isinstance(deleted, Record)
    assert deleted.kind is Kind.TOMBSTONE


def test_floors_of_one_timeline_add_up() -> None:
    """Two records written one after the other are both remembered."""
    recent = RecentWrites()
    key = RowKey(TRIPS, "a")
    for tick in ("0000000001", "0000000002"):
        recent.note(key, floor_of(TRIPS, row(sort_key=tick), NOW_US), NOW_US)
    delta = recent.delta(key, NOW_US)
    assert isinstance(delta, Timeline)
    assert set(delta.registers) == {"0000000001", "0000000002"}
    assert is_marker(delta)


def test_a_note_is_kept_for_its_time_across_generations_and_catalogs() -> None:
    """It is there to the end of a minute, under a newer plan of the same group too, and then gone."""
    recent = RecentWrites()
    recent.note(RowKey(PLAN, "a"), floor_of(PLAN, row(), NOW_US), NOW_US)
    recent.note(RowKey(PLAN, "b"), floor_of(PLAN, row(), NOW_US), NOW_US + KEEP_US - 1)
    newer_plan = a_plan(generation=2)
    assert recent.delta(RowKey(newer_plan, "a"), NOW_US + KEEP_US - 1) is not None
    assert recent.delta(RowKey(PLAN, "a"), NOW_US + KEEP_US) is None
    assert recent.delta(RowKey(a_plan(namespace="else"), "a"), NOW_US) is None


def test_a_load_learns_what_was_written_while_it_was_under_way() -> None:
    """The sequence tells, not the clock."""
    recent = RecentWrites()
    key = RowKey(PLAN, "a")
    recent.note(key, floor_of(PLAN, row(), NOW_US), NOW_US)
    before = recent.sequence
    assert not recent.wrote_since(key, before, NOW_US)
    recent.note(RowKey(PLAN, "b"), floor_of(PLAN, row(), NOW_US), NOW_US)
    assert not recent.wrote_since(key, before, NOW_US)
    recent.note(key, floor_of(PLAN, row(), NOW_US), NOW_US)
    assert recent.wrote_since(key, before, NOW_US)


def test_what_had_to_be_forgotten_makes_loads_strong_for_its_time() -> None:
    """Beyond its room it says that it is blind, until the forgotten notes would have aged."""
    recent = RecentWrites(capacity=10)
    for number in range(21):
        recent.note(RowKey(PLAN, str(number)), floor_of(PLAN, row(), NOW_US), NOW_US)
    assert recent.delta(RowKey(PLAN, "0"), NOW_US) is None
    assert recent.delta(RowKey(PLAN, "20"), NOW_US) is not None
    assert recent.is_blind(NOW_US)
    assert not recent.is_blind(NOW_US + KEEP_US)


def test_a_generation_that_has_aged_is_let_go_of_little_by_little() -> None:
    """A note frees a few at a time, and in the end all of them: a hundred thousand at once are a stall."""
    recent, deltas = RecentWrites(), [floor_of(PLAN, row(), NOW_US) for _ in range(400)]
    for number, delta in enumerate(deltas):
        recent.note(RowKey(PLAN, str(number)), delta, NOW_US)

    def held() -> int:
        return sum(sys.getrefcount(deltas[number]) > 2 for number in range(len(deltas)))

    left = [held()]
    for minute in range(1, 3):
        for number in range(60):
            recent.note(RowKey(PLAN, f"later{number}"), deltas[0], NOW_US + minute * KEEP_US)
            left.append(held())
    assert (left[0], left[-1]) == (400, 400 - 240 + 1)
    assert all(before - after <= 4 for before, after in pairwise(left))


def test_notes_are_nothing_to_the_collector() -> None:
    """However much was written of late, the collector looks at none of it."""
    recent = RecentWrites()
    for number in range(2_000):
        recent.note(RowKey(PLAN, str(number)), floor_of(PLAN, row(), NOW_US), NOW_US)
        recent.note(RowKey(TRIPS, str(number)), floor_of(TRIPS, row(sort_key="0000000001"), NOW_US), NOW_US)
    gc.collect()
    assert not gc.is_tracked(recent._young)
    assert len(recent._young) == 4_000
