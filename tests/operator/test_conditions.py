"""What is said of a group: conditions, status, Events, and what of it changes when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.manifests import a_feature_group

from pannier.catalog_building import catalog_group
from pannier.errors import Problem
from pannier.spec_status import Status
from pannier_operator.planning.findings import REASONS, Difference, Finding, found_before
from pannier_operator.planning.observed import ObservedTable, ObservedTtl, Remembered
from pannier_operator.reporting.conditions import conditions
from pannier_operator.reporting.outcome import Outcome
from pannier_operator.reporting.publication import Written, config_facts, publication
from pannier_operator.reporting.status_document import (
    TableFacts,
    differs,
    policy_facts,
    remembered_from,
    schema_facts,
    status_of,
    table_facts,
)
from pannier_operator.reporting.transitions import transitions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ALWAYS = ["Ready", "SchemaAccepted", "TableReady", "TTLApplied", "ConfigPublished", "Served", "InSync"]


def an_outcome(**findings: Any) -> Outcome:
    """All is well, but for what is named."""
    well = {
        "generation": 3,
        "schema": Finding("True", "Accepted"),
        "table": Finding("True", "Ready"),
        "ttl": Finding("True", "Enabled"),
        "published": Finding("True", "Published"),
    }
    return Outcome(**{**well, **findings})


def told(outcome: Outcome, before: list[dict[str, Any]] | None = None, now: datetime = NOW) -> dict[str, Any]:
    return {condition["type"]: condition for condition in conditions(outcome, before or [], now)}


def test_a_first_look_says_all_conditions_are_unknown() -> None:
    """Whoever waits for a condition finds it from the first status on."""
    found = told(Outcome(generation=1))
    assert list(found) == ALWAYS
    assert {condition["status"] for condition in found.values()} == {"Unknown"}


def test_a_ready_group_is_ready() -> None:
    """Everything holds, nothing is under way."""
    found = told(an_outcome())
    assert list(found) == ALWAYS
    assert found["Ready"]["status"] == "True"
    assert found["InSync"]["status"] == "True"
    assert found["Ready"]["observedGeneration"] == 3


@pytest.mark.parametrize("field", ["schema", "table", "ttl", "published"])
def test_ready_says_the_first_thing_that_is_wrong(field: str) -> None:
    """The summary has the reason and the sentence of what keeps the group from being ready."""
    found = told(an_outcome(**{field: Finding("False", "AccessDenied", "not allowed to")}))
    assert found["Ready"]["status"] == "False"
    assert found["Ready"]["reason"] == "AccessDenied"
    assert found["Ready"]["message"] == "not allowed to"


def test_what_is_wrong_comes_before_what_is_not_known() -> None:
    """A table that cannot be made is the reason, not the schema that waits for it."""
    waiting = Finding("False", "NotAccepted", "waits for SchemaAccepted")
    denied = Finding("False", "AccessDenied", "not allowed to")
    found = told(Outcome(generation=1, table=denied, published=waiting))
    assert found["Ready"]["reason"] == "AccessDenied"


def test_time_moves_with_the_status_only() -> None:
    """A new reason or message leaves the time of the last transition as it was."""
    creating = an_outcome(table=Finding("False", "Creating", "a"))
    before = conditions(creating, [], NOW)
    hardening = told(an_outcome(table=Finding("False", "Hardening", "b")), before, LATER)
    assert hardening["TableReady"]["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    ready = told(an_outcome(), before, LATER)
    assert ready["TableReady"]["lastTransitionTime"] == "2026-03-01T13:00:00Z"
    assert ready["SchemaAccepted"]["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_reconciling_and_stalled_are_there_only_while_true() -> None:
    """As kstatus reads them: one of both at most, none where all is done."""
    difference = Difference("storage.dedicated.tableClass", "Standard", "InfrequentAccess")
    working = told(an_outcome(differences=(difference,), under_way=True))
    assert working["Reconciling"]["status"] == "True"
    assert "tableClass is InfrequentAccess, declared Standard" in working["Reconciling"]["message"]
    assert working["InSync"]["reason"] == "Applying"
    stuck = told(an_outcome(table=Finding("False", "AccessDenied"), stalled=True, under_way=True))
    assert "Reconciling" not in stuck
    assert stuck["Stalled"]["reason"] == "AccessDenied"


def test_observe_and_pause_say_so() -> None:
    """Drift that is only observed is told as drift; a paused group is not ready and not looked at."""
    difference = Difference("tags", "a=1", "absent")
    observed = told(an_outcome(management="Observe", differences=(difference,)))
    assert observed["InSync"]["reason"] == "Drifted"
    assert observed["Ready"]["status"] == "True"
    paused = told(an_outcome(management="Paused"))
    assert (paused["Ready"]["status"], paused["Ready"]["reason"]) == ("False", "Paused")


def test_a_refusal_shows_where_settings_differ() -> None:
    """What AWS refused stands beside the difference it leaves, and the table stays ready."""
    difference = Difference("storage.dedicated.tableClass", "Standard", "InfrequentAccess")
    fault = Finding("False", "AwsRefused", "no more than two updates")
    found = told(an_outcome(differences=(difference,), fault=fault, stalled=True))
    assert found["InSync"]["reason"] == "AwsRefused"
    assert "no more than two updates" in found["InSync"]["message"]
    assert found["TableReady"]["status"] == "True"


def test_only_documented_reasons_can_be_given() -> None:
    """Every reason has a line in the reference on what to do about it."""
    with pytest.raises(ValueError, match="no documented reason"):
        Finding("False", "Whatever")
    assert all(REASONS.values())
    assert found_before({"status": "False", "reason": "FromTheFuture", "message": "x"}).status == "Unknown"


def test_events_tell_transitions_and_nothing_else() -> None:
    """Nothing new, no Event; a changed message, none; a changed reason of Ready, one."""
    creating = conditions(an_outcome(table=Finding("False", "Creating", "a")), [], NOW)
    assert [note.reason for note in transitions([], creating)] == ["Creating"]
    assert list(transitions(creating, creating)) == []
    reworded = conditions(an_outcome(table=Finding("False", "Creating", "b")), creating, NOW)
    assert list(transitions(creating, reworded)) == []
    ready = conditions(an_outcome(), creating, LATER)
    first = next(transitions(creating, ready))
    assert (first.type, first.reason) == ("Normal", "Ready")
    refused = conditions(an_outcome(table=Finding("False", "AccessDenied", "c"), stalled=True), ready, LATER)
    notes = list(transitions(ready, refused))
    assert {note.type for note in notes} == {"Warning"}
    assert {note.reason for note in notes} == {"AccessDenied"}


def facts() -> dict[str, Any]:
    group = catalog_group(a_feature_group({"features[1].state": "Deprecated"}), "ReadWrite", "pannier")
    table = ObservedTable(name="t", arn="arn:aws:dynamodb:x:1:table/t", status="ACTIVE", id="id-1")
    remembered = Remembered(ttl_next_change=LATER, on_demand_switches=(NOW,))
    ttl = ObservedTtl("ENABLED", "expires_at")
    return {
        "schema": schema_facts(group),
        "policy": policy_facts(group.policy),
        "config": {"revision": 5, "hash": "h", "namespaces": 1},
        "table": table_facts(TableFacts(table=table, ownership="Created", ttl=ttl, remembered=remembered)),
    }


def test_a_status_fits_the_crd() -> None:
    """Whatever is written has a field in the CRD, so that nothing is pruned."""
    status = status_of(an_outcome(facts=facts()), {}, NOW)
    Status.model_validate(status)
    assert status["schema"]["nextId"] == 2
    assert status["table"]["ttl"] == {"status": "ENABLED", "nextChangeAllowedTime": "2026-03-01T13:00:00Z"}


def test_a_tier_that_is_off_has_no_figures() -> None:
    """A TTL beside Disabled, and in the columns of kubectl, would read as if something went by it."""
    group = catalog_group(a_feature_group({"cache": {"profile": "Warm"}}), "ReadWrite", "pannier")
    told = policy_facts(group.policy)
    assert told["local"] == {"state": "Disabled"}
    assert told["remote"]["hardTTLSeconds"] == group.policy.remote.hard_ttl_seconds


def test_a_pass_without_news_writes_nothing() -> None:
    """The same outcome later is the same status, whatever the order of its conditions."""
    status = status_of(an_outcome(facts=facts()), {}, NOW)
    again = status_of(an_outcome(facts=facts()), status, LATER)
    shuffled = {**again, "conditions": again["conditions"][::-1]}
    assert not differs(shuffled, status)
    assert differs(status_of(an_outcome(generation=4, facts=facts()), status, LATER), status)


def test_facts_that_a_pass_knows_nothing_of_stay() -> None:
    """A pass that AWS did not answer does not forget the table."""
    status = status_of(an_outcome(facts=facts()), {}, NOW)
    blind = status_of(an_outcome(facts={"table": None}), status, LATER)
    assert blind["table"] == status["table"]
    assert blind["config"] == status["config"]


def test_status_remembers_what_a_restart_forgets() -> None:
    """Table id, dates of limits and the accepted loss are read back."""
    remembered = remembered_from({"table": facts()["table"]}, {"pannier.dev/start-empty": "id-1"})
    assert remembered.table_id == "id-1"
    assert remembered.was_usable
    assert remembered.ttl_next_change == LATER
    assert remembered.on_demand_switches == (NOW,)
    assert remembered.accepted_loss == "id-1"
    assert not remembered_from({}, {}).was_usable


def test_publication_is_the_own_namespaces_and_every_consumers() -> None:
    """Published everywhere, taken somewhere, failed somewhere, or without a namespace to go to."""
    ok = Written("shop", 7)
    assert publication([ok, Written("ads", 9)]).message == "in 2 namespaces"
    cycle = Problem("spec.onDemand.inputs", "InputCycle", "form a cycle: a -> b -> a")
    unread = publication([ok, Written("ads", 9, input_fault=cycle)])
    assert (unread.status, unread.reason) == ("False", "InputCycle")
    assert "in namespace ads: inputs form a cycle: a -> b -> a" in unread.message
    taken = publication([ok, Written("ads", 9, winner="ads/mine")])
    assert (taken.status, taken.reason) == ("False", "GroupNameTaken")
    assert "ads/mine" in taken.message
    failed = publication([ok, Written("ads", fault="Forbidden: no")])
    assert (failed.status, failed.reason) == ("False", "PublishFailed")
    missing = publication([ok, Written("gone", fault="NotFound", namespace_is_missing=True)])
    assert (missing.status, missing.reason) == ("True", "NamespaceMissing")


def test_the_revision_of_a_group_is_the_first_that_held_it() -> None:
    """A neighbour's edit raises the catalog's revision and leaves the group's status alone."""
    first = config_facts([Written("shop", 7)], "h1", {})
    assert first == {"revision": 7, "hash": "h1", "namespaces": 1}
    assert config_facts([Written("shop", 8)], "h1", {"config": first}) == first
    assert config_facts([Written("shop", 9)], "h2", {"config": first})["revision"] == 9
    reinstalled = config_facts([Written("shop", 3)], "h1", {"config": first})
    assert reinstalled["revision"] == 3
