"""What entries show, and when one knows all that another says: `pannier_sidecar.views`."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan
from tests.sidecar.timeline_history import SECOND_US, START_US, History

from pannier.keys import FENCE_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.recent_writes import State, merged
from pannier_sidecar.views import NOTHING, knows_all_of, view

RECORDS = a_plan("clicks")
TIMELINES = a_plan("trips", timeline=True, width=9, max_limit=4, default_limit=2)
NOW_US = 1_700_000_000_000_000


def a_state(
    revision: int, value: str = "x", *, kind: Kind = Kind.FOUND, expires_at: int | None = None
) -> Record:
    values = {0: f'"{value}"'.encode()} if kind is Kind.FOUND else {}
    return Record(kind, revision, NOW_US, NOW_US, expires_at, values)


@pytest.mark.parametrize("kind", [Kind.MISSING, Kind.TOMBSTONE])
def test_missing_deleted_and_expired_rows_show_the_same_nothing(kind: Kind) -> None:
    """A client cannot tell why there is no row, so neither does a comparison."""
    assert view(RECORDS, a_state(1, kind=kind), NOW_US) == NOTHING
    assert view(RECORDS, a_state(1, expires_at=NOW_US // 1_000_000), NOW_US) == NOTHING


def test_a_marker_shows_that_a_read_would_load() -> None:
    """It is no answer."""
    assert view(RECORDS, record.marker(5, NOW_US), NOW_US) is None
    assert view(TIMELINES, timeline.delta(FENCE_SORT_KEY, record.marker(5, NOW_US)), NOW_US) is None


def test_only_served_features_are_compared() -> None:
    """A value under an id that this catalog does not serve is seen by nobody."""
    shown = view(RECORDS, Record(Kind.FOUND, 1, 0, 0, None, {0: b'"x"', 99: b"\x00opaque"}), NOW_US)
    assert shown is not None
    assert shown.shows_same(view(RECORDS, a_state(7), NOW_US) or NOTHING)
    assert not shown.is_same(view(RECORDS, a_state(7), NOW_US) or NOTHING)


revisions = st.integers(1, 4)
states = st.builds(
    lambda revision, kind: a_state(revision, str(revision), kind=kind), revisions, st.sampled_from(Kind)
)


@settings(deadline=None)
@given(states, states)
def test_what_was_merged_is_known(a: Record, b: Record) -> None:
    """An entry that has taken another in learns nothing from it."""
    united = merged(RECORDS, a, b) or b
    assert view(RECORDS, united, NOW_US) is None or knows_all_of(RECORDS, united, b, NOW_US)


def test_an_older_state_does_not_know_a_newer_one_that_shows_something_else() -> None:
    """By revision; where both show the same there is nothing to know."""
    assert not knows_all_of(RECORDS, a_state(1, "old"), a_state(2, "new"), NOW_US)
    assert knows_all_of(RECORDS, a_state(2, "new"), a_state(1, "old"), NOW_US)
    assert knows_all_of(RECORDS, a_state(1, "same"), a_state(2, "same"), NOW_US)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_a_timeline_that_heard_everything_knows_every_look_at_l3(seed: int, steps: int) -> None:
    """Law: no strong look contradicts an entry that heard all later writes, in whatever order."""
    dice, history = random.Random(seed), History(capacity=20)
    for _ in range(steps):
        history.step(dice)
    history._read(20, LOWEST_SORT_KEY, behind_us=0)
    look = history.handed[-1].entry
    for _ in range(dice.randrange(4)):
        history.step(dice)
    handed = [one.entry for one in history.handed]
    dice.shuffle(handed)
    held: State | None = None
    for entry in handed:
        held = merged(TIMELINES, held, entry)
    assert held is not None
    now_us = history.now_us + dice.choice((0, 40 * SECOND_US))
    if view(TIMELINES, held, now_us) is not None:
        assert knows_all_of(TIMELINES, held, look, now_us)


def test_a_timeline_that_lacks_a_record_does_not_know() -> None:
    """The newest revision held says nothing about another record that was never heard of."""

    def entry(*seconds: int) -> timeline.Timeline:
        registers = {
            f"{second:09d}": Record(Kind.FOUND, START_US + second, START_US, second, None, {0: b'"x"'})
            for second in seconds
        }
        return timeline.Timeline(START_US - 60, "", "", 0, START_US, registers)

    assert not knows_all_of(TIMELINES, entry(1, 9), entry(1, 5), START_US)
    shown = view(TIMELINES, entry(1, 5, 9), START_US)
    assert shown is not None
    assert [one.sort_key for one in shown.records] == ["000000009", "000000005"]
    older = view(TIMELINES, entry(1, 9), START_US)
    assert older is not None
    assert [news.sort_key for news in shown.news_over(older)] == ["000000005"]
