"""Plan, faults and publication -> conditions by the API conventions; times change only with the status.

Ready, SchemaAccepted, TableReady, TTLApplied, ConfigPublished, Served and InSync are always there;
OnDemandReady on computed groups; Reconciling and Stalled only while true, as kstatus reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pannier_operator.planning.findings import Difference, Finding, moment
from pannier_operator.reporting.outcome import Outcome

Condition = dict[str, Any]
MAX_MESSAGE: Final = 2048


def conditions(outcome: Outcome, previous: Iterable[Mapping[str, Any]], now: datetime) -> list[Condition]:
    """Say everything about a group as conditions, sorted as people look for it."""
    before = {condition.get("type"): condition for condition in previous}
    return [
        _condition(kind, finding, before.get(kind), outcome.generation, now)
        for kind, finding in _findings(outcome)
    ]


def _findings(outcome: Outcome) -> Iterator[tuple[str, Finding]]:
    ready = readiness(outcome)
    yield "Ready", ready
    yield "SchemaAccepted", outcome.schema
    yield "TableReady", outcome.table
    yield "TTLApplied", outcome.ttl
    yield "ConfigPublished", outcome.published
    if outcome.on_demand is not None:
        yield "OnDemandReady", outcome.on_demand
    yield "Served", outcome.served
    yield "InSync", in_sync(outcome)
    if outcome.stalled:
        yield "Stalled", Finding("True", ready.reason, ready.message)
    elif outcome.under_way:
        yield "Reconciling", Finding("True", *_under_way(outcome, ready))


def readiness(outcome: Outcome) -> Finding:
    """Sum up: the first thing that is wrong, else the first that is not known, else Ready."""
    if outcome.farewell is not None:
        return Finding("False", outcome.farewell.reason, outcome.farewell.message)
    if outcome.management == "Paused":
        return Finding("False", "Paused", "managementPolicy is Paused; what was published stays published")
    known = (outcome.schema, outcome.table, outcome.ttl, outcome.published, outcome.on_demand)
    parts = [finding for finding in known if finding is not None]
    wrong = [finding for finding in parts if finding.status == "False" and finding.reason != "NotAccepted"]
    open_ones = [finding for finding in parts if not finding.holds]
    return next(iter(wrong or open_ones), Finding("True", "Ready", "published, and nothing is missing"))


def in_sync(outcome: Outcome) -> Finding:
    """Say whether the table is as declared."""
    if outcome.in_sync is not None:
        return outcome.in_sync
    if outcome.management == "Paused":
        return Finding("Unknown", "Paused", "not looked at")
    if outcome.differences:
        found = _listed(outcome.differences)
        if outcome.fault is not None:
            return Finding("False", outcome.fault.reason, f"{found}; {outcome.fault.message}")
        drifted = outcome.drifted or outcome.management == "Observe"
        return Finding("False", "Drifted" if drifted else "Applying", found)
    if not outcome.table.holds:
        return Finding("Unknown", outcome.table.reason, outcome.table.message)
    return Finding("True", "AsDeclared", "nothing differs from the spec")


def with_finding(
    found: Iterable[Condition], kind: str, finding: Finding, generation: int, now: datetime
) -> list[Condition]:
    """Say one thing anew, and the rest as before."""
    return [_condition(kind, finding, one, generation, now) if one["type"] == kind else one for one in found]


def _under_way(outcome: Outcome, ready: Finding) -> tuple[str, str]:
    if not ready.holds:
        return ready.reason, ready.message
    return "Applying", _listed(outcome.differences)


def _listed(differences: Iterable[Difference]) -> str:
    return "; ".join(map(str, differences))


def _condition(
    kind: str, finding: Finding, before: Mapping[str, Any] | None, generation: int, now: datetime
) -> Condition:
    since = before["lastTransitionTime"] if before and before.get("status") == finding.status else moment(now)
    return {
        "type": kind,
        "status": finding.status,
        "reason": finding.reason,
        "message": finding.message[:MAX_MESSAGE],
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }
