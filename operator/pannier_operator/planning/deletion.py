"""What becomes of table and claim with the resource, and whether that needs a finalizer.

Whatever is not surely ours to delete is kept. Deletion goes on in every management policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pannier.spec import Spec
from pannier_operator.planning.actions import Action, DeleteTable, PutClaim, SetDeletionProtection
from pannier_operator.planning.claims import Claim, Owner, expiring
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.observed import Observation
from pannier_operator.planning.ownership import ownership_of
from pannier_operator.planning.plans import CREATING_SECONDS, UPDATING_SECONDS
from pannier_operator.planning.wanted import WantedTable

FINALIZER: Final = "pannier.dev/rows"
"""For ever: a finalizer that is renamed strands the objects that bear the old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What comes next for a resource that is being deleted. ``done``: it may go."""

    finding: Finding
    done: bool = False
    action: Action | None = None
    again_seconds: float | None = None
    stalled: bool = False


def needs_finalizer(spec: Spec) -> bool:
    """Whether something has to be done to rows when the resource goes. Retain needs nothing."""
    return spec.deletion_policy in {"Delete", "Expire"}


def _done(message: str) -> Farewell:
    return Farewell(finding=Finding("True", "Deleting", message), done=True)


def farewell_dedicated(wanted: WantedTable, seen: Observation) -> Farewell:
    """Delete the group's own table, if it surely is and nothing protects it."""
    table = seen.table
    if table is None:
        return _done(f"table {wanted.name} is gone")
    waiting = Finding("False", "Deleting", f"table {wanted.name} is {table.status}")
    if table.status in {"DELETING", "CREATING"}:
        return Farewell(finding=waiting, again_seconds=CREATING_SECONDS)
    if ownership_of(wanted, seen) not in {"Created", "Adopted"}:
        return _done(f"table {wanted.name} is not this group's by its tags; it stays")
    if table.deletion_protected and wanted.deletion_protected:
        message = (
            f"deletionPolicy is Delete and deletionProtection of table {wanted.name} Enabled: set the one to"
            " Retain or the other to Disabled"
        )
        return Farewell(finding=Finding("False", "DeletionBlocked", message), stalled=True)
    if table.status != "ACTIVE":
        return Farewell(finding=waiting, again_seconds=UPDATING_SECONDS)
    action = SetDeletionProtection(enabled=False) if table.deletion_protected else DeleteTable()
    return Farewell(finding=waiting, action=action, again_seconds=CREATING_SECONDS)


def farewell_shared(owner: Owner, held: Claim | None, now: datetime) -> Farewell:
    """Mark the claim as expiring; rows of a shared table end by retention."""
    if held is None or held.owner != owner or held.expiring:
        return _done("its claim ends with its rows" if held else "there is no claim")
    action = PutClaim(expiring(held, now), held)
    finding = Finding("False", "Expiring", "the claim is marked: it ends with its rows")
    return Farewell(finding=finding, action=action)
