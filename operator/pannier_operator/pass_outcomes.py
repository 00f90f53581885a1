"""What a pass over a group found -> its outcome, for status. Pure."""

from __future__ import annotations

from typing import Any, Final

from pannier_operator.passes import Pass
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.outcome import Outcome
from pannier_operator.reporting.publication import Written, config_facts, publication
from pannier_operator.reporting.status_document import TableFacts, policy_facts, schema_facts, table_facts
from pannier_operator.table_keeper import Kept

STANDS: Final = Finding("True", "Published", "what was published before stands")
ACCEPTED: Final = Finding("True", "Accepted", "the features can be served")
NOTHING_STORED: Final = Finding("True", "NothingStored", "storage.mode is None")
_PAUSED: Final = Finding("Unknown", "Paused")


def decided(one: Pass, kept: Kept, written: list[Written] | None, *, stands: bool) -> Outcome:
    """Say what was found; ``stands``: whether some version of the group is published."""
    plan = kept.plan
    accepted = plan.claim_held or (one.was_accepted and plan.schema.status != "False")
    return Outcome(
        generation=one.seen.generation,
        management=one.group.spec.management_policy,
        schema=ACCEPTED if accepted else plan.schema,
        table=plan.table,
        ttl=plan.ttl,
        published=_published(one, written, stands=stands),
        differences=plan.differences,
        drifted=kept.drifted,
        fault=kept.fault_finding,
        under_way=kept.again_seconds is not None or kept.failed,
        stalled=plan.stalled,
        facts={
            "schema": schema_facts(one.entry.group) if accepted else None,
            "policy": policy_facts(one.entry.group.policy),
            "config": config_facts(written, one.entry.digest, one.status) if written else None,
            "table": _table_facts(kept),
        },
    )


def standing(one: Pass, written: list[Written] | None, *, stands: bool) -> Outcome:
    """Say again of the table what was said before: a fault that most likely passes is no news."""
    told = one.told
    return Outcome(
        generation=one.seen.generation,
        management=one.group.spec.management_policy,
        schema=told["SchemaAccepted"],
        table=told["TableReady"],
        ttl=told["TTLApplied"],
        published=_published(one, written, stands=stands),
        in_sync=told["InSync"],
        under_way="Reconciling" in told,
        stalled="Stalled" in told,
        facts={
            "policy": policy_facts(one.entry.group.policy),
            "config": config_facts(written, one.entry.digest, one.status) if written else None,
        },
    )


def paused(one: Pass, *, stands: bool) -> Outcome:
    """Say that nothing is looked at."""
    return Outcome(
        generation=one.seen.generation,
        management="Paused",
        schema=_PAUSED,
        table=_PAUSED,
        ttl=_PAUSED,
        published=STANDS if stands else Finding("False", "Paused"),
        on_demand=_PAUSED if one.entry.group.on_demand is not None else None,
    )


def refused(one: Pass, refusal: Finding) -> Outcome:
    """Say why a computed group may not be served, so that it is in no catalog, Paused or not."""
    return Outcome(
        generation=one.seen.generation,
        schema=ACCEPTED,
        table=NOTHING_STORED,
        ttl=NOTHING_STORED,
        published=refusal,
        served=Finding("Unknown", refusal.reason, refusal.message),
        on_demand=refusal,
        stalled=True,
    )


def _published(one: Pass, written: list[Written] | None, *, stands: bool) -> Finding:
    if written is not None:
        return publication(written)
    if one.group.spec.management_policy == "Observe":
        return STANDS if stands else Finding("False", "Observed", "managementPolicy is Observe")
    message = "the last accepted version stands" if stands else "waits for SchemaAccepted"
    return Finding("False", "NotAccepted", message)


def _table_facts(kept: Kept) -> dict[str, Any] | None:
    """Facts of a table that is the group's; of others there is nothing to say."""
    seen, ownership = kept.seen, kept.plan.ownership
    if seen is None or seen.table is None or ownership in {None, "Foreign"}:
        return None
    facts = TableFacts(table=seen.table, ownership=ownership, ttl=seen.ttl, remembered=kept.remembered)
    return table_facts(facts)
