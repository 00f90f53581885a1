"""What the webhook says of one request: refused only what the operator would refuse, in its words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.manifests import a_manifest

from pannier_operator.admission.asking import Ask, Neighbour, ask_of, neighbour_of
from pannier_operator.admission.review import Review, ReviewInvalid, answer, read_review
from pannier_operator.admission.verdict import Known, Verdict, decide
from pannier_operator.planning.findings import Finding

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SHARED = {"storage": {"mode": "Shared", "tableName": "features-online"}}
PREFIX = "pannier"


def an_object(
    name: str, changes: dict[str, Any] | None = None, *, created: str = "2026-04-01T00:00:00Z", **status: Any
) -> dict[str, Any]:
    """A FeatureGroup as the API server has it."""
    namespace, _, short = name.rpartition("/")
    made = a_manifest(changes)
    made["metadata"] |= {
        "name": short,
        "namespace": namespace or "shop",
        "uid": f"uid-{name}",
        "creationTimestamp": created,
    }
    return {**made, "status": status} if status else made


ACCEPTED: dict[str, Any] = {
    "conditions": [{"type": "SchemaAccepted", "status": "True", "reason": "Accepted"}],
    "config": {"revision": 1, "hash": "x", "namespaces": 1},
}


def a_neighbour(name: str, changes: dict[str, Any] | None = None, **status: Any) -> Neighbour:
    """A group that was there before."""
    found = neighbour_of(
        an_object(name, changes, created="2026-01-01T00:00:00Z", **(status or ACCEPTED)), PREFIX
    )
    assert found is not None
    return found


def an_ask(new: dict[str, Any], old: dict[str, Any] | None = None) -> Ask:
    """A request that asks for something."""
    ask = ask_of(new, old, PREFIX)
    assert ask is not None
    return ask


def judged(ask: Ask, *neighbours: Neighbour, **known: Any) -> Verdict:
    """The verdict with these around."""
    return decide(ask, Known(cluster_id="here", neighbours=neighbours, **known), NOW)


def test_a_name_that_is_claimed_in_the_shared_table_is_refused() -> None:
    """Two groups cannot own one prefix; the owner is named, in the words of the condition."""
    verdict = judged(an_ask(an_object("ads/facts", SHARED)), a_neighbour("shop/user-facts", SHARED))
    assert verdict.refusal == Finding(
        "False",
        "GroupNameTaken",
        "user_facts is claimed in this table by shop/user-facts of cluster here",
    )


@pytest.mark.parametrize(
    "other",
    [
        a_neighbour("shop/user-facts", {"storage": {"mode": "Shared", "tableName": "features-cold"}}),
        a_neighbour("shop/user-facts"),
        a_neighbour("shop/user-facts", SHARED, conditions=[{"type": "SchemaAccepted", "status": "False"}]),
        a_neighbour("shop/user-facts", SHARED, conditions=[]),
    ],
    ids=["another table", "its own table", "refused itself", "not looked at yet"],
)
def test_who_holds_no_claim_there_is_in_nobodys_way(other: Neighbour) -> None:
    """A group that was refused itself must not keep the rightful owner from coming back."""
    assert judged(an_ask(an_object("ads/facts", SHARED)), other) == Verdict()


def test_a_second_group_of_the_name_in_one_catalog_is_refused() -> None:
    """The older keeps the name in its namespace, whatever the tables."""
    verdict = judged(an_ask(an_object("shop/second")), a_neighbour("shop/first"))
    assert verdict.refusal == Finding(
        "False", "GroupNameTaken", "in namespace shop the groupName is shop/first's"
    )
    assert judged(an_ask(an_object("shop/second")), a_neighbour("ads/first")) == Verdict()


def test_a_grant_into_a_catalog_that_has_the_name_is_refused() -> None:
    """A consumer's own group is not displaced, and neither is an older grant."""
    grant = {"consumers": [{"namespace": "ads", "access": "Read"}]}
    for other in (a_neighbour("ads/own"), a_neighbour("crm/older", grant)):
        verdict = judged(an_ask(an_object("shop/newer", grant)), other)
        assert verdict.refusal is not None
        assert verdict.refusal.message == f"in namespace ads the groupName is {other.entry.key}'s"


def test_a_namespaces_own_group_may_take_the_name_from_a_grant() -> None:
    """As the catalogs do it: nobody's grant keeps a namespace from its own group."""
    grant = {"consumers": [{"namespace": "ads", "access": "Read"}]}
    assert judged(an_ask(an_object("ads/own")), a_neighbour("shop/older", grant)) == Verdict()


def test_a_group_on_its_way_out_holds_its_claim_and_no_catalog() -> None:
    """It is withdrawn from catalogs at once; its claim outlives it."""
    leaving = an_object("shop/first", SHARED, **ACCEPTED)
    leaving["metadata"]["deletionTimestamp"] = "2026-04-30T00:00:00Z"
    other = neighbour_of(leaving, PREFIX)
    assert other is not None
    assert judged(an_ask(an_object("shop/second")), other) == Verdict()
    assert judged(an_ask(an_object("shop/second", SHARED)), other).refusal is not None


def test_consumers_without_a_namespace_are_a_warning() -> None:
    """A grant may come before the namespace: the group works all the same, so nothing is refused."""
    ask = an_ask(an_object("shop/facts", {"consumers": [{"namespace": "ads"}, {"namespace": "crm"}]}))
    assert judged(ask, missing=frozenset({"ads"})) == Verdict(
        warnings=("NamespaceMissing: these consumers have no namespace: ads",)
    )


def test_a_consumer_outside_the_operators_namespaces_is_refused() -> None:
    """A restricted operator cannot publish there; the condition would be PublishFailed for ever."""
    ask = an_ask(an_object("shop/facts", {"consumers": [{"namespace": "ads"}]}))
    refusal = judged(ask, scope=("shop", "crm")).refusal
    assert refusal is not None
    assert refusal.reason == "PublishFailed"
    assert "does not publish in namespace ads (--namespaces)" in refusal.message


def test_an_edit_asks_only_for_what_it_adds() -> None:
    """A group that is refused already stays editable, also in order to mend it."""
    before = an_object("shop/second", {"consumers": [{"namespace": "ads"}]})
    assert ask_of(an_object("shop/second", {"description": "new words"}), before, PREFIX) is None
    more = {"consumers": [{"namespace": "ads"}, {"namespace": "crm"}]}
    ask = an_ask(an_object("shop/second", more), before)
    assert ask.namespaces == ("crm",)
    assert ask.shared_table is None
    assert judged(ask, a_neighbour("shop/first")) == Verdict()
    assert judged(ask, a_neighbour("crm/own")).refusal is not None


def test_a_group_that_is_taken_up_again_asks_for_everything() -> None:
    """Paused and observed groups ask for nothing; with Full they do."""
    paused = an_object("shop/second", {**SHARED, "managementPolicy": "Paused"})
    assert ask_of(paused, None, PREFIX) is None
    ask = an_ask(an_object("shop/second", SHARED), paused)
    assert (ask.shared_table, ask.namespaces) == ("features-online", ("shop",))


def test_what_other_rules_judge_is_let_pass() -> None:
    """A spec that cannot be read is the API server's to refuse; an object on its way out is nobody's."""
    assert ask_of(an_object("shop/x", {"groupName": "a#b"}), None, PREFIX) is None
    leaving = an_object("shop/x")
    leaving["metadata"]["deletionTimestamp"] = "2026-04-30T00:00:00Z"
    assert ask_of(leaving, an_object("shop/x", {"managementPolicy": "Paused"}), PREFIX) is None


def test_an_object_without_times_is_the_newest() -> None:
    """Whatever fills them in comes later: it wins nothing by that."""
    fresh = an_object("shop/second")
    del fresh["metadata"]["uid"], fresh["metadata"]["creationTimestamp"]
    assert judged(an_ask(fresh), a_neighbour("shop/first")).refusal is not None


def a_review(**changes: Any) -> bytes:
    request = {"uid": "1", "operation": "CREATE", "object": an_object("shop/x"), "oldObject": None}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | changes}
    return json.dumps(review).encode()


def test_a_review_is_read_and_answered() -> None:
    """A refusal carries its reason as kubectl prints it; a pass carries nothing but warnings."""
    assert read_review(a_review()) == Review("1", "CREATE", an_object("shop/x"))
    refused = answer("1", Verdict(Finding("False", "GroupNameTaken", "it is theirs")))
    assert refused["response"] == {
        "uid": "1",
        "allowed": False,
        "status": {"code": 403, "reason": "GroupNameTaken", "message": "GroupNameTaken: it is theirs"},
    }
    assert answer("2", Verdict(warnings=("mind",)))["response"] == {
        "uid": "2",
        "allowed": True,
        "warnings": ["mind"],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"kind": "AdmissionReview"}',
        a_review(operation="PAINT"),
        a_review(object={"spec": {}}),
        a_review().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
    ],
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    """Garbage is told as such, and never as a verdict."""
    with pytest.raises(ReviewInvalid):
        read_review(body)


def reading(name: str, group: str, *, created: bool = True) -> dict[str, Any]:
    """A computed group that reads another."""
    on_demand = {
        "service": {"name": "scores", "port": 8080},
        "inputs": [{"name": "of", "group": group, "features": ["city"]}],
    }
    changes = {"groupName": name, "storage": {"mode": "None"}, "onDemand": on_demand}
    return an_object(f"shop/{name}", changes, **(ACCEPTED if created else {}))


def with_all(ask: Ask, *others: dict[str, Any]) -> Verdict:
    """The verdict where these are the groups there are."""
    found = [neighbour_of(other, PREFIX) for other in others]
    return judged(ask, readable=tuple(one.entry for one in found if one is not None))


def test_inputs_that_would_form_a_cycle_are_refused() -> None:
    """By a new group and by an edit, in the words that the operator would tell."""
    closing = an_ask(reading("a", "c", created=False))
    refusal = with_all(closing, reading("b", "a"), reading("c", "b")).refusal
    assert isinstance(refusal, Finding)
    assert refusal.reason == "InputCycle"
    assert "a -> c -> b -> a" in refusal.message
    edited = an_ask(reading("a", "b"), reading("a", "stored"))
    assert with_all(edited, reading("b", "a")).refusal is not None


def test_an_input_that_is_not_there_yet_is_no_reason_to_refuse() -> None:
    """Files come in any order; the operator tells until it is there."""
    assert with_all(an_ask(reading("a", "later", created=False))).refusal is None


def test_an_edit_that_leaves_inputs_as_they_were_asks_nothing_of_them() -> None:
    """A group in a cycle that got there must stay editable."""
    assert ask_of(reading("a", "b"), reading("a", "b"), PREFIX) is None


def test_an_input_that_is_not_there_yet_hides_no_cycle() -> None:
    """What no group to come can mend is told before what one can."""
    both = reading("a", "b", created=False)
    both["spec"]["onDemand"]["inputs"].append({"name": "gone", "group": "gone", "features": ["city"]})
    both["spec"]["onDemand"]["inputs"].reverse()
    refusal = with_all(an_ask(both), reading("b", "a")).refusal
    assert isinstance(refusal, Finding)
    assert refusal.reason == "InputCycle"


def test_a_grant_that_would_close_a_cycle_elsewhere_is_refused() -> None:
    """The groups of each namespace are another graph: an edit of consumers alone may close one."""
    granted = {"consumers": [{"namespace": "ads", "access": "Read"}]}
    before, there = reading("a", "b"), reading("b", "a")
    after = {**before, "spec": {**before["spec"], **granted}}
    there["metadata"] |= {"namespace": "ads", "uid": "uid-ads/b"}
    refusal = with_all(an_ask(after, before), there).refusal
    assert isinstance(refusal, Finding)
    assert refusal.reason == "InputCycle"
    assert "namespace ads" in refusal.message


COMPUTED = {
    "storage": {"mode": "None"},
    "onDemand": {"service": {"name": "scores", "namespace": "ml", "port": 8080}},
}


def test_a_service_is_asked_for_anew_where_its_namespace_is_another() -> None:
    """A group that may not use its Service any more stays editable, and cannot come to another one so."""
    new = an_object("shop/scores", COMPUTED)
    assert an_ask(new).calls_anew
    edited = an_object("shop/scores", {**COMPUTED, "description": "new words"})
    assert ask_of(edited, new, PREFIX) is None
    service = {"name": "scores", "namespace": "crm", "port": 8080}
    elsewhere = an_object("shop/scores", {**COMPUTED, "onDemand": {"service": service}})
    assert an_ask(elsewhere, new).calls_anew


def test_a_group_whose_service_is_not_allowed_is_in_nobodys_way() -> None:
    """It is in no catalog, whatever its status remembers."""
    refused = {"type": "OnDemandReady", "status": "False", "reason": "ServiceNotAllowed"}
    gone = a_neighbour("shop/first", COMPUTED, **{**ACCEPTED, "conditions": [refused]})
    assert judged(an_ask(an_object("shop/second")), gone) == Verdict()
