"""Groups visible to a namespace -> its catalog, digest and files; who is left out and why. Pure.

A namespace's own groups come before those that others give it, and older ones before newer: what is served is
not displaced by a newcomer, and nobody's grant displaces a namespace's own group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pannier.catalog import Access, Catalog, CatalogGroup
from pannier.catalog_building import catalog_group
from pannier.catalog_rendering import render
from pannier.spec import FeatureGroup
from pannier_operator.catalogs.group_index import Key


@dataclass(frozen=True, slots=True)
class Entry:
    """One group as catalogs take it: what sidecars serve, for whom, since when."""

    key: Key
    created: tuple[str, str]
    """Creation time and uid: who was first."""
    group: CatalogGroup
    """As its own namespace sees it."""
    grants: Mapping[str, Access] = field(default_factory=dict)
    """Other namespaces that may use it."""

    @property
    def namespaces(self) -> list[str]:
        """Every namespace whose catalog holds it, its own first."""
        return [self.key.namespace, *sorted(self.grants)]

    def is_newer_than(self, other: Entry) -> bool:
        """Whether it is of a later edit of the same object."""
        return self.created == other.created and self.group.generation > other.group.generation

    @property
    def digest(self) -> str:
        """What of it sidecars can tell: an edit that leaves it as it is changes no catalog."""
        grants = sorted(self.grants.items())
        return hashlib.sha256(_bytes(self.group) + msgspec.json.encode(grants)).hexdigest()


def entry_of(group: FeatureGroup, *, created: str, uid: str, table_prefix: str) -> Entry:
    """Make the entry of a sound group."""
    metadata = group.metadata
    grants: dict[str, Access] = {
        consumer.namespace: consumer.access
        for consumer in group.spec.consumers or ()
        if consumer.namespace != metadata.namespace
    }
    return Entry(
        key=Key(metadata.namespace, metadata.name),
        created=(created, uid),
        group=catalog_group(group, "ReadWrite", table_prefix),
        grants=grants,
    )


class Visible(NamedTuple):
    """What a namespace's catalog takes, and which entries lost their name to which."""

    groups: tuple[CatalogGroup, ...]
    losers: Mapping[Key, Key]


def visible_to(namespace: str, entries: Iterable[Entry]) -> Visible:
    """Choose what a namespace serves: one group per groupName."""
    candidates = sorted(
        (entry for entry in entries if namespace == entry.key.namespace or namespace in entry.grants),
        key=lambda entry: (entry.key.namespace != namespace, entry.created, entry.key),
    )
    winners: dict[str, Entry] = {}
    losers: dict[Key, Key] = {}
    for entry in candidates:
        winner = winners.setdefault(entry.group.group_name, entry)
        if winner is not entry:
            losers[entry.key] = winner.key
    groups = sorted(
        (as_seen_by(namespace, entry) for entry in winners.values()), key=lambda group: group.group_name
    )
    return Visible(tuple(groups), losers)


def as_seen_by(namespace: str, entry: Entry) -> CatalogGroup:
    """Return the group with the access that a namespace has."""
    access: Access = "ReadWrite" if namespace == entry.key.namespace else entry.grants[namespace]
    return msgspec.structs.replace(entry.group, access=access)


def tells_the_same(one: CatalogGroup, other: CatalogGroup) -> bool:
    """Whether sidecars cannot tell two versions apart."""
    return one == msgspec.structs.replace(other, generation=one.generation)


def content_digest(groups: Iterable[CatalogGroup]) -> str:
    """Return sha256 over what sidecars can tell apart; generations are left out (ADR 15)."""
    digest = hashlib.sha256()
    for group in groups:
        digest.update(_bytes(group))
    return digest.hexdigest()


def catalog_files(groups: Sequence[CatalogGroup], revision: int) -> dict[str, str]:
    """Write the files of a catalog."""
    return render(Catalog(revision=revision, groups=tuple(groups)))


def _bytes(group: CatalogGroup) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(group, generation=0))
