"""Wanted and observed table -> the plan: differences, at most one mutation, when to look again.

Claim, tags, TTL and backups come before the settings that go through UpdateTable: first what tells whose the
rows are, then what keeps them. A step that AWS would refuse until a date lets the others pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pannier_operator.planning import actions as act
from pannier_operator.planning.claim_plan import claim_step
from pannier_operator.planning.claims import Ownership
from pannier_operator.planning.findings import Difference, Finding
from pannier_operator.planning.observed import (
    START_EMPTY,
    USABLE,
    Observation,
    ObservedTable,
    Recovery,
    Remembered,
)
from pannier_operator.planning.ownership import missing_tags, ownership_of, unusable
from pannier_operator.planning.plans import (
    CREATING_SECONDS,
    DISABLING_SECONDS,
    UPDATING_SECONDS,
    Plan,
)
from pannier_operator.planning.table_settings import Change, setting_changes
from pannier_operator.planning.ttl import ttl_change, ttl_finding
from pannier_operator.planning.wanted import WantedTable

UNKNOWN_AFTER_CREATE: Final = timedelta(seconds=30)
"""How long DescribeTable may not know a table that CreateTable has taken."""
TAGS_LAG: Final = timedelta(seconds=30)
"""How long reading tags may lag behind setting them."""
_ACTIVE_ONLY: Final = (
    act.EnableTtl,
    act.DisableTtl,
    act.SetRecovery,
    act.SetDeletionProtection,
    act.ChangeBilling,
    act.ChangeThroughput,
    act.ChangeOnDemandLimits,
    act.ChangeTableClass,
    act.ChangeEncryption,
)


def plan_table(wanted: WantedTable, seen: Observation, remembered: Remembered, now: datetime) -> Plan:
    """Decide what comes next for a table that the operator is to make and keep as declared."""
    if seen.table is None:
        return _without_table(wanted, remembered, now)
    if seen.table.status not in USABLE:
        return _not_usable(seen.table)
    ownership = ownership_of(wanted, seen, remembered)
    fault = unusable(wanted, seen, seen.table, ownership)
    if fault is not None:
        return Plan(table=fault, ownership=ownership, stalled=True)
    return _converge(wanted, _Look(seen, seen.table, ownership or "Adopted", remembered, now))


def _without_table(wanted: WantedTable, remembered: Remembered, now: datetime) -> Plan:
    """Make the table; but never silently a second time once rows may have been in it."""
    created = remembered.created_at
    if created is not None and now - created < UNKNOWN_AFTER_CREATE:
        return Plan(
            table=Finding("False", "Creating", f"table {wanted.name} was asked for and does not show yet"),
            again_seconds=CREATING_SECONDS,
        )
    if remembered.was_usable and remembered.table_id != remembered.accepted_loss:
        message = (
            f"table {wanted.name} ({remembered.table_id}) is gone, with its rows. Restore it, or annotate"
            f" the group with {START_EMPTY}={remembered.table_id} to begin with an empty one"
        )
        return Plan(table=Finding("False", "TableLost", message), stalled=True)
    return Plan(
        table=Finding("False", "Creating", f"table {wanted.name} is being created"),
        action=act.CreateTable(wanted),
        again_seconds=CREATING_SECONDS,
    )


def _not_usable(table: ObservedTable) -> Plan:
    if table.status == "CREATING":
        finding = Finding("False", "Creating", f"DynamoDB is making table {table.name}")
        return Plan(table=finding, again_seconds=CREATING_SECONDS)
    if table.status == "DELETING":
        message = f"a table {table.name} is being deleted; it is made anew when that is done"
        return Plan(table=Finding("False", "TableDeleting", message), again_seconds=CREATING_SECONDS)
    finding = Finding("False", "TableInaccessible", f"table {table.name} is {table.status}")
    return Plan(table=finding, stalled=True)


@dataclass(frozen=True, slots=True)
class _Look:
    """A table that is usable and the group's, as seen at one moment."""

    seen: Observation
    table: ObservedTable
    ownership: Ownership
    remembered: Remembered
    now: datetime

    @property
    def is_busy(self) -> bool:
        """Whether DynamoDB is changing the table."""
        return self.table.status == "UPDATING"

    @property
    def tags_lag(self) -> bool:
        """Whether tags may be shown as they were."""
        tagged_at = self.remembered.tagged_at
        return tagged_at is not None and self.now - tagged_at < TAGS_LAG

    def is_possible(self, change: Change) -> bool:
        """Whether AWS would take a change now."""
        if change.blocked_until is not None:
            return False
        if isinstance(change.action, act.TagTable | act.UntagTable):
            return not self.tags_lag
        return not (self.is_busy and isinstance(change.action, _ACTIVE_ONLY))


def _converge(wanted: WantedTable, look: _Look) -> Plan:
    seen = look.seen
    claim = claim_step(wanted.claim, seen.claim, look.ownership, look.now, frozenset(seen.tags or ()))
    changes = list(_changes(wanted, look))
    possible = [change.action for change in changes if look.is_possible(change)]
    return Plan(
        table=_readiness(look.table, changes, seen),
        ttl=ttl_finding(seen.ttl, look.remembered, look.now),
        schema=claim.finding,
        claim_held=claim.held,
        ownership=look.ownership,
        differences=tuple(change.difference for change in changes),
        action=claim.action or (possible[0] if possible else None),
        again_seconds=_again(look, changes),
        stalled=claim.refused,
    )


def _changes(wanted: WantedTable, look: _Look) -> Iterator[Change]:
    """Find everything that is not as declared, in the order in which it is put right."""
    seen = look.seen
    yield from _tag_changes(wanted, seen, look.ownership)
    if seen.ttl is not None:
        change = ttl_change(seen.ttl, look.remembered, look.now)
        if change is not None:
            yield change
    if "recovery" not in seen.unsupported and seen.recovery is not None:
        yield from _recovery_change(wanted.recovery, seen.recovery)
    yield from setting_changes(wanted, look.table, look.remembered, look.now)


def _tag_changes(wanted: WantedTable, seen: Observation, ownership: Ownership) -> Iterator[Change]:
    if seen.tags is None or "tags" in seen.unsupported:
        return
    missing = missing_tags(wanted, ownership, seen.tags)
    if missing:
        found = ", ".join(f"{key}={seen.tags[key]}" for key in missing if key in seen.tags) or "absent"
        declared = ", ".join(f"{key}={value}" for key, value in missing.items())
        yield Change(Difference("tags", declared, found), act.TagTable(missing))
    declared_once = seen.claim.tag_keys if seen.claim else frozenset()
    stale = tuple(sorted((declared_once & seen.tags.keys()) - wanted.tags.keys()))
    if stale:
        yield Change(Difference("tags", "no longer there", ", ".join(stale)), act.UntagTable(stale))


def _recovery_change(wanted: Recovery, found: Recovery) -> Iterator[Change]:
    days_differ = wanted.enabled and found.days is not None and wanted.days != found.days
    if wanted.enabled != found.enabled or days_differ:
        difference = Difference("storage.dedicated.pointInTimeRecovery", str(wanted), str(found))
        yield Change(difference, act.SetRecovery(wanted))


def _readiness(table: ObservedTable, changes: list[Change], seen: Observation) -> Finding:
    """Say whether the table takes reads and writes, and is as safe as declared."""
    unsafe = [change.difference for change in changes if _protects(change.action)]
    if unsafe:
        return Finding("False", "Hardening", "; ".join(map(str, unsafe)))
    if table.status == "UPDATING":
        return Finding("True", "Updating", f"table {table.name} is usable; DynamoDB is changing it")
    lacking = ", ".join(sorted(seen.unsupported))
    note = f"; this endpoint, an emulator, has no {lacking}" if lacking else ""
    return Finding("True", "Ready", f"table {table.name} is active{note}")


def _protects(action: act.Action) -> bool:
    """Whether rows are less safe than declared until this is done."""
    if isinstance(action, act.SetRecovery):
        return action.recovery.enabled
    return isinstance(action, act.SetDeletionProtection) and action.enabled


def _again(look: _Look, changes: list[Change]) -> float | None:
    """Return when to look again: soon while AWS is busy, else at the first date of a blocked step."""
    waits = [(c.blocked_until - look.now).total_seconds() for c in changes if c.blocked_until is not None]
    if look.is_busy:
        waits.append(UPDATING_SECONDS)
    if look.tags_lag and any(isinstance(c.action, act.TagTable | act.UntagTable) for c in changes):
        waits.append(TAGS_LAG.total_seconds())
    if look.seen.ttl is not None and look.seen.ttl.status == "DISABLING":
        waits.append(DISABLING_SECONDS)
    return max(min(waits), 1.0) if waits else None
