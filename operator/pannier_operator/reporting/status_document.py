"""Everything known of a group -> its `status`, and whether that differs from what is there.

Pure, and from scratch on every pass: nothing in it moves by itself, so that a pass without news writes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pannier.catalog import CatalogGroup
from pannier.policy import CachePolicy, TierPolicy
from pannier_operator.planning.claims import Ownership
from pannier_operator.planning.findings import Finding, found_before, moment, parse_moment
from pannier_operator.planning.observed import START_EMPTY, USABLE, ObservedTable, ObservedTtl, Remembered
from pannier_operator.reporting.conditions import conditions
from pannier_operator.reporting.outcome import Outcome

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """What status says of a table."""

    table: ObservedTable
    ownership: Ownership | None
    ttl: ObservedTtl | None
    remembered: Remembered


def status_of(outcome: Outcome, previous: Mapping[str, Any], now: datetime) -> Facts:
    """Make the whole status; facts that this pass knows nothing of stay as they were."""
    kept = {name: previous[name] for name in ("schema", "table", "config", "policy") if name in previous}
    found = conditions(outcome, previous.get("conditions") or (), now)
    return {
        "observedGeneration": outcome.generation,
        "conditions": found,
        **kept,
        **{name: fact for name, fact in (outcome.facts or {}).items() if fact is not None},
    }


def told_before(document: Mapping[str, Any]) -> dict[str, Finding]:
    """Read the findings back that the status of an object has."""
    told = (document.get("status") or {}).get("conditions") or ()
    return {condition["type"]: found_before(condition) for condition in told}


def differs(new: Mapping[str, Any], previous: Mapping[str, Any]) -> bool:
    """Whether the status has to be written; the order of conditions is no difference."""
    return _comparable(new) != _comparable(previous)


def _comparable(status: Mapping[str, Any]) -> Facts:
    by_type = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    return {**status, "conditions": by_type}


def schema_facts(group: CatalogGroup) -> Facts:
    """What status says of the feature list."""
    return {
        "hash": group.schema_hash,
        "activeFeatures": sum(feature.state != "Removed" for feature in group.features),
        "nextId": len(group.features),
    }


def table_facts(facts: TableFacts) -> Facts:
    """What status says of the table."""
    table, ttl, remembered = facts.table, facts.ttl, facts.remembered
    switches = [moment(when) for when in remembered.on_demand_switches]
    next_change = remembered.ttl_next_change
    ttl_facts = _present(
        status=ttl.status if ttl else None,
        nextChangeAllowedTime=moment(next_change) if next_change else None,
    )
    return _present(
        arn=table.arn,
        id=table.id,
        status=table.status,
        ownership=facts.ownership,
        billingMode=table.billing,
        lastBillingModeChangeTimes=switches or None,
        ttl=ttl_facts or None,
    )


def policy_facts(policy: CachePolicy) -> Facts:
    """What status says of the resolved policy."""
    return {
        "profile": policy.profile,
        "local": _tier(policy.local),
        "remote": _tier(policy.remote),
        "staleIfErrorSeconds": policy.stale_if_error_seconds,
        "writePolicy": policy.write_policy,
        "readConsistency": policy.read_consistency,
        "jitterPercent": policy.jitter_percent,
        "earlyExpirationPercent": round(policy.early_expiration_factor * 100),
        "localAdmission": policy.local_admission,
        "remoteAdmission": policy.remote_admission,
    }


def _tier(tier: TierPolicy) -> Facts:
    if tier.state == "Disabled":
        return {"state": tier.state}  # figures that nothing goes by would read as if they were in force
    facts: Facts = msgspec.to_builtins(tier)
    return _present(**facts)


def _present(**facts: Any) -> Facts:
    return {name: fact for name, fact in facts.items() if fact is not None}


def remembered_from(status: Mapping[str, Any], annotations: Mapping[str, str]) -> Remembered:
    """Read back what status remembers of a table."""
    table = status.get("table") or {}
    ttl = table.get("ttl") or {}
    switches = (parse_moment(when) for when in table.get("lastBillingModeChangeTimes") or ())
    return Remembered(
        table_id=table.get("id") or table.get("arn"),
        was_usable=table.get("status") in USABLE | {"DELETING"},
        ttl_next_change=parse_moment(ttl.get("nextChangeAllowedTime")),
        on_demand_switches=tuple(when for when in switches if when is not None),
        accepted_loss=annotations.get(START_EMPTY),
    )
