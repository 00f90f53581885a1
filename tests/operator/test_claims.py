"""Claims on groupNames: who may have one, what they protect, when they end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.manifests import a_feature_group

from pannier_operator.aws.claim_items import claim_of_item, item_of_claim
from pannier_operator.planning.actions import PutClaim
from pannier_operator.planning.claim_plan import claim_step, plan_shared, unknown_shared_table
from pannier_operator.planning.claims import CLOCK_SKEW, Claim, claim_of, conflict, expiring, renewed
from pannier_operator.planning.deletion import farewell_shared
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.plans import Plan

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_TAGS: frozenset[str] = frozenset()
USABLE = Plan(table=Finding("True", "Ready"), ttl=Finding("True", "Enabled"))


def a_claim(changes: dict[str, Any] | None = None, *, uid: str = "uid-1", timeline: bool = False) -> Claim:
    group = a_feature_group(
        {"storage": {"mode": "Shared", "tableName": "online"}, **(changes or {})}, timeline=timeline
    )
    return claim_of(group, cluster_id="c1", uid=uid, ownership="Claimed")


APPENDED = {"features[2]": {"id": 2, "name": "score", "type": "Float64"}}


def test_the_first_to_come_gets_the_name() -> None:
    """A groupName that nobody has is claimed."""
    step = claim_step(a_claim(), None, "Claimed", NOW, NO_TAGS)
    assert step.action == PutClaim(a_claim(), None)
    assert not step.held


def test_a_held_claim_needs_nothing() -> None:
    """Where the claim says what the spec says, nothing is written."""
    step = claim_step(a_claim(), replace(a_claim(), version=4), "Claimed", NOW, NO_TAGS)
    assert step.held
    assert step.action is None


@pytest.mark.parametrize("field", ["cluster_id", "namespace", "name"])
def test_another_owner_is_refused_with_the_name_of_the_first(field: str) -> None:
    """Another cluster, namespace or resource cannot have the name, also when the first one is gone."""
    held = replace(a_claim(), owner=a_claim().owner._replace(**{field: "other"}))
    step = claim_step(a_claim(), held, "Claimed", NOW, NO_TAGS)
    assert step.refused
    assert step.finding.reason == "GroupNameTaken"
    assert str(held.owner) in step.finding.message
    assert step.action is None


def test_the_same_resource_takes_it_back_in_its_next_life() -> None:
    """A group that was deleted and applied again has its name back, with features appended if it likes."""
    again = a_claim(APPENDED, uid="uid-2")
    step = claim_step(again, a_claim(), "Claimed", NOW, NO_TAGS)
    assert step.action is not None
    assert step.action.claim.uid == "uid-2"
    assert len(step.action.claim.features) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features[1]": {"id": 1, "name": "visits", "type": "Float64"}}, "1: visits (Int64)"),
        ({"features[1]": {"id": 1, "name": "calls", "type": "Int64"}}, "1: visits (Int64)"),
        ({"features": [{"id": 0, "name": "city", "type": "String"}]}, "1: visits (Int64) is stored"),
    ],
)
def test_features_that_rows_are_stored_with_cannot_change(changes: dict[str, Any], words: str) -> None:
    """A re-created group that would read stored values as something else is refused, and told which."""
    refusal = conflict(a_claim(), a_claim(changes), NOW)
    assert refusal is not None
    assert refusal.reason == "SchemaConflict"
    assert words in refusal.message


def test_a_removed_feature_stays_removed_across_lives() -> None:
    """What no rule of the API server can see between two lives of a resource, the claim does."""
    removed = a_claim({"features[1].state": "Removed"})
    refusal = conflict(removed, a_claim(), NOW)
    assert refusal is not None
    assert "was Removed" in refusal.message
    assert conflict(a_claim(), removed, NOW) is None


def test_another_sort_key_is_refused() -> None:
    """Rows of a record group are no rows of a timeline."""
    refusal = conflict(a_claim(), a_claim(timeline=True), NOW)
    assert refusal is not None
    assert refusal.reason == "KeyConflict"


def test_an_expiring_claim_ends_with_the_last_row_that_may_have_been_written() -> None:
    """The longest retention ever in force counts, not the last one."""
    long, short = (
        a_claim({"retention": {"seconds": s, "tombstoneSeconds": 3600}}) for s in (864_000, 86_400)
    )
    held = renewed(long, short, NOW, NO_TAGS)
    assert held.longest_row_seconds == 864_000
    marked = expiring(held, NOW)
    assert marked.ends_at == NOW + timedelta(days=10) + CLOCK_SKEW
    other = replace(short, owner=short.owner._replace(namespace="ads"))
    early = conflict(marked, other, NOW + timedelta(days=9))
    assert early is not None
    assert "until 2026-03-11" in early.message
    assert conflict(marked, other, NOW + timedelta(days=11)) is None


@pytest.mark.parametrize(
    ("changes", "timeline"),
    [({}, False), ({"retention": {"seconds": 86_400, "basis": "EventTime"}}, True)],
    ids=["rows without end", "records may lie in the future"],
)
def test_a_claim_whose_rows_may_never_end_never_ends(changes: dict[str, Any], *, timeline: bool) -> None:
    """Where nothing bounds the end of rows, only an administrator can release the name."""
    marked = expiring(a_claim(changes, timeline=timeline), NOW)
    assert marked.expiring
    assert marked.ends_at is None
    assert not marked.ended(NOW + timedelta(days=10_000))


def test_once_without_end_is_without_end() -> None:
    """A retention that is declared later does not reach rows written before it."""
    held = renewed(a_claim(), a_claim({"retention": {"seconds": 86_400}}), NOW, NO_TAGS)
    assert held.longest_row_seconds is None


def test_taking_an_expiring_claim_back_stops_its_end() -> None:
    """The same resource, applied again before its rows have ended, goes on."""
    claim = a_claim({"retention": {"seconds": 86_400}})
    again = renewed(expiring(claim, NOW), claim, NOW + timedelta(hours=1), NO_TAGS)
    assert not again.expiring
    assert again.ends_at is None


@given(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abcd")))
def test_tags_once_declared_are_remembered_until_they_are_gone(
    before: set[str], now: set[str], found: set[str]
) -> None:
    """What no longer is declared stays known as ours as long as the table has it."""
    held = replace(a_claim(), tag_keys=frozenset(before))
    wanted = replace(a_claim(), tag_keys=frozenset(now))
    keys = renewed(held, wanted, NOW, frozenset(found)).tag_keys
    assert keys == now | (before & found)


@pytest.mark.parametrize("timeline", [False, True])
@pytest.mark.parametrize("changes", [{}, APPENDED, {"retention": {"seconds": 86_400}}])
def test_a_claim_is_stored_whole(changes: dict[str, Any], *, timeline: bool) -> None:
    """An item in DynamoDB's form gives back the claim it was made of."""
    claim = replace(a_claim(changes, timeline=timeline), tag_keys=frozenset("ab"), version=3)
    for stored in (claim, expiring(claim, NOW)):
        assert claim_of_item(stored.group_name, item_of_claim(stored)) == stored


def test_no_row_can_have_the_key_of_a_claim() -> None:
    """A groupName begins with a letter, so ``__claim__`` is nobody's."""
    assert item_of_claim(a_claim())["pk"]["S"] == "__claim__#user_facts"


def test_a_group_waits_for_its_shared_table() -> None:
    """Until the platform's table is usable nothing is claimed in it, and the reason is passed on."""
    plan = plan_shared(a_claim(), None, Plan(table=Finding("False", "Creating", "making it")), NOW)
    assert plan.table.reason == "SharedTableNotReady"
    assert "making it" in plan.table.message
    assert plan.action is None
    assert plan_shared(a_claim(), None, USABLE, NOW).action == PutClaim(a_claim(), None)
    assert unknown_shared_table("x.y").table.reason == "SharedTableUnknown"


def test_expire_marks_the_claim_and_touches_nobody_elses() -> None:
    """Leaving a shared table marks the own claim, once; another's claim is left alone."""
    claim = a_claim({"retention": {"seconds": 86_400}})
    farewell = farewell_shared(claim.owner, claim, NOW)
    assert isinstance(farewell.action, PutClaim)
    assert farewell.action.claim.expiring
    assert not farewell.done
    assert farewell_shared(claim.owner, farewell.action.claim, NOW).done
    other = replace(claim, owner=claim.owner._replace(name="other"))
    assert farewell_shared(claim.owner, other, NOW).done
    assert farewell_shared(claim.owner, None, NOW).done
