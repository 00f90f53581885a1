"""What an edit leaves behind of the policy before: `pannier_sidecar.policy_past` and who asks it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import a_catalog, a_group, a_plan, a_policy

from pannier.policy import CachePolicy
from pannier_sidecar.entry.lifetime import is_kept_too_short
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.policy_past import NO_PAST, SKEW_US, PolicyPast, past_of
from pannier_sidecar.tiers.l1_entry import remote_deadlines

NOW_US = 1_700_000_000_000_000
SECOND = 1_000_000
SHORT, LONG = a_policy(hard=60, stale_if_error=0), a_policy(hard=900, stale_if_error=100)


def found(loaded_at_us: int, kind: Kind = Kind.FOUND) -> Record:
    """A row that L3 said then."""
    return Record(kind, 7, loaded_at_us, 7, None)


def too_short(past: PolicyPast, policy: CachePolicy, loaded_at_us: int, now_us: int, **kind: Any) -> bool:
    """Whether Redis keeps it too short."""
    return is_kept_too_short(found(loaded_at_us, **kind), policy, past, now_us)


def test_what_was_dead_at_an_edit_stays_dead_and_what_lived_lives_on() -> None:
    """To the microsecond of the old hard deadline, however long the new TTL is."""
    plan = GroupPlan(a_group(policy=LONG), past_of(SHORT, NO_PAST, NOW_US))
    dead, alive = NOW_US - 60 * SECOND, NOW_US - 60 * SECOND + 1
    assert remote_deadlines(plan, dead, 0, negative=False).hard_us == NOW_US
    assert remote_deadlines(plan, alive, 0, negative=False).hard_us == alive + 900 * SECOND


def test_the_dead_of_every_earlier_edit_stay_dead() -> None:
    """A long TTL, a short one for a moment, and the long one again."""
    past = past_of(LONG, NO_PAST, NOW_US)
    past = past_of(SHORT, past, NOW_US + 10 * SECOND)
    assert past.dead_loaded_us == NOW_US - 50 * SECOND
    assert past_of(LONG, past, NOW_US + 20 * SECOND).dead_loaded_us == NOW_US - 50 * SECOND


def test_redis_is_told_again_of_what_the_shorter_policy_told_it() -> None:
    """Entries of before the edit, and of sidecars that got it later, as long as there can be any."""
    past = past_of(SHORT, NO_PAST, NOW_US)
    assert too_short(past, LONG, NOW_US, NOW_US + 1)
    assert too_short(past, LONG, NOW_US + SKEW_US, NOW_US + SKEW_US)
    assert not too_short(past, LONG, NOW_US + SKEW_US + 1, NOW_US + SKEW_US + 1)
    assert too_short(past, LONG, NOW_US, NOW_US + 60 * SECOND + SKEW_US - 1)
    assert not too_short(past, LONG, NOW_US, NOW_US + 60 * SECOND + SKEW_US)


def test_nothing_is_told_again_where_it_need_not_be() -> None:
    """Without an edit, after a shortening one, and of markers, which live as long under either."""
    assert not too_short(NO_PAST, LONG, NOW_US, NOW_US)
    assert not too_short(past_of(LONG, NO_PAST, NOW_US), SHORT, NOW_US, NOW_US)
    assert not too_short(past_of(SHORT, NO_PAST, NOW_US), LONG, NOW_US, NOW_US, kind=Kind.MARKER)
    longer_negatives = a_policy(hard=60, stale_if_error=0, negative=30)
    assert too_short(past_of(SHORT, NO_PAST, NOW_US), longer_negatives, NOW_US, NOW_US, kind=Kind.MISSING)


def test_of_two_edits_the_shorter_policy_is_remembered_while_its_entries_may_live() -> None:
    """Short, longer, longest within a minute: entries of the short one are still told again."""
    past = past_of(SHORT, NO_PAST, NOW_US)
    soon = past_of(LONG, past, NOW_US + SECOND)
    assert soon.policy is SHORT
    assert soon.edited_at_us == NOW_US + SECOND
    assert past_of(LONG, past, NOW_US + SKEW_US + 60 * SECOND).policy is LONG
    assert past_of(SHORT, past_of(LONG, NO_PAST, NOW_US), NOW_US + SECOND).policy is SHORT


def test_the_shorter_policy_is_the_one_that_redis_was_told_less_time_by() -> None:
    """What is kept for outages counts: 60 s and 100 s for outages are more than 100 s and 20 s."""
    patient, strict = a_policy(hard=60, stale_if_error=100), a_policy(hard=100, stale_if_error=20)
    past = past_of(strict, NO_PAST, NOW_US)
    last_gone_us = NOW_US + SKEW_US + 120 * SECOND
    assert past_of(patient, past, last_gone_us - 1).policy is strict
    assert past_of(patient, past, last_gone_us).policy is patient
    assert past_of(patient, past, last_gone_us + 86_400 * SECOND).policy is patient
    assert past_of(strict, past_of(patient, NO_PAST, NOW_US), NOW_US + SECOND).policy is strict


def test_only_groups_that_changed_get_a_new_plan() -> None:
    """Entries are held by their group's plan, so an edit elsewhere is no event for them."""
    before = ReadPlan(a_catalog(a_group("a"), a_group("b"), a_group("c")))
    after = ReadPlan(a_catalog(a_group("a"), a_group("b", soft=9), a_group("d")), before, NOW_US)
    assert after.groups["a"] is before.groups["a"]
    assert after.groups["b"].past == PolicyPast(NOW_US - 60 * SECOND, NOW_US, before.groups["b"].policy)
    assert after.groups["d"].past == NO_PAST
    assert "c" not in after.groups


@pytest.mark.parametrize("plan", [a_plan(), ReadPlan(a_catalog(a_group())).groups["clicks"]])
def test_a_first_plan_has_no_past(plan: GroupPlan) -> None:
    """A sidecar that starts believes what the policy says."""
    assert plan.past is NO_PAST
