"""Whose table is it? Tags and claim say so; whether it may be used, and whether deleted, follows.

Tags come with CreateTable itself, so a table of ours is never without them. An endpoint without tags (an
emulator) leaves the claim, and before that the memory of having made it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pannier_operator.planning.claims import Owner, Ownership
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.observed import (
    KEYS,
    NOTHING_REMEMBERED,
    TTL_ATTRIBUTE,
    Observation,
    ObservedTable,
    Remembered,
)
from pannier_operator.planning.wanted import TAG_CLUSTER, TAG_NAME, TAG_NAMESPACE, TAG_OWNERSHIP, WantedTable


def owner_of(observation: Observation) -> Owner | None:
    """Return who owns the table by its tags, else by the claim of the group in question; None = nobody."""
    tags = observation.tags
    if tags and TAG_CLUSTER in tags:
        return Owner(tags[TAG_CLUSTER], tags.get(TAG_NAMESPACE, ""), tags.get(TAG_NAME, ""))
    if observation.claim is not None and "tags" in observation.unsupported:
        return observation.claim.owner
    return None


def ownership_of(
    wanted: WantedTable, observation: Observation, remembered: Remembered = NOTHING_REMEMBERED
) -> Ownership | None:
    """Say what the table is to the wanting group; None = nobody's, and may be adopted."""
    owner = owner_of(observation)
    if owner is None:
        made = "tags" in observation.unsupported and remembered.asked_to_create
        return "Created" if made else None
    if owner != wanted.owner:
        return "Foreign"
    told = (observation.tags or {}).get(TAG_OWNERSHIP)
    if told is None and observation.claim is not None:
        told = observation.claim.ownership
    return "Adopted" if told == "Adopted" else "Created"


def unusable(
    wanted: WantedTable, observation: Observation, table: ObservedTable, ownership: Ownership | None
) -> Finding | None:
    """Say why a table that is there cannot be the group's; None where it can."""
    if ownership == "Foreign":
        message = f"table {table.name} belongs to {owner_of(observation)} by its tags; nothing was changed"
        return Finding("False", "TableOwnedByOther", message)
    if ownership is None and not wanted.may_adopt:
        message = (
            f"table {table.name} exists without Pannier's tags and adoption is Never; nothing was changed"
        )
        return Finding("False", "TableExists", message)
    return wrong_keys(table) or _foreign_ttl(ownership, observation)


def wrong_keys(table: ObservedTable) -> Finding | None:
    """Compare the keys, which can never be changed."""
    if table.keys == KEYS:
        return None
    found = ", ".join(map(str, table.keys)) or "nothing"
    message = f"table {table.name} is keyed by {found}; Pannier needs {', '.join(map(str, KEYS))}"
    return Finding("False", "KeySchemaMismatch", message)


def _foreign_ttl(ownership: Ownership | None, observation: Observation) -> Finding | None:
    """Leave the TTL of a table that others made to them: its attribute may mean something to them."""
    ttl = observation.ttl
    if ownership == "Created" or ttl is None or ttl.attribute in {None, TTL_ATTRIBUTE}:
        return None
    if ttl.status not in {"ENABLED", "ENABLING"}:
        return None
    message = f"rows of the table expire by {ttl.attribute}; Pannier needs {TTL_ATTRIBUTE}"
    return Finding("False", "TtlAttributeMismatch", message)


def missing_tags(wanted: WantedTable, ownership: Ownership, found: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that have to be set: those that say whose the table is, and the spec's own."""
    due = {**wanted.tags, **wanted.ownership_tags(ownership)}
    return {key: value for key, value in due.items() if found.get(key) != value}
