"""The claim on a groupName in a table: who holds it, who may take it, when it ends.

A claim is an item of the table it is about (ADR 15). It outlives its FeatureGroup, so that rows which are
still there never become another team's, and are never read with another feature list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from pannier.catalog import FeatureState
from pannier.keys import DEFAULT_WIDTH
from pannier.spec import FeatureGroup, Spec
from pannier_operator.planning.findings import Finding, moment

Ownership = Literal["Created", "Adopted", "Claimed", "Foreign"]
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How much later than here a sidecar may believe it is."""


class Owner(NamedTuple):
    """A FeatureGroup of a cluster, across its lives; the namespace of a shared table's owner is empty."""

    cluster_id: str
    namespace: str
    name: str

    def __str__(self) -> str:
        who = f"{self.namespace}/{self.name}" if self.namespace else "the shared tables"
        return f"{who} of cluster {self.cluster_id}"


class ClaimedFeature(NamedTuple):
    """What stored values of a feature id mean."""

    id: int
    name: str
    type: str
    element_type: str | None = None
    dimensions: int | None = None
    state: FeatureState = "Active"

    def __str__(self) -> str:
        return f"{self.id}: {self.name} ({self.type})"


class ClaimedKey(NamedTuple):
    """What stored sort keys look like; unit None = a record group."""

    unit: str | None = None
    width: int | None = None
    tie_breaker: str | None = None

    def __str__(self) -> str:
        if self.unit is None:
            return "none"
        tie = f", tie-breaker {self.tie_breaker}" if self.tie_breaker else ""
        return f"{self.width} digits of {self.unit}{tie}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim, as stored."""

    group_name: str
    owner: Owner
    uid: str
    """metadata.uid of the life that holds it."""
    key: ClaimedKey
    features: tuple[ClaimedFeature, ...]
    longest_row_seconds: int | None
    """Longest that any row written so far may live; None = without end, or not known."""
    ownership: Ownership
    tag_keys: frozenset[str] = frozenset()
    """Tags of the table that come from the spec: what is no longer declared can be removed."""
    expiring: bool = False
    ends_at: datetime | None = None
    """Set while expiring: no row is visible after this. None while expiring = never by itself."""
    version: int = 0
    """Rises with each write; writes are conditional on it."""

    def ended(self, now: datetime) -> bool:
        """Whether no row of it can be visible any more."""
        return self.expiring and self.ends_at is not None and self.ends_at <= now


def claim_of(group: FeatureGroup, *, cluster_id: str, uid: str, ownership: Ownership) -> Claim:
    """Make the claim that a group asks for."""
    spec, metadata = group.spec, group.metadata
    features = sorted(spec.features, key=lambda feature: feature.id)
    return Claim(
        group_name=spec.group_name,
        owner=Owner(cluster_id, metadata.namespace, metadata.name),
        uid=uid,
        key=_key(spec),
        features=tuple(
            ClaimedFeature(f.id, f.name, f.type, f.element_type, f.dimensions, f.state) for f in features
        ),
        longest_row_seconds=_longest_row_seconds(spec),
        ownership=ownership,
    )


def _key(spec: Spec) -> ClaimedKey:
    sort = spec.key.sort_key
    if sort is None or sort.type == "None":
        return ClaimedKey()
    unit = sort.unit or "Seconds"
    return ClaimedKey(unit, sort.width or DEFAULT_WIDTH[unit], sort.tie_breaker)


def _longest_row_seconds(spec: Spec) -> int | None:
    """Bound the life of rows written from now on.

    A timeline may hold records of the future; if they live by event time, nothing bounds their end.
    """
    retention = spec.retention
    if retention is None or retention.seconds is None:
        return None
    if retention.basis == "EventTime" and spec.is_timeline:
        return None
    return max(retention.seconds, retention.tombstone_seconds)


def conflict(held: Claim | None, wanted: Claim, now: datetime) -> Finding | None:
    """Say why the claim cannot be had; None where it can."""
    if held is None or held.ended(now):
        return None
    if held.owner != wanted.owner:
        ending = f" until {moment(held.ends_at)}, when its rows have expired" if held.ends_at else ""
        message = f"{wanted.group_name} is claimed in this table by {held.owner}{ending}"
        return Finding("False", "GroupNameTaken", message)
    if held.key != wanted.key:
        message = f"rows are stored with sort key {held.key}, the spec declares {wanted.key}"
        return Finding("False", "KeyConflict", message)
    faults = list(_feature_conflicts(held, wanted))
    return Finding("False", "SchemaConflict", "; ".join(faults)) if faults else None


def _feature_conflicts(held: Claim, wanted: Claim) -> Iterator[str]:
    """Find what is not appended to the features that rows are stored with."""
    declared = {feature.id: feature for feature in wanted.features}
    for stored in held.features:
        now = declared.get(stored.id)
        if now is None:
            yield f"feature {stored} is stored and not declared; keep it, with state Removed if need be"
        elif now._replace(state=stored.state) != stored:
            yield f"feature {stored} is stored, and declared as {now.name} ({now.type})"
        elif stored.state == "Removed" and now.state != "Removed":
            yield f"feature {stored} was Removed and cannot come back; append a new one"


def renewed(held: Claim | None, wanted: Claim, now: datetime, tags_found: frozenset[str]) -> Claim:
    """Return what the claim has to say from now on; equal to ``held`` where nothing has changed.

    ``tags_found``: keys of the table's tags. Once declared, a key is remembered until the tag is gone.
    """
    if held is None or held.ended(now):
        return replace(wanted, version=held.version if held else 0)
    longest = (
        None
        if None in {held.longest_row_seconds, wanted.longest_row_seconds}
        else max(held.longest_row_seconds or 0, wanted.longest_row_seconds or 0)
    )
    return replace(
        wanted,
        longest_row_seconds=longest,
        ownership=held.ownership,
        tag_keys=wanted.tag_keys | (held.tag_keys & tags_found),
        version=held.version,
    )


def expiring(held: Claim, now: datetime) -> Claim:
    """Mark a claim whose group is gone: it ends when the last row that may have been written has."""
    longest = held.longest_row_seconds
    ends_at = None if longest is None else now + timedelta(seconds=longest) + CLOCK_SKEW
    return replace(held, expiring=True, ends_at=ends_at)
