"""What comes next for the claim on a groupName; and the whole plan of a group in a shared table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pannier_operator.planning.actions import PutClaim
from pannier_operator.planning.claims import Claim, Ownership, conflict, renewed
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.plans import Plan

_ACCEPTED: Final = Finding("True", "Accepted", "the features can be served")


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """What a look at a claim comes to."""

    finding: Finding
    held: bool = False
    action: PutClaim | None = None

    @property
    def refused(self) -> bool:
        """Whether the claim cannot be had."""
        return self.finding.status == "False"


def claim_step(
    wanted: Claim | None, held: Claim | None, ownership: Ownership, now: datetime, tags: frozenset[str]
) -> ClaimStep:
    """Decide about one claim; ``wanted`` None = a table without a group of its own."""
    if wanted is None:
        return ClaimStep(_ACCEPTED, held=True)
    refusal = conflict(held, wanted, now)
    if refusal is not None:
        return ClaimStep(refusal)
    due = renewed(held, replace(wanted, ownership=ownership), now, tags)
    if due == held:
        return ClaimStep(_ACCEPTED, held=True)
    return ClaimStep(_ACCEPTED, action=PutClaim(due, held))


def plan_shared(wanted: Claim, held: Claim | None, table: Plan, now: datetime) -> Plan:
    """Decide what comes next for a group in a shared table: its claim; the table is the platform's."""
    if not table.table.holds:
        message = f"the shared table is not usable: {table.table.message}"
        return Plan(
            table=Finding("False", "SharedTableNotReady", message),
            ttl=table.ttl,
            stalled=table.stalled,
        )
    claim = claim_step(wanted, held, "Claimed", now, frozenset())
    return Plan(
        table=table.table,
        ttl=table.ttl,
        schema=claim.finding,
        claim_held=claim.held,
        ownership="Claimed",
        action=claim.action,
        stalled=claim.refused,
    )


def unknown_shared_table(name: str) -> Plan:
    """Plan for a group that names a table which the platform does not offer."""
    message = f"{name} is not among the platform's shared tables"
    return Plan(table=Finding("False", "SharedTableUnknown", message), stalled=True)
