"""A namespace's catalog as it stands in its ConfigMaps: read back, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pannier.catalog import CatalogGroup
from pannier.catalog_feed import BESIDE
from pannier.catalog_rendering import MANIFEST, CatalogManifest, parse
from pannier.errors import SpecInvalid
from pannier_operator.catalogs.catalog_content import content_digest
from pannier_operator.catalogs.group_index import Key


@dataclass(frozen=True, slots=True)
class Published:
    """What a namespace's sidecars are told."""

    revision: int = 0
    digest: str = ""
    groups: Mapping[Key, CatalogGroup] = field(default_factory=dict)
    maps: int = 0
    """How many ConfigMaps it takes; 0 = there is none."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Files beside the catalog: whom sidecars are to trust, as PEM."""
    sound: bool = True
    """False = damaged or of another format: it has to be written anew."""


NOTHING = Published()


def published_from(data: Mapping[str, str], maps: int) -> Published:
    """Read back what is published; what cannot be read is unsound, and its revision still counts."""
    files = {name: text.encode() for name, text in data.items()}
    try:
        parsed = parse(files)
    except SpecInvalid:
        return Published(revision=_revision_of(files), maps=maps, sound=False)
    groups = parsed.catalog.groups
    return Published(
        revision=parsed.catalog.revision,
        digest=content_digest(groups),
        groups=by_key(groups),
        maps=maps,
        beside={name: data[name] for name in BESIDE if name in data},
        sound=not parsed.rejected,
    )


def by_key(groups: tuple[CatalogGroup, ...]) -> dict[Key, CatalogGroup]:
    """Order groups by the resource they come from."""
    return {Key(group.namespace, group.resource): group for group in groups}


def _revision_of(files: Mapping[str, bytes]) -> int:
    """Read the revision of a catalog that cannot be used otherwise; 0 where even that is gone."""
    try:
        return msgspec.json.decode(files.get(MANIFEST, b""), type=CatalogManifest).revision
    except msgspec.DecodeError:
        return 0
