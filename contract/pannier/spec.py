"""The FeatureGroup resource as people write it, field by field.

Structure and bounds live here, rules between fields in `pannier.rules`. The way in from YAML or JSON is
`pannier.spec_parsing`, the only maker of a sound FeatureGroup; what a group comes to for a sidecar is made by
`pannier.catalog_building`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict, StringConstraints

from pannier.catalog import Access, FeatureState, FeatureType, ScalarType, TimeUnit
from pannier.spec_base import (
    DNS_LABEL_PATTERN,
    DNS_SUBDOMAIN_PATTERN,
    ENTITY_PATTERN,
    FEATURE_NAME_PATTERN,
    GROUP_NAME_PATTERN,
    MAX_FEATURES,
    YEAR_SECONDS,
    DnsLabel,
    SpecModel,
)
from pannier.spec_cache import CacheSpec
from pannier.spec_storage import OnDemandSpec, StorageSpec

DEFAULT_NAMESPACE = "default"
FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=FEATURE_NAME_PATTERN)]


class SortKeySpec(SpecModel):
    """What tells the rows of one id apart. Immutable, since every stored key depends on it."""

    type: Literal["None", "Timestamp"]
    """Timestamp = many records per id, newest first (a timeline); None = one row per id (a record)."""
    unit: TimeUnit | None = None
    """Unit of the timestamps that apps send and read. Default Seconds."""
    width: Annotated[int, Field(ge=9, le=19)] | None = None
    """Digits of a stored timestamp. Default 10, 13 or 16 by unit, enough until the year 2286."""
    tie_breaker: FeatureName | None = None
    """Name of the String or Int64 feature that tells records of one instant apart."""


class KeySpec(SpecModel):
    """What identifies a row."""

    entity: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=ENTITY_PATTERN)]
    """What the id identifies, such as user or article; for people and dashboards."""
    max_id_bytes: Annotated[int, Field(ge=1, le=1900)] = 256
    """Longest accepted id in bytes of UTF-8. May only grow."""
    sort_key: SortKeySpec | None = None
    """Absent = one row per id."""


class FeatureSpec(SpecModel):
    """One feature. Its id is its name in storage and never changes meaning."""

    id: Annotated[int, Field(ge=0, le=MAX_FEATURES - 1)]
    """Name of the feature in storage, as in {"0": "a", "1": "1111"}; new features take the next number."""
    name: FeatureName
    """Name in the serving API."""
    type: FeatureType
    """Type of the value: String, Int64, Float64, Bool, Bytes, Timestamp, Json, List, Set, Map or Vector (an
    array of float32). Containers are one level deep; deeper data is Json."""
    element_type: ScalarType | None = None
    """Type of the elements of a List or Set, or of the values of a Map (whose keys are strings): String,
    Int64, Float64, Bool, Bytes, Timestamp or Json."""
    dimensions: Annotated[int, Field(ge=1, le=98_304)] | None = None
    """Length of a Vector."""
    state: FeatureState = "Active"
    """Deprecated = still served, and counted; Removed = neither accepted nor served, for good."""
    max_bytes: Annotated[int, Field(ge=1, le=393_216)] = 8192
    """Larger values are refused when written, measured as stored; a whole row takes at most 400 KB."""
    default: Annotated[
        Any, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "nullable": True})
    ] = None
    """Served where a row that was found lacks the feature: a value of the feature's type."""
    description: Annotated[str, StringConstraints(max_length=512)] = ""
    """For people; shown by the catalogue of features."""

    @property
    def has_default(self) -> bool:
        """Whether a default is declared (a declared null is one)."""
        return "default" in self.model_fields_set


class QuerySpec(SpecModel):
    """What one read may ask for."""

    default_limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Records per id where the read names no limit. Default 30 for timelines (at most maxLimit), 1 for
    records."""
    max_limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most records per id; caches keep this many. Default 50 for timelines (at least defaultLimit), 1 for
    records."""
    max_lookback_seconds: Annotated[int, Field(ge=1, le=100 * YEAR_SECONDS)] | None = None
    """Oldest record a read may reach; absent = retention decides."""


class RetentionSpec(SpecModel):
    """How long rows live. May be edited at any time; every accepted write stamps its row anew."""

    seconds: Annotated[int, Field(ge=60, le=10 * YEAR_SECONDS)] | None = None
    """Lifetime of a row; absent = for ever."""
    basis: Literal["WriteTime", "EventTime"] = "WriteTime"
    """EventTime counts from the record's timestamp, WriteTime from the write."""
    tombstone_seconds: Annotated[int, Field(ge=3600, le=YEAR_SECONDS)] = 604_800
    """How long a deletion is remembered; events later than this may bring a deleted row back."""


class ConsumerSpec(SpecModel):
    """A namespace whose sidecars serve the group as well."""

    namespace: DnsLabel
    """Name of the namespace."""
    access: Access = "Read"
    """Read, or ReadWrite."""


class Spec(SpecModel):
    """What the team declares."""

    group_name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=GROUP_NAME_PATTERN)]
    """Name in the serving API and prefix of every stored key, <groupName>#<id>. Unique among all
    groups that one sidecar serves, whatever their namespace. Immutable."""
    description: Annotated[str, StringConstraints(max_length=1024)] = ""
    """For people; shown by the catalogue of features."""
    management_policy: Literal["Full", "Observe", "Paused"] = "Full"
    """Full = reconcile; Observe = only report drift; Paused = touch nothing (deletion is still processed)."""
    key: KeySpec
    """What identifies a row."""
    features: Annotated[
        tuple[FeatureSpec, ...],
        Strict(False),  # noqa: FBT003 - pydantic's own way to take a JSON array as a tuple
        Field(
            min_length=1,
            max_length=MAX_FEATURES,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    ]
    """Append-only: to retire a feature set its state to Removed. The order of the list carries no meaning."""
    query: QuerySpec | None = None
    """What one read may ask for."""
    retention: RetentionSpec | None = None
    """How long rows live; absent = for ever."""
    cache: CacheSpec | None = None
    """How reads are cached; absent = profile Hot."""
    storage: StorageSpec
    """Where the rows live."""
    deletion_policy: Literal["Retain", "Delete", "Expire"] = "Retain"
    """What becomes of the rows with the resource. Retain = they stay; Delete = the dedicated table goes;
    Expire = rows of a shared table end by retention."""
    on_demand: OnDemandSpec | None = None
    """The feature server that computes the group; goes with storage.mode None."""
    consumers: (
        Annotated[
            tuple[ConsumerSpec, ...],
            Strict(False),  # noqa: FBT003 - as above
            Field(
                max_length=64,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["namespace"],
                },
            ),
        ]
        | None
    ) = None
    """Other namespaces that may use the group: granting access is the owner's decision."""

    @property
    def is_timeline(self) -> bool:
        """Whether an id has many records."""
        return self.key.sort_key is not None and self.key.sort_key.type == "Timestamp"


class Metadata(SpecModel):
    """The part of Kubernetes' object metadata that Pannier reads; the rest is Kubernetes' own and ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
    """Name of the resource."""
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)] = (
        DEFAULT_NAMESPACE
    )
    """The namespace that owns the rows."""
    generation: int = 1
    """Counts edits of the spec."""


class FeatureGroup(SpecModel):
    """A named set of features that are stored and served together."""

    api_version: Literal["pannier.dev/v1alpha1"]
    """Always pannier.dev/v1alpha1."""
    kind: Literal["FeatureGroup"]
    """Always FeatureGroup."""
    metadata: Metadata
    """Name and namespace."""
    spec: Spec
    """What the team declares."""
    status: Any = None
    """Written by the operator; ignored here, so that ``kubectl get -o yaml`` can be read back."""

    def __str__(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name} ({self.spec.group_name})"
