"""What an admitted FeatureGroup newly asks for that other objects may stand against. Pure.

An edit asks only for what it adds: a group that is refused already must stay editable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pannier.errors import SpecInvalid
from pannier.inputs import inputs_of
from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group
from pannier_operator.catalogs.catalog_content import Entry, entry_of
from pannier_operator.on_demand.references import NOT_ALLOWED
from pannier_operator.on_demand.servers import server_of
from pannier_operator.planning.findings import found_before

Document = Mapping[str, Any]
_NEWEST: Final = "9999-12-31T23:59:59Z"
"""Creation time of an object that has none yet: nobody is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one request asks for."""

    group: FeatureGroup
    entry: Entry
    uid: str
    shared_table: str | None
    """The shared table in which it asks for its groupName; None = it asks for none anew."""
    namespaces: tuple[str, ...]
    """Catalogs it asks to get into anew."""
    reads_anew: bool = False
    """Whether it asks for inputs that it did not have before, or for a namespace to read them in."""
    calls_anew: bool = False
    """Whether it asks for a Service in a namespace where it had none before."""


def ask_of(new: Document, old: Document | None, table_prefix: str) -> Ask | None:
    """Read a request; None where nothing in it can be refused for the sake of others.

    The spec itself is judged by the API server's rules, and by the operator.
    """
    group = _acting(new)
    if group is None:
        return None
    before = _acting(old) if old is not None else None
    entry, uid = _entry(new, group, table_prefix)
    held = _entry(old, before, table_prefix)[0] if old is not None and before is not None else None
    namespaces = tuple(name for name in entry.namespaces if held is None or name not in held.namespaces)
    storage = group.spec.storage
    table = storage.table_name if storage.mode == "Shared" and before is None else None
    inputs = inputs_of(entry.group)
    reads_anew = bool(inputs) and (held is None or bool(namespaces) or inputs != inputs_of(held.group))
    calls_anew = _serves_from(entry) not in {None, _serves_from(held) if held is not None else None}
    if table is None and not namespaces and not reads_anew and not calls_anew:
        return None
    return Ask(
        group=group,
        entry=entry,
        uid=uid,
        shared_table=table,
        namespaces=namespaces,
        reads_anew=reads_anew,
        calls_anew=calls_anew,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another FeatureGroup, as far as it can stand in the way."""

    group: FeatureGroup
    entry: Entry
    uid: str
    holds_claim: bool
    """Whether the operator has accepted its features: its claim is held."""
    is_published: bool


def neighbour_of(document: Document, table_prefix: str) -> Neighbour | None:
    """Read a group that is there; None where its spec cannot be read, so that nothing is published of it."""
    try:
        group = parse_feature_group(document)
    except SpecInvalid:
        return None
    status = document.get("status") or {}
    accepted = _conditions(status, "SchemaAccepted")
    entry, uid = _entry(document, group, table_prefix)
    return Neighbour(
        group=group,
        entry=entry,
        uid=uid,
        holds_claim=any(found_before(condition).holds for condition in accepted),
        is_published="config" in status and not _is_leaving(document) and not _is_refused(status),
    )


def _acting(document: Document) -> FeatureGroup | None:
    """Parse a sound group that the operator acts on."""
    if _is_leaving(document):
        return None
    try:
        group = parse_feature_group(document)
    except SpecInvalid:
        return None
    return group if group.spec.management_policy == "Full" else None


def _is_leaving(document: Document) -> bool:
    return bool(document["metadata"].get("deletionTimestamp"))


def _is_refused(status: Mapping[str, Any]) -> bool:
    """Whether its feature server may not be used, so that it is in no catalog any more."""
    told = map(found_before, _conditions(status, "OnDemandReady"))
    return any(finding.reason == NOT_ALLOWED for finding in told)


def _conditions(status: Mapping[str, Any], kind: str) -> list[Mapping[str, str]]:
    return [condition for condition in status.get("conditions") or () if condition.get("type") == kind]


def _serves_from(entry: Entry) -> str | None:
    """The namespace of its feature server; None = it is stored."""
    server = server_of(entry.group)
    return server.namespace if server is not None else None


def _entry(document: Document, group: FeatureGroup, table_prefix: str) -> tuple[Entry, str]:
    metadata = document["metadata"]
    uid = metadata.get("uid", "")
    created = metadata.get("creationTimestamp") or _NEWEST
    return entry_of(group, created=created, uid=uid, table_prefix=table_prefix), uid
