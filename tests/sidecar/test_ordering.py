"""The decision of one write, by its laws: arrival order does not matter, revisions rise, rows stay sound."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan
from tests.last_writer import LastWriter

from pannier.keys import FENCE_SORT_KEY
from pannier_sidecar import ordering
from pannier_sidecar.row import Mode, Put, PutOutcome, Row

PLAN = a_plan(features={f"f{i}": "Int64" for i in range(4)})
TIMELINE = a_plan("clicks_of", timeline=True)
NOW = 1_700_000_000_000_000
LATER = NOW + 1_000_000


def a_put(
    values: dict[int, bytes] | None = None, at: int | None = None, mode: Mode = "merge", **fields: object
) -> Put:
    known: dict[str, object] = {
        "plan": PLAN,
        "id": "1",
        "sort_key": "null",
        "expires_at": None,
        "mode": mode,
        "event_time_us": at,
    }
    return Put(values=values or {}, **{**known, **fields})  # type: ignore[arg-type]


def apply(
    puts: Sequence[Put], old: Row | None = None, now_us: int = NOW
) -> tuple[Row | None, list[PutOutcome]]:
    """Decide puts one after the other, as a store does."""
    outcomes = []
    for put in puts:
        outcome = ordering.decide(old, put, now_us)
        outcomes.append(outcome)
        if outcome.verdict == "written":
            old = outcome.row
    return old, outcomes


features = st.dictionaries(st.integers(0, 3), st.integers(0, 9).map(lambda n: b"%d" % n), max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[Put]:
    """Merges, replaces, unsets and deletes at distinct event times, in order of arrival."""
    times = draw(st.lists(st.integers(1, 40), min_size=1, max_size=7, unique=True))
    puts = []
    for time in times:
        kind = draw(st.sampled_from(["merge", "unset", "replace", "delete"]))
        values = draw(features)
        if kind == "delete":
            puts.append(a_put(at=time, mode="replace", tombstone=True))
        elif kind == "replace":
            puts.append(a_put(values, time, "replace"))
        elif kind == "unset":
            unset = frozenset(draw(st.sets(st.integers(0, 3), min_size=1))) - values.keys()
            puts.append(a_put(values, time, unset=unset or frozenset({0}) - values.keys()))
        else:
            puts.append(a_put(values or {0: b"1"}, time))
    return puts


@settings(deadline=None, max_examples=120)
@given(histories())
def test_the_order_of_arrival_does_not_matter(puts: list[Put]) -> None:
    """Writes with distinct event times come to per-feature last-writer-wins, however they arrive."""
    expected = LastWriter.of(puts)
    for arrival in itertools.islice(itertools.permutations(puts), 0, 5040, 97):
        row, _ = apply(arrival)
        assert row is not None
        assert (row.values, row.deleted) == (expected.values, not expected.exists)


@settings(deadline=None, max_examples=120)
@given(histories().flatmap(lambda puts: st.permutations([*puts, *puts])))
def test_repeats_change_no_value(arrival: list[Put]) -> None:
    """A write may come twice, also long after newer ones."""
    expected = LastWriter.of(arrival)
    row, _ = apply(arrival)
    assert row is not None
    assert (row.values, row.deleted) == (expected.values, not expected.exists)


@settings(deadline=None, max_examples=120)
@given(histories(), st.integers(-(10**7), 10**7))
def test_every_accepted_write_has_a_higher_revision(puts: list[Put], step: int) -> None:
    """Whatever the clock does, and a refusal leaves the row as it was."""
    old: Row | None = None
    now = NOW
    for put in puts:
        outcome = ordering.decide(old, put, now)
        if outcome.verdict == "written":
            assert outcome.row is not None
            assert outcome.row.revision == (old.revision + 1 if old else now + 1)
            old = outcome.row
        else:
            assert outcome.row == old
        now += step


@pytest.mark.parametrize("ago", [0, 1, 86_400_000_000])
@pytest.mark.parametrize("mode", ["merge", "replace", "force"])
def test_a_rewritten_timeline_record_takes_the_clock_as_its_revision(ago: int, mode: Mode) -> None:
    """Caches tell it from what a look at the timeline has seen by that; a revision ahead still rises."""
    put = a_put({0: b"1"}, NOW - ago, mode, plan=TIMELINE)
    for revision, expected in ((NOW - ago, NOW + 1), (NOW + 5, NOW + 6)):
        old = Row("null", revision, NOW - ago, {}, {0: b"0"})
        outcome = ordering.decide(old, put, NOW)
        assert outcome.row is not None
        assert outcome.row.revision == expected


@settings(deadline=None, max_examples=120)
@given(histories())
def test_stored_rows_are_sound(puts: list[Put]) -> None:
    """A tombstone holds nothing, and a stamp of a feature never lies below the row's."""
    row, _ = apply(puts)
    assert row is not None
    assert not (row.deleted and (row.values or row.stamps_us))
    assert all(row.stamp_us(feature) >= row.event_time_us for feature in range(4))


@settings(deadline=None, max_examples=120)
@given(histories(), features.filter(bool))
def test_without_event_time_a_write_is_never_ignored(puts: list[Put], values: dict[int, bytes]) -> None:
    """It comes after everything it touches, also where that is ahead of the clock."""
    row, _ = apply(puts)
    modes: tuple[Mode, ...] = ("merge", "replace", "force")
    for mode in modes:
        outcome = ordering.decide(row, a_put(values, mode=mode), now_us=20)
        assert outcome.verdict == "written"
        assert outcome.row is not None
        assert values.items() <= outcome.row.values.items()
        assert not outcome.ignored
        assert outcome.event_time_us is not None
        assert row is not None
        assert all(outcome.event_time_us > row.stamp_us(feature) for feature in values)


@settings(deadline=None, max_examples=120)
@given(histories(), st.integers(0, 50))
def test_a_refusal_names_no_feature_it_wrote(puts: list[Put], at: int) -> None:
    """Ignored features keep their fragment, the others have the put's."""
    row, _ = apply(puts)
    assert row is not None
    put = a_put({0: b"70", 1: b"71"}, at)
    outcome = ordering.decide(row, put, NOW)
    if outcome.verdict == "written":
        assert outcome.row is not None
        for feature, fragment in put.values.items():
            kept = feature in outcome.ignored
            assert outcome.row.values.get(feature) == (row.values.get(feature) if kept else fragment)
    else:
        assert all(row.stamp_us(feature) > at for feature in put.values)


def test_an_expired_row_gives_only_its_revision() -> None:
    """Its features, stamps and tombstone bind nobody."""
    old = Row("null", 77, NOW, {1: NOW}, {0: b"1", 1: b"2"}, deleted=False, expires_at=NOW // 1_000_000 + 1)
    outcome = ordering.decide(old, a_put({1: b"3"}, 5), LATER)
    assert outcome.row == Row("null", 78, 0, {1: 5}, {1: b"3"})


@pytest.mark.parametrize("mode", ["merge", "replace", "force"])
def test_a_tombstone_refuses_what_lies_below_it(mode: Mode) -> None:
    """Whatever the mode; a tie is accepted, as everywhere."""
    tombstone, _ = apply([a_put(at=50, mode="replace", tombstone=True)])
    below = ordering.decide(tombstone, a_put({0: b"1"}, 49, mode), NOW)
    assert (below.verdict, below.row, below.reason) == ("ignored_deleted", tombstone, "Deleted")
    assert ordering.decide(tombstone, a_put({0: b"1"}, 50, mode), NOW).verdict == "written"


def test_force_leaves_the_stamp_of_the_value_it_wrote() -> None:
    """A backfill lowers the row's event time to its own, so that later events of that past still count."""
    row, _ = apply([a_put({0: b"1"}, 90), a_put({0: b"2"}, 10, "force")])
    assert row is not None
    assert (row.values, row.stamps_us) == ({0: b"2"}, {0: 10})


def test_a_foreign_row_starts_at_the_clock() -> None:
    """Revision 1 would lose against every observation of its absence."""
    foreign = Row("null", ordering.FOREIGN_REVISION, 0, {}, {0: b"1"})
    outcome = ordering.decide(foreign, a_put({1: b"2"}, 0), NOW)
    assert outcome.row is not None
    assert (outcome.row.revision, outcome.row.values) == (NOW + 1, {0: b"1", 1: b"2"})


def test_a_put_that_would_be_expired_is_refused_outright() -> None:
    """Also where something is stored, which stays."""
    put = a_put({0: b"1"}, expires_at=NOW // 1_000_000)
    outcome = ordering.refused_outright(put, NOW)
    assert outcome is not None
    assert outcome.verdict == "ignored_expired"
    assert ordering.refused_outright(put, NOW - 1) is None
    assert ordering.decide(None, put, NOW) == outcome


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        ({0: b"1"}, {0: b"2"}, True),
        ({0: b"1"}, {0: b"1"}, False),
        ({0: b"1"}, {0: b"1", 1: b"1"}, True),
        (None, {0: b"1"}, False),
    ],
)
def test_a_record_of_the_same_instant_with_other_features_is_reported(
    old: dict[int, bytes] | None, new: dict[int, bytes], *, replaced: bool
) -> None:
    """Only on timelines without a tie-breaker, where two events may have met."""
    tied = a_plan("tied", timeline=True, tie_breaker="count")
    for plan, expected in ((TIMELINE, replaced), (tied, False), (PLAN, False)):
        sort_key = "null" if plan is PLAN else "0000000005"
        fields = {"plan": plan, "sort_key": sort_key, "mode": "replace", "at": 5_000_000}
        row = None if old is None else apply([a_put(old, **fields)])[0]  # type: ignore[arg-type]
        assert ordering.decide(row, a_put(new, **fields), NOW).replaced is expected  # type: ignore[arg-type]


def test_a_fence_refuses_in_its_own_name() -> None:
    """The refusal brings the fence, for caches to take in."""
    fence = Row(FENCE_SORT_KEY, 9, 50, {}, {}, deleted=True)
    outcome = ordering.under_fence(fence, a_put({0: b"1"}, 5))
    assert (outcome.verdict, outcome.row, outcome.event_time_us) == ("ignored_deleted", fence, 5)


def test_a_write_that_names_nothing_is_invalid() -> None:
    """Unless it speaks for every feature: then it clears them all."""
    for put in (a_put(), a_put(mode="force")):
        outcome = ordering.decide(None, put, NOW)
        assert (outcome.verdict, outcome.reason) == ("invalid", "NothingToWrite")
    for put in (a_put(mode="replace"), a_put(mode="force", plan=TIMELINE), a_put(unset=frozenset({1}))):
        assert ordering.decide(None, put, NOW).verdict == "written"


def test_without_event_time_a_write_comes_after_what_it_touches_and_no_later() -> None:
    """Named features count for a partial one, unset ones too; every stamp counts for a full one."""
    row = Row("null", 5, 10, {0: NOW + 100, 1: NOW + 7}, {0: b"1", 1: b"2", 2: b"3"})
    stamps = [
        (a_put({2: b"0"}), NOW),
        (a_put({1: b"0", 2: b"0"}), NOW + 8),
        (a_put({1: b"0"}, unset=frozenset({0})), NOW + 101),
        (a_put({2: b"0"}, mode="replace"), NOW + 101),
        (a_put(mode="replace", tombstone=True), NOW + 101),
    ]
    for put, stamp in stamps:
        assert ordering.decide(row, put, NOW).event_time_us == stamp
        assert ordering.decide(None, put, NOW).event_time_us == NOW


@pytest.mark.parametrize(
    ("basis", "at", "promised", "left"),
    [
        ("EventTime", 99, 50, 100),
        ("EventTime", 99, 150, 150),
        ("EventTime", 100, 50, 50),
        ("WriteTime", 99, 50, 50),
    ],
)
def test_a_late_write_never_shortens_what_newer_features_were_promised(
    basis: str, at: int, promised: int, left: int
) -> None:
    """Where lifetimes count from the event; a write that is not late says how long the row lives."""
    plan = a_plan(retention=3_600, retention_basis=basis)
    put = a_put({1: b"2"}, at, plan=plan, expires_at=NOW + promised)
    old = Row("null", 5, 0, {0: 100}, {0: b"1"}, expires_at=NOW + 100)
    outcome = ordering.decide(old, put, NOW)
    assert outcome.row is not None
    assert outcome.row.expires_at == NOW + left
    for other, full in ((None, put), (old, a_put({1: b"2"}, at, "replace", plan=plan, expires_at=NOW + 50))):
        outcome = ordering.decide(other, full, NOW)
        assert outcome.row is not None
        assert outcome.row.expires_at == full.expires_at


def test_a_late_delete_leaves_newer_features_and_their_lifetime() -> None:
    """What is newer than the delete stays a row; where nothing is, a tombstone that ends like one."""
    old = Row("null", 5, 10, {0: 100, 1: 20}, {0: b"1", 1: b"2", 2: b"3"}, expires_at=LATER)
    late, later = (a_put(at=at, mode="replace", tombstone=True, expires_at=NOW) for at in (50, 100))
    outcome = ordering.decide(old, late, NOW)
    assert outcome.row == Row("null", 6, 50, {0: 100}, {0: b"1"}, expires_at=LATER)
    assert outcome.ignored == {0}
    assert ordering.decide(old, later, NOW).row == Row("null", 6, 100, {}, {}, deleted=True, expires_at=NOW)


def test_an_older_write_is_told_so() -> None:
    """With the row that is newer, and the stamp it would have had."""
    row = Row("null", 5, 50, {}, {0: b"1"})
    modes: tuple[Mode, ...] = ("merge", "replace")
    for mode in modes:
        outcome = ordering.decide(row, a_put({0: b"2"}, 49, mode), NOW)
        assert (outcome.verdict, outcome.reason, outcome.row) == ("ignored_older", "Older", row)
        assert outcome.event_time_us == 49


def test_what_takes_the_place_of_a_deleted_record_replaces_none() -> None:
    """Neither does the delete itself, nor a write of single features."""
    fields = {"plan": TIMELINE, "sort_key": "0000000005", "at": 5_000_000}
    stored, _ = apply([a_put({0: b"1"}, mode="replace", **fields)])  # type: ignore[arg-type]
    delete = a_put(mode="replace", tombstone=True, **fields)  # type: ignore[arg-type]
    assert not ordering.decide(stored, delete, NOW).replaced
    assert not ordering.decide(stored, a_put({0: b"2"}, **fields), NOW).replaced  # type: ignore[arg-type]
    deleted, _ = apply([delete], stored)
    assert not ordering.decide(deleted, a_put({0: b"2"}, mode="replace", **fields), NOW).replaced  # type: ignore[arg-type]
