"""A `Catalog` as the data of ConfigMaps, and back.

``manifest.json`` names format, revision and the sha256 of every shard; ``groups-000.json`` and on hold the
groups, each shard small enough for a ConfigMap of its own. All are mounted through one projected volume,
so that they change together, and a set is used only if every digest matches. Readers ignore fields they do
not know; a group they cannot use is named and does not keep the others from being served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pannier.catalog import FORMAT, Catalog, CatalogGroup
from pannier.errors import Problem, SpecInvalid
from pannier.values import codec_for

MANIFEST: Final = "manifest.json"
MAX_SHARD_BYTES: Final = 900 * 1024
"""Below the 1 MiB of a ConfigMap, with room for its metadata."""
_SHARD_FRAME: Final = b'{"groups":[]}'
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON, no UTF-8, or nested beyond measure."""


class ShardEntry(msgspec.Struct, frozen=True):
    """What the manifest says of one shard."""

    name: str
    sha256: str


class CatalogManifest(msgspec.Struct, frozen=True):
    """What the shards are, and which revision they make up."""

    format: int
    revision: int
    shards: tuple[ShardEntry, ...]


class _Shard(msgspec.Struct, frozen=True):
    groups: tuple[msgspec.Raw, ...]


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    group_name: str = "?"


@dataclass(frozen=True, slots=True)
class RejectedGroup:
    """A group of the catalog that this release cannot serve."""

    group_name: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class ParsedCatalog:
    """The groups that can be served, and those that cannot."""

    catalog: Catalog
    rejected: tuple[RejectedGroup, ...] = ()


def render(catalog: Catalog) -> dict[str, str]:
    """Write a catalog as file names and texts, the same bytes for the same catalog."""
    groups = sorted(catalog.groups, key=lambda group: group.group_name)
    shards = {f"groups-{i:03d}.json": shard for i, shard in enumerate(_shards(groups))}
    entries = tuple(ShardEntry(name, _digest(shard)) for name, shard in shards.items())
    manifest = CatalogManifest(FORMAT, catalog.revision, entries)
    return {
        MANIFEST: msgspec.json.encode(manifest).decode(),
        **{name: shard.decode() for name, shard in shards.items()},
    }


def _shards(groups: Iterable[CatalogGroup]) -> Iterator[bytes]:
    """Fill shards in turn. A single group fits: lengths of texts and of defaults are bounded by its model."""
    waiting: list[bytes] = []
    size = len(_SHARD_FRAME)
    for group in groups:
        encoded = msgspec.json.encode(group)
        if waiting and size + len(encoded) + 1 > MAX_SHARD_BYTES:
            yield _shard(waiting)
            waiting, size = [], len(_SHARD_FRAME)
        waiting.append(encoded)
        size += len(encoded) + 1
    if waiting:
        yield _shard(waiting)


def _shard(groups: Iterable[bytes]) -> bytes:
    return b'{"groups":[' + b",".join(groups) + b"]}"


def _digest(shard: bytes) -> str:
    return hashlib.sha256(shard).hexdigest()


def parse_manifest(data: Mapping[str, bytes]) -> CatalogManifest:
    """Read what the files are; raises `SpecInvalid` if this release cannot read them."""
    if MANIFEST not in data:
        raise _unusable("CatalogMissing", f"there is no {MANIFEST}; is the catalog mounted here?")
    try:
        manifest = msgspec.json.decode(data[MANIFEST], type=CatalogManifest)
    except _UNREADABLE as error:
        raise _unusable("CatalogUnreadable", f"{MANIFEST} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise _unusable(
            "CatalogFormat", f"has format {manifest.format}; this release reads {FORMAT}, upgrade the sidecar"
        )
    return manifest


def parse(data: Mapping[str, bytes]) -> ParsedCatalog:
    """Read rendered files; raises `SpecInvalid` if they do not belong together or are damaged."""
    manifest = parse_manifest(data)
    groups: list[CatalogGroup] = []
    rejected: list[RejectedGroup] = []
    for entry in manifest.shards:
        for raw in _verified(entry, data).groups:
            try:
                groups.append(_usable(raw))
            except SpecInvalid as invalid:
                rejected.append(RejectedGroup(_name_of(raw), invalid.problems[0]))
    return ParsedCatalog(Catalog(revision=manifest.revision, groups=tuple(groups)), tuple(rejected))


def _verified(entry: ShardEntry, data: Mapping[str, bytes]) -> _Shard:
    shard = data.get(entry.name)
    if shard is None:
        raise _unusable("CatalogIncomplete", f"{entry.name} is missing; the files do not belong together")
    if _digest(shard) != entry.sha256:
        raise _unusable("CatalogDamaged", f"{entry.name} does not match its digest in {MANIFEST}")
    try:
        return msgspec.json.decode(shard, type=_Shard)
    except _UNREADABLE as error:
        raise _unusable("CatalogUnreadable", f"{entry.name} cannot be read: {error}") from error


def _usable(raw: msgspec.Raw) -> CatalogGroup:
    """Decode one group and make sure that everything in it has a meaning here."""
    try:
        group = msgspec.json.decode(raw, type=CatalogGroup)
    except _UNREADABLE as error:
        path = f"groups.{_name_of(raw)}"
        raise SpecInvalid(
            [Problem(path, "GroupUnreadable", f"is not known to this release: {error}")]
        ) from error
    for feature in group.features:
        codec_for(feature)
    ids, names = ({getattr(f, key) for f in group.features} for key in ("id", "name"))
    sort = group.key.sort_key
    tie_breaker = sort.tie_breaker if sort else None
    if not len(ids) == len(names) == len(group.features) or (tie_breaker and tie_breaker not in names):
        message = "its features contradict each other: an id, a name or the tie-breaker"
        raise SpecInvalid([Problem(f"groups.{group.group_name}", "GroupUnreadable", message)])
    return group


def _name_of(raw: msgspec.Raw) -> str:
    """Read the name of a group that cannot be read otherwise."""
    try:
        return msgspec.json.decode(raw, type=_Named).group_name
    except _UNREADABLE:
        return "?"


def _unusable(reason: str, message: str) -> SpecInvalid:
    return SpecInvalid([Problem("catalog", reason, message)])
