"""Coverage, merging and slicing of cached timelines: `pannier_sidecar.entry.timeline`."""

from __future__ import annotations

import pytest
from tests.sidecar.timeline_history import SECOND_US, key_of

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.entry.record import READ_MARGIN_US, Kind, marker
from pannier_sidecar.entry.timeline import (
    NO_COVERAGE,
    TO_THE_END,
    Answer,
    Timeline,
    answer,
    delta,
    delta_from_row,
    floor,
    marker_from_row,
    merge,
    snapshot,
    trim,
)
from pannier_sidecar.row import Row, TimelinePage

NOW_US = 1_700_000_000_000_000
OLD = NOW_US - 10 * READ_MARGIN_US
"""A revision every snapshot taken now is sure to know."""
ROOM = 66


def a_row(second: int, revision: int = OLD, *, deleted: bool = False, expires_at: int | None = None) -> Row:
    values = {} if deleted else {0: str(second).encode()}
    return Row(key_of(second), revision, second * SECOND_US, {}, values, deleted, expires_at)


def a_fence(until_second: int, revision: int = OLD + 1, *, expires_at: int | None = None) -> Row:
    return Row(
        FENCE_SORT_KEY, revision, until_second * SECOND_US, {}, {}, deleted=True, expires_at=expires_at
    )


def a_look(
    *rows: Row,
    fence: Row | None = None,
    exhausted: bool = True,
    low: str = LOWEST_SORT_KEY,
    high: str = HIGHEST_SORT_KEY,
    read_start_us: int = NOW_US,
    capacity: int = ROOM,
) -> Timeline:
    """Take a look that saw these rows, given in any order."""
    page = TimelinePage(tuple(sorted(rows, key=lambda row: row.sort_key, reverse=True)), fence, exhausted)
    return snapshot(page, read_start_us=read_start_us, capacity=capacity, low=low, high=high)


def a_write(row: Row) -> Timeline:
    return delta_from_row(row, loaded_at_us=NOW_US)


def ask(
    entry: Timeline,
    limit: int = 2,
    low: int | None = None,
    high: int | None = None,
    now_us: int = NOW_US,
) -> Answer | None:
    return answer(
        entry,
        limit=limit,
        low=LOWEST_SORT_KEY if low is None else key_of(low),
        high=HIGHEST_SORT_KEY if high is None else key_of(high),
        now_us=now_us,
    )


def shows(
    *seconds: int, more: bool = False, exists: bool = True, valid_until_us: int | None = None
) -> Answer:
    return Answer(tuple(key_of(second) for second in seconds), more, exists, valid_until_us)


def test_the_newest_rows_come_first_and_older_ones_are_told_of() -> None:
    """The limit takes the newest; more is exact at its edge."""
    entry = a_look(a_row(3), a_row(5), a_row(7))
    assert ask(entry, 1) == shows(7, more=True)
    assert ask(entry, 2) == shows(7, 5, more=True)
    assert ask(entry, 3) == shows(7, 5, 3)
    assert ask(entry, 9) == shows(7, 5, 3)


def test_ranges_are_inclusive_at_both_ends() -> None:
    """More counts older rows of the range alone."""
    entry = a_look(a_row(3), a_row(5), a_row(7), a_row(8))
    assert ask(entry, 3, low=5, high=7) == shows(7, 5)
    assert ask(entry, 1, low=5, high=7) == shows(7, more=True)
    assert ask(entry, 1, low=7, high=7) == shows(7)
    assert ask(entry, 3, low=4, high=6) == shows(5)


def test_nothing_in_range_is_told_from_nothing_at_all() -> None:
    """An id with rows elsewhere exists; one without any does not."""
    assert ask(a_look(a_row(3)), low=5) == shows(exists=True)
    assert ask(a_look(a_row(7)), high=5) == shows(exists=True)
    assert ask(a_look()) == shows(exists=False)
    assert ask(a_look(a_row(3, deleted=True))) == shows(exists=False)


def test_a_page_that_ended_at_its_limit_covers_down_to_its_last_row() -> None:
    """Below it the entry does not know; whether there is more must be known too."""
    entry = a_look(a_row(5), a_row(7), a_row(8), exhausted=False)
    assert entry.complete_from == key_of(5)
    assert ask(entry, 2) == shows(8, 7, more=True)
    assert ask(entry, 3) is None
    assert ask(entry, 3, low=5) == shows(8, 7, 5)
    assert ask(entry, 3, low=4) is None
    assert ask(entry, 1, high=4) is None


def test_a_page_of_a_range_covers_that_range() -> None:
    """It cannot say whether the id exists where it found nothing."""
    entry = a_look(a_row(5), low=key_of(4))
    assert entry.complete_from == key_of(4)
    assert ask(entry, 2, low=4) == shows(5)
    assert ask(entry, 2, low=3) is None
    assert ask(entry, 2, low=6) == shows(exists=True)


def test_a_page_of_a_range_below_the_newest_row_cannot_say_whether_the_id_exists() -> None:
    """Though it reached the end of the rows."""
    empty = a_look(high=key_of(4))
    assert ask(empty, 2, high=4) is None
    assert ask(a_look(a_row(3), high=key_of(4)), 2, high=4) == shows(3)
    assert ask(a_look(low=key_of(4)), 2, low=4) is None


def test_a_page_without_rows_and_end_says_nothing() -> None:
    """A store that gave up half-way leaves no coverage."""
    entry = a_look(exhausted=False)
    assert entry.complete_from == NO_COVERAGE
    assert ask(entry) is None


def test_a_write_alone_answers_nothing() -> None:
    """An entry of one that claimed to be the newest fifty would hide the others."""
    assert ask(a_write(a_row(7)), 1) is None
    assert ask(merge(a_write(a_row(7)), a_write(a_row(8)), ROOM), 1) is None


def test_a_write_joins_the_newest_look() -> None:
    """As a new row, as a correction, as a delete; a late one of an older revision changes nothing."""
    look = a_look(a_row(3), a_row(5))
    assert ask(merge(look, a_write(a_row(9, NOW_US)), ROOM)) == shows(9, 5, more=True)
    corrected = merge(a_write(a_row(5, NOW_US)), look, ROOM)
    assert ask(corrected) == shows(5, 3)
    assert corrected.registers[key_of(5)].revision == NOW_US
    assert ask(merge(look, a_write(a_row(5, NOW_US, deleted=True)), ROOM)) == shows(3)
    assert merge(look, a_write(a_row(4, OLD)), ROOM) == look


def test_a_row_that_left_the_store_without_a_trace_leaves_with_the_next_look() -> None:
    """Union alone would keep it for ever; a write inside the margin of the look stays."""
    first = a_look(a_row(3), a_row(5))
    later = NOW_US + 10 * READ_MARGIN_US
    assert ask(merge(first, a_look(a_row(5), read_start_us=later), ROOM)) == shows(5)
    edge = later - READ_MARGIN_US
    known = merge(a_write(a_row(9, edge)), a_look(a_row(5), read_start_us=later), ROOM)
    unknown = merge(a_write(a_row(9, edge + 1)), a_look(a_row(5), read_start_us=later), ROOM)
    assert ask(known) == shows(5)
    assert ask(unknown) == shows(9, 5)


def test_of_two_looks_at_one_moment_the_one_that_reaches_further_covers() -> None:
    """In either order."""
    far, near = a_look(a_row(3), a_row(5)), a_look(a_row(5), exhausted=False)
    assert merge(far, near, ROOM).complete_from == TO_THE_END
    assert merge(near, far, ROOM) == far


def test_a_newer_look_covers_although_it_reaches_less() -> None:
    """What lies below its edge may have changed since the older one."""
    later = NOW_US + 10 * READ_MARGIN_US
    both = merge(a_look(a_row(3), a_row(5)), a_look(a_row(5), exhausted=False, read_start_us=later), ROOM)
    assert both.complete_from == key_of(5)
    assert both.loaded_at_us == later
    assert ask(both, 2) is None


def test_a_tombstone_the_look_knows_takes_no_room() -> None:
    """Inside the coverage absence says the same; a newer one is kept against slower looks."""
    entry = a_look(a_row(3), a_row(5, OLD, deleted=True), a_row(7, NOW_US, deleted=True))
    assert set(entry.registers) == {key_of(3), key_of(7)}
    at_the_edge = a_row(8, NOW_US - READ_MARGIN_US, deleted=True)
    assert key_of(8) not in a_look(at_the_edge).registers
    slower = a_look(a_row(3), a_row(5), a_row(7), read_start_us=NOW_US - 1)
    assert ask(merge(slower, entry, ROOM)) == shows(3)


@pytest.mark.parametrize("revision", [OLD, NOW_US - READ_MARGIN_US])
def test_what_makes_room_raises_the_edge_of_the_snapshot(revision: int) -> None:
    """Rows the look is sure to know go from the coverage; the entry still answers above."""
    entry = a_look(*(a_row(second, revision) for second in range(1, 7)), capacity=4)
    assert (entry.complete_from, entry.trimmed_at, entry.trimmed_revision) == (key_of(3), "", 0)
    assert ask(entry, 3) == shows(6, 5, 4, more=True)
    assert ask(entry, 4) is None
    assert ask(entry, 4, low=3) == shows(6, 5, 4, 3)


def test_a_write_that_made_room_takes_no_more_with_it_than_itself() -> None:
    """Everything above its key is still known, also where nothing lies."""
    entry = merge(a_look(a_row(5), a_row(9)), a_write(a_row(2, NOW_US)), 2)
    assert ask(entry, 9, low=3) == shows(9, 5)
    assert ask(entry, 9, low=2) is None


def test_whether_the_id_exists_is_open_where_a_row_made_room() -> None:
    """What is left of the timeline is deleted, but what went may be alive."""
    entry = merge(a_look(), a_write(a_row(2, NOW_US)), 1)
    entry = merge(entry, a_write(a_row(5, NOW_US, deleted=True)), 1)
    assert ask(entry, 9, low=4) is None
    assert ask(merge(a_look(), a_write(a_row(5, NOW_US, deleted=True)), 1), 9, low=4) == shows(exists=False)


def test_a_write_that_made_room_is_not_forgotten_by_an_older_look() -> None:
    """Its key is remembered until a look is sure to know it."""
    writes = [a_write(a_row(second, NOW_US)) for second in range(1, 7)]
    entry = writes[0]
    for write in writes[1:]:
        entry = merge(entry, write, 4)
    assert (entry.trimmed_at, entry.trimmed_revision) == (key_of(2), NOW_US)
    older = merge(entry, a_look(a_row(1), capacity=4), 4)
    assert ask(older, 3) == shows(6, 5, 4, more=True)
    assert ask(older, 4) is None
    assert ask(older, 4, low=3) == shows(6, 5, 4, 3)
    assert ask(older, 4, low=2) is None
    sure = a_look(*(a_row(second, NOW_US) for second in range(3, 7)), read_start_us=NOW_US + READ_MARGIN_US)
    assert ask(merge(older, sure, 4), 9) == shows(6, 5, 4, 3)
    unsure = a_look(a_row(6, NOW_US), read_start_us=NOW_US + READ_MARGIN_US - 1)
    assert ask(merge(older, unsure, 4), 9) is None


def test_tombstones_count_as_room_and_the_fence_does_not() -> None:
    """A full entry of deletes says load rather than a short answer; the fence is always there."""
    entry = a_look(a_row(1), a_row(2), capacity=3)
    for second in (5, 6, 7):
        entry = merge(entry, a_write(a_row(second, NOW_US, deleted=True)), 3)
    assert ask(entry, 1) is None
    fenced = merge(a_write(a_fence(0, NOW_US)), entry, 3)
    assert set(fenced.registers) == {key_of(5), key_of(6), key_of(7), FENCE_SORT_KEY}


def test_a_fence_hides_what_is_not_above_it_in_either_order() -> None:
    """Also what a slower look brings back; later events are there."""
    look = a_look(a_row(3), a_row(5), a_row(6))
    fence = a_write(a_fence(5, NOW_US))
    for entry in (
        merge(look, fence, ROOM),
        merge(fence, look, ROOM),
        merge(merge(look, fence, ROOM), look, ROOM),
    ):
        assert ask(entry) == shows(6)
        assert set(entry.registers) == {key_of(6), FENCE_SORT_KEY}


def test_a_fence_seen_by_the_look_hides_the_rows_still_to_be_removed() -> None:
    """However many are left under it, they take no room and the id is known to be gone."""
    entry = a_look(*(a_row(second) for second in range(1, 9)), fence=a_fence(8), capacity=3)
    assert ask(entry) == shows(exists=False)
    assert set(entry.registers) == {FENCE_SORT_KEY}


def test_a_fence_hides_up_to_its_own_instant_and_no_further() -> None:
    """A row of that very instant is gone, also one written later."""
    entry = merge(a_look(a_row(6)), a_write(a_fence(5, NOW_US)), ROOM)
    for second in (4, 5):
        assert ask(merge(entry, a_write(a_row(second, NOW_US + 1)), ROOM)) == shows(6)
        assert merge(entry, a_write(a_row(second, NOW_US)), ROOM) == entry
    assert ask(merge(entry, a_write(a_row(7, NOW_US)), ROOM)) == shows(7, 6)


def test_an_expired_fence_hides_nothing_written_after_it() -> None:
    """A late event that the store took again is shown from the microsecond the fence ends."""
    ends = NOW_US // SECOND_US + 10
    late = a_write(a_row(3, NOW_US + 1))
    entry = merge(merge(a_look(), a_write(a_fence(5, NOW_US, expires_at=ends)), ROOM), late, ROOM)
    assert ask(entry, now_us=ends * SECOND_US - 1) == shows(exists=False)
    assert ask(entry, now_us=ends * SECOND_US) == shows(3)
    gone = a_look(a_row(3), fence=a_fence(5, expires_at=NOW_US // SECOND_US))
    assert ask(gone) == shows(3)


def test_a_fence_that_is_not_held_asks_for_a_load() -> None:
    """A marker in its place says that something about the whole id is not known here."""
    entry = merge(a_look(a_row(3)), delta(FENCE_SORT_KEY, marker(NOW_US, NOW_US)), ROOM)
    assert ask(entry, 1) is None
    assert set(entry.registers) == {key_of(3), FENCE_SORT_KEY}


def test_a_marker_in_the_way_asks_for_a_load() -> None:
    """Above what is shown, or where more is decided; below it does not matter."""
    look = a_look(a_row(3), a_row(5), a_row(7))
    at = {
        second: merge(look, marker_from_row(a_row(second, NOW_US), now_us=NOW_US), ROOM)
        for second in (2, 5, 8)
    }
    assert ask(at[8], 1) is None
    assert ask(at[8], 1, high=7) == shows(7, more=True)
    assert ask(at[5], 1) is None
    assert ask(at[5], 1, low=6) == shows(7)
    assert ask(at[2], 2) == shows(7, 5, more=True)
    assert ask(at[2], 3) is None
    assert [floor(entry) for entry in at.values()] == [NOW_US] * 3
    assert floor(look) == 0
    reached = merge(at[5], a_write(a_row(5, NOW_US)), ROOM)
    assert ask(reached) == shows(7, 5, more=True)
    assert floor(reached) == 0


def test_the_floor_is_the_highest_revision_not_held() -> None:
    """A load has to reach all of them."""
    markers = [marker_from_row(a_row(second, NOW_US + second), now_us=NOW_US) for second in (3, 5, 4)]
    entry = merge(merge(markers[0], markers[1], ROOM), merge(markers[2], a_look(a_row(9)), ROOM), ROOM)
    assert floor(entry) == NOW_US + 5


def test_a_marker_leaves_open_whether_the_id_exists() -> None:
    """Where nothing else is live, only a load can tell."""
    entry = merge(a_look(), marker_from_row(a_row(3, NOW_US), now_us=NOW_US), ROOM)
    assert ask(entry, low=5) is None


def test_a_hidden_marker_does_not_matter() -> None:
    """Whatever the write under the fence said, it is not shown."""
    late = marker_from_row(a_row(3, NOW_US + 1), now_us=NOW_US)
    entry = merge(merge(a_look(), a_write(a_fence(5, NOW_US)), ROOM), late, ROOM)
    assert ask(entry) == shows(exists=False)


def test_expired_rows_are_never_shown_and_end_the_answer_in_time() -> None:
    """The first expiry among the rows an answer rests on, the one behind more included, is its deadline."""
    second = NOW_US // SECOND_US
    entry = a_look(
        a_row(3, expires_at=second + 5),
        a_row(5, expires_at=second + 20),
        a_row(7, expires_at=second + 10),
        a_row(9),
    )
    assert ask(entry, 1) == shows(9, more=True, valid_until_us=(second + 10) * SECOND_US)
    assert ask(entry, 2, low=5) == shows(9, 7, more=True, valid_until_us=(second + 10) * SECOND_US)
    assert ask(entry, 4) == shows(9, 7, 5, 3, valid_until_us=(second + 5) * SECOND_US)
    at = (second + 5) * SECOND_US
    assert ask(entry, 4, now_us=at) == shows(9, 7, 5, valid_until_us=(second + 10) * SECOND_US)
    assert ask(entry, 1, low=8) == shows(9)


def test_an_id_is_said_to_exist_as_long_as_the_row_that_says_so() -> None:
    """Outside the range too."""
    second = NOW_US // SECOND_US
    entry = a_look(a_row(3, expires_at=second + 5))
    assert ask(entry, low=5) == shows(exists=True, valid_until_us=(second + 5) * SECOND_US)
    assert ask(entry, low=5, now_us=(second + 5) * SECOND_US) == shows(exists=False)


def test_a_row_of_another_writer_comes_and_goes_with_the_looks() -> None:
    """Without a revision it is ordered by when it was seen, and a tombstone before it does not hide it."""
    later = NOW_US + 10 * READ_MARGIN_US
    deleted = merge(a_look(a_row(3)), a_write(a_row(3, NOW_US, deleted=True)), ROOM)
    assert ask(merge(deleted, a_look(a_row(3, revision=1), read_start_us=later), ROOM)) == shows(3)


def test_age_is_counted_from_the_look_behind_the_coverage() -> None:
    """A write renews its register, not the look."""
    look = a_look(a_row(3), read_start_us=NOW_US)
    write = delta_from_row(a_row(5, NOW_US + 5), loaded_at_us=NOW_US + 5)
    assert (write.loaded_at_us, write.trimmed_revision) == (0, 0)
    both = merge(look, write, ROOM)
    assert both.loaded_at_us == NOW_US
    assert both.registers[key_of(5)].loaded_at_us == NOW_US + 5
    assert both.as_of == NOW_US - READ_MARGIN_US
    assert both.registers[key_of(3)].kind is Kind.FOUND


@pytest.mark.parametrize("count", [1, 66, 67, 300])
def test_an_entry_never_outgrows_its_capacity(count: int) -> None:
    """Whatever is merged into it."""
    entry = a_look(*(a_row(second) for second in range(count)), fence=a_fence(-1))
    for second in range(300, 340):
        entry = merge(entry, a_write(a_row(second, NOW_US)), ROOM)
    assert len(entry.registers) == min(count + 40, ROOM) + 1
    assert trim(entry, ROOM) == entry
