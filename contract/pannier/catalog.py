"""The catalog: every group a sidecar serves, with names, types and policy resolved.

FeatureGroups -> `CatalogGroup` -> ConfigMap data -> `CatalogGroup`. The operator renders it, the sidecar
reads it, and ``pannier serve --specs`` makes one in memory. The format is additive: unknown fields are
ignored by readers.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pannier.policy import CachePolicy

FORMAT = 1
"""Version of the catalog format; changes only when an old reader would misread a new catalog."""

ScalarType = Literal["String", "Int64", "Float64", "Bool", "Bytes", "Timestamp", "Json"]
FeatureType = Literal[
    "String", "Int64", "Float64", "Bool", "Bytes", "Timestamp", "Json", "List", "Set", "Map", "Vector"
]
FeatureState = Literal["Active", "Deprecated", "Removed"]
TimeUnit = Literal["Seconds", "Milliseconds", "Microseconds"]
Access = Literal["Read", "ReadWrite"]
StorageMode = Literal["Dedicated", "Shared", "None"]


class CatalogFeature(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One feature. ``id`` is the stored attribute name and never changes its meaning."""

    id: int
    name: str
    type: FeatureType
    element_type: ScalarType | None = None
    dimensions: int | None = None
    state: FeatureState = "Active"
    max_bytes: int = 8192
    default: str | None = None
    """The text of the spec's default as canonical JSON, such as ``null``; None where the spec declares none.

    Text, since a field that holds JSON itself could not tell a declared null from no default.
    """
    description: str = ""


class CatalogSortKey(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The sort key of a timeline group: ``width`` digits of ``unit``, then the tie-breaker if declared."""

    unit: TimeUnit
    width: int
    tie_breaker: str | None = None
    """Name of the String or Int64 feature that tells records of one instant apart."""


class CatalogKey(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What identifies a row. ``sort_key`` is None for a record group, else the group is a timeline."""

    entity: str
    max_id_bytes: int
    sort_key: CatalogSortKey | None = None


class CatalogQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How much one read may ask for."""

    default_limit: int
    max_limit: int
    max_lookback_seconds: int | None = None


class CatalogRetention(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """How long rows live; ``seconds`` None means forever. Tombstones always end."""

    seconds: int | None = None
    basis: Literal["EventTime", "WriteTime"] = "WriteTime"
    tombstone_seconds: int = 604_800


class CatalogInput(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Features of another group that a computed group takes: an item of ``onDemand.inputs``."""

    name: str
    group: str
    features: tuple[str, ...]
    id_from: Literal["Id", "IdPart", "Context"] = "Id"
    part: int | None = None
    separator: str = ":"
    context_key: str | None = None
    limit: int | None = None


class CatalogGroup(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One group as a sidecar serves it."""

    group_name: str
    namespace: str
    """The namespace that owns the group's rows; part of every cache key."""
    resource: str
    """metadata.name of the FeatureGroup."""
    generation: int
    schema_hash: str
    """sha256 over everything that changes how stored features are rendered: ids, names, types, states,
    defaults."""
    access: Access
    storage_mode: StorageMode
    table_name: str | None = None
    key: CatalogKey
    features: tuple[CatalogFeature, ...]
    query: CatalogQuery
    retention: CatalogRetention
    policy: CachePolicy
    on_demand: dict[str, Any] | None = None

    @property
    def is_timeline(self) -> bool:
        """Whether an id has many records, newest first."""
        return self.key.sort_key is not None


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All groups visible to one namespace, as of one revision."""

    revision: int
    groups: tuple[CatalogGroup, ...]
