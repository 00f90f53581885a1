"""The order of observed states of one item: `pannier_sidecar.entry.record`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier_sidecar.entry.record import READ_MARGIN_US, Kind, Record, from_row, is_newer, marker, merge
from pannier_sidecar.row import Row

NOW_US = 1_700_000_000_000_000


def a_state(kind: Kind = Kind.FOUND, revision: int = 10, loaded_at_us: int = 100) -> Record:
    """Make a state whose payload follows from what identifies it, as it does in a store."""
    values = {0: f'"{revision}/{loaded_at_us}"'.encode()} if kind is Kind.FOUND else {}
    return Record(kind, revision, loaded_at_us, revision, None, values)


def a_row(revision: int = 10, *, deleted: bool = False, expires_at: int | None = None) -> Row:
    return Row("null", revision, 5, {2: 9}, {0: b"1", 7: b"\x00opaque"}, deleted, expires_at)


states = st.builds(a_state, st.sampled_from(Kind), st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None)
@given(states, states, states)
def test_merge_is_commutative_associative_and_idempotent(a: Record, b: Record, c: Record) -> None:
    """Whatever the order, grouping and repetition of arrivals, the same state wins."""
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)
    assert merge(None, a) == a


@settings(deadline=None)
@given(states, states)
def test_is_newer_is_a_strict_order(a: Record, b: Record) -> None:
    """Two different states are never both newer, and nothing is newer than itself."""
    assert not is_newer(a, a)
    assert is_newer(a, b) + is_newer(b, a) == (a != b)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("other", Kind)
def test_the_higher_revision_wins_whatever_the_kinds_and_times(kind: Kind, other: Kind) -> None:
    """Neither a later look nor another kind helps an older revision."""
    older, newer = a_state(kind, 10, 999), a_state(other, 11, 1)
    assert merge(older, newer) is newer
    assert merge(newer, older) is newer


def test_a_later_look_at_the_same_revision_renews_with_its_payload() -> None:
    """An unchanged revision read again renews its deadline, and the payload comes with it."""
    first, again = a_state(loaded_at_us=100), a_state(loaded_at_us=101)
    assert merge(first, again) is again
    assert merge(again, first) is again


def test_a_held_state_resolves_the_marker_of_its_revision_whoever_has_the_later_clock() -> None:
    """A marker asks for its revision: a state that reached it replaces it, a later marker undoes nothing."""
    asked = marker(10, NOW_US + 5_000_000)
    for kind in (Kind.FOUND, Kind.TOMBSTONE):
        reached = a_state(kind, 10, NOW_US)
        assert merge(asked, reached) is reached
        assert merge(reached, asked) is reached


def test_a_marker_beats_every_older_state() -> None:
    """A slow backfill of an older state cannot replace the sign of a newer one."""
    assert merge(a_state(revision=9, loaded_at_us=10**18), marker(10, 1)).kind is Kind.MARKER


def test_missing_replaces_an_earlier_life_and_loses_to_a_write_since() -> None:
    """A row that left the store without a tombstone leaves the caches; a write within the margin stays."""
    missing = from_row(None, read_start_us=NOW_US)
    assert missing.kind is Kind.MISSING
    assert missing.revision == NOW_US - READ_MARGIN_US == NOW_US - 60_000_000
    earlier = from_row(a_row(NOW_US - READ_MARGIN_US - 1), read_start_us=NOW_US - READ_MARGIN_US)
    since = from_row(a_row(NOW_US - READ_MARGIN_US + 1), read_start_us=NOW_US - READ_MARGIN_US + 1)
    assert merge(earlier, missing) is missing
    assert merge(missing, since) is since


def test_a_row_without_a_revision_replaces_a_missing_seen_before_it_was_put_there() -> None:
    """Rows of other writers are ordered by when they were looked at, like Missing."""
    missing = from_row(None, read_start_us=NOW_US)
    found = from_row(a_row(revision=1), read_start_us=NOW_US + 1)
    written = from_row(a_row(revision=NOW_US), read_start_us=NOW_US)
    assert merge(missing, found) is found
    assert merge(found, missing) is found
    assert merge(found, written) is written


def test_any_revision_the_store_gave_is_kept() -> None:
    """Only its absence, which reads as 1, is filled in."""
    assert from_row(a_row(revision=2), read_start_us=NOW_US).revision == 2
    assert from_row(a_row(revision=1), read_start_us=NOW_US).revision == NOW_US - 60_000_000
    assert marker(7, NOW_US) == Record(Kind.MARKER, 7, NOW_US, 0, None, {})


def test_from_row_takes_over_what_caches_need() -> None:
    """Unknown features stay, the newest stamp is the event time, a tombstone has no values."""
    found = from_row(a_row(expires_at=77), read_start_us=NOW_US)
    assert found == Record(Kind.FOUND, 10, NOW_US, 9, 77, {0: b"1", 7: b"\x00opaque"})
    gone = from_row(a_row(deleted=True, expires_at=77), read_start_us=NOW_US)
    assert gone == Record(Kind.TOMBSTONE, 10, NOW_US, 9, 77, {})


def test_a_found_row_lives_until_the_microsecond_it_expires() -> None:
    """Expiry is exact and belongs to found rows alone."""
    found = from_row(a_row(expires_at=50), read_start_us=1)
    assert found.is_live(49_999_999)
    assert not found.is_live(50_000_000)
    assert found.valid_until_us == 50_000_000
    assert from_row(a_row(), read_start_us=1).valid_until_us is None
    tombstone = from_row(a_row(deleted=True, expires_at=50), read_start_us=1)
    assert not tombstone.is_live(0)
    assert tombstone.valid_until_us is None
