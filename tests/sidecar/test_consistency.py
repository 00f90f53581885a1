"""The decisions of a check: `pannier_sidecar.consistency`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan

from pannier_sidecar.consistency import (
    AGES_SECONDS,
    CONFIRM_SECONDS,
    Check,
    Outcome,
    after_l3,
    after_look,
    is_known,
    of_hit,
    of_invalidation,
    stale_for_us,
)
from pannier_sidecar.entry import timeline
from pannier_sidecar.entry.record import Kind, Record, from_row
from pannier_sidecar.errors import TierThrottled
from pannier_sidecar.recent_writes import State
from pannier_sidecar.sampling import PRICE

PLAN = a_plan("clicks")
NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000


def a_state(revision: int, value: str, *, event_time_us: int = 0, loaded_at_us: int = NOW_US) -> Record:
    return Record(Kind.FOUND, revision, loaded_at_us, event_time_us, None, {0: f'"{value}"'.encode()})


OLD, NEW, NEWER = a_state(1, "old"), a_state(2, "new"), a_state(3, "newer")


def a_contradicted(served: State = OLD, truth: State = NEW, age: int = 0) -> Check:
    """Make a check that L3 has contradicted."""
    check = of_hit(PLAN, "a", served, NOW_US)
    assert after_l3(check, PLAN, None, truth, NOW_US) is None
    check.age = age
    return check


def test_a_hit_that_l3_confirms_is_consistent() -> None:
    """By what it shows: a revision without a visible change contradicts nobody."""
    for truth in (OLD, a_state(9, "old")):
        assert after_l3(of_hit(PLAN, "a", OLD, NOW_US), PLAN, None, truth, NOW_US) == "consistent"


def test_a_contradiction_waits_to_be_confirmed() -> None:
    """The write may not be acknowledged yet: it counts if it is there a moment later."""
    check = a_contradicted()
    assert check.due_us == NOW_US + int(CONFIRM_SECONDS * SECOND_US)
    assert check.looks_first


@pytest.mark.parametrize(
    ("standing", "outcome"),
    [
        (OLD, "stale"),
        (a_state(1, "old", loaded_at_us=NOW_US + 1), "stale"),  # taken anew from L2, and no wiser
        (NEW, "overtaken"),
        (NEWER, "overtaken"),
        (None, "overtaken"),
    ],
)
def test_at_once_it_counts_only_where_the_old_answer_still_stands(
    standing: State | None, outcome: Outcome
) -> None:
    """A state that knows of the write, or none, cannot tell whether the hit was wrong when it was served."""
    assert after_look(a_contradicted(), PLAN, standing, NOW_US) == outcome


@pytest.mark.parametrize("age", [1, 2, 3])
def test_later_l3_is_asked_again_only_where_the_caches_lack_what_it_said(age: int) -> None:
    """A cache that has caught up costs no read of L3, also where L3 went on since."""
    for standing in (NEW, NEWER, None):
        assert after_look(a_contradicted(age=age), PLAN, standing, NOW_US) == "consistent"
    check = a_contradicted(age=age)
    assert after_look(check, PLAN, OLD, NOW_US) is None
    assert after_l3(check, PLAN, OLD, NEWER, NOW_US) == "stale"
    assert after_l3(check, PLAN, OLD, a_state(4, "old"), NOW_US) == "consistent"
    assert after_l3(check, PLAN, OLD, TierThrottled("l3", "slow down"), NOW_US) == "unknown"
    assert after_l3(check, PLAN, OLD, None, NOW_US) == "unknown"


@pytest.mark.parametrize(
    ("served", "truth"),
    [
        (a_state(5, "old"), a_state(5, "changed by hand")),
        (a_state(5, "planted in a cache"), a_state(2, "true")),
        (a_state(NOW_US, "removed by hand"), from_row(None, read_start_us=NOW_US)),
    ],
)
def test_no_revision_excuses_the_very_state_that_was_contradicted(served: State, truth: State) -> None:
    """Other writers change L3, and other programs Redis, without a revision that tells."""
    check = a_contradicted(served, truth)
    assert after_look(check, PLAN, served, NOW_US) == "stale"


def test_without_an_answer_of_l3_nothing_is_known() -> None:
    """Unknown is neither consistent nor stale, and the last word of the first look."""
    check = of_hit(PLAN, "a", OLD, NOW_US)
    assert after_l3(check, PLAN, None, TierThrottled("l3", "slow down"), NOW_US) == "unknown"
    assert not check.counted("unknown", NOW_US)


@given(st.lists(st.sampled_from(["stale", "unknown"]), min_size=4, max_size=4))
@settings(deadline=None)
def test_a_contradicted_sample_is_looked_at_after_each_age_and_then_let_go(outcomes: list[Outcome]) -> None:
    """0, 1, 10 and 60 seconds after the hit, however late the looks before came."""
    check = a_contradicted()
    due_us = [check.due_us for outcome in outcomes if check.counted(outcome, check.due_us)]
    assert [(at_us - NOW_US) / SECOND_US for at_us in due_us] == list(AGES_SECONDS[1:])


@pytest.mark.parametrize("outcome", ["consistent", "overtaken"])
def test_what_came_right_is_let_go(outcome: Outcome) -> None:
    """Its later ages are right as well."""
    assert not a_contradicted().counted(outcome, NOW_US)


def test_an_invalidation_is_right_where_caches_know_or_would_load() -> None:
    """Nothing held costs nothing; a state of the revision or above has heard of it."""
    for standing in (None, NEW, NEWER):
        assert after_look(of_invalidation(PLAN, "a", 2, NOW_US), PLAN, standing, NOW_US) == "consistent"
    check = of_invalidation(PLAN, "a", 2, NOW_US)
    assert after_look(check, PLAN, OLD, NOW_US) is None
    assert after_l3(check, PLAN, OLD, NEW, NOW_US) is None  # contradicted, to be confirmed
    assert after_look(check, PLAN, OLD, NOW_US) == "stale"


def test_a_timeline_knows_a_revision_by_its_look_or_by_the_record_itself() -> None:
    """A higher revision of another record proves nothing."""
    entry = timeline.Timeline(100, "", "", 0, NOW_US, {"1": a_state(150, "x"), "2": a_state(90, "y")})
    assert [is_known(entry, revision) for revision in (90, 100, 150, 120, 151)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_how_long_a_hit_was_stale_is_told_where_event_times_tell() -> None:
    """News dated between the look behind the hit and the hit itself; any other date says nothing."""
    served = a_state(1, "old", loaded_at_us=NOW_US - 30 * SECOND_US)
    for event_us, told_us in ((12, 12 * SECOND_US), (30, None), (-1, None)):
        truth = a_state(2, "new", event_time_us=NOW_US - event_us * SECOND_US)
        assert stale_for_us(a_contradicted(served, truth), PLAN) == told_us
    assert stale_for_us(a_contradicted(served, from_row(None, read_start_us=NOW_US)), PLAN) is None


def test_a_sample_pays_beforehand_for_all_it_may_cost() -> None:
    """One read of L3 at each age."""
    assert of_hit(PLAN, "a", OLD, NOW_US).reads_left == PRICE == len(AGES_SECONDS)
