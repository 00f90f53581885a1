"""FeatureGroups -> the `Catalog` that one namespace's sidecars serve, with all that was left out filled in.

The operator calls it per namespace and delivers the result (`pannier.catalog_rendering`); ``pannier serve
--specs`` calls it once and serves the result directly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pannier.catalog import (
    Access,
    Catalog,
    CatalogFeature,
    CatalogGroup,
    CatalogKey,
    CatalogQuery,
    CatalogRetention,
    CatalogSortKey,
)
from pannier.errors import Problem, SpecInvalid
from pannier.feature_defaults import catalog_feature
from pannier.keys import DEFAULT_WIDTH, default_table_name
from pannier.profiles import resolve
from pannier.spec import FeatureGroup, KeySpec, QuerySpec, Spec

DEFAULT_TABLE_PREFIX: Final = "pannier"
TIMELINE_DEFAULT_LIMIT: Final = 30
TIMELINE_MAX_LIMIT: Final = 50


def next_revision(previous: int, now_ms: int) -> int:
    """Rise with every rendering, also after the stored catalog was deleted and began anew."""
    return max(previous + 1, now_ms)


def catalog_from_specs(
    groups: Sequence[FeatureGroup],
    *,
    revision: int,
    namespace: str | None = None,
    table_prefix: str = DEFAULT_TABLE_PREFIX,
) -> Catalog:
    """Make the catalog of what ``namespace`` may see; None sees everything and may write it (no cluster).

    Raises `SpecInvalid` where two visible groups have one groupName: a caller that must go on serving
    leaves the later one out first (see `duplicate_group_names`).
    """
    visible = [(group, access) for group in groups if (access := access_of(group, namespace))]
    problems = list(duplicate_group_names([group for group, _ in visible]))
    if problems:
        raise SpecInvalid(problems)
    built = (catalog_group(group, access, table_prefix) for group, access in visible)
    return Catalog(revision=revision, groups=tuple(sorted(built, key=lambda group: group.group_name)))


def access_of(group: FeatureGroup, namespace: str | None) -> Access | None:
    """Say what sidecars of a namespace may do with the group; None = they do not see it."""
    if namespace in {None, group.metadata.namespace}:
        return "ReadWrite"
    grants = {consumer.namespace: consumer.access for consumer in group.spec.consumers or ()}
    return grants.get(namespace or "")


def duplicate_group_names(groups: Iterable[FeatureGroup]) -> Iterable[Problem]:
    """Find groups whose groupName an earlier one has already."""
    first: dict[str, FeatureGroup] = {}
    for group in groups:
        name = group.spec.group_name
        other = first.setdefault(name, group)
        if other is not group:
            message = (
                f"{name!r} is taken by {other.metadata.namespace}/{other.metadata.name}; "
                f"{group.metadata.namespace}/{group.metadata.name} needs another groupName"
            )
            yield Problem("spec.groupName", "GroupNameTaken", message)


def catalog_group(group: FeatureGroup, access: Access, table_prefix: str) -> CatalogGroup:
    """Resolve one group. It must come from `pannier.spec_parsing`, so that all rules hold."""
    spec, metadata = group.spec, group.metadata
    by_id = sorted(enumerate(spec.features), key=lambda item: item[1].id)
    features = tuple(catalog_feature(feature, f"spec.features[{index}]") for index, feature in by_id)
    on_demand = spec.on_demand
    return CatalogGroup(
        group_name=spec.group_name,
        namespace=metadata.namespace,
        resource=metadata.name,
        generation=metadata.generation,
        schema_hash=schema_hash(features),
        access=access,
        storage_mode=spec.storage.mode,
        table_name=_table_name(group, table_prefix),
        key=_key(spec.key),
        features=features,
        query=_query(spec),
        retention=_retention(spec),
        policy=resolve(spec.cache, spec.storage.mode),
        on_demand=on_demand.model_dump(mode="json", by_alias=True, exclude_none=True) if on_demand else None,
    )


def schema_hash(features: Iterable[CatalogFeature]) -> str:
    """Return sha256 over everything that changes how stored features are rendered.

    Limits and descriptions are left out, so that editing them does not empty the caches.
    """
    rendered = [msgspec.structs.replace(feature, max_bytes=0, description="") for feature in features]
    return hashlib.sha256(msgspec.json.encode(sorted(rendered, key=lambda feature: feature.id))).hexdigest()


def _table_name(group: FeatureGroup, prefix: str) -> str | None:
    storage = group.spec.storage
    if storage.mode == "None":
        return None
    return storage.table_name or default_table_name(prefix, group.metadata.namespace, group.spec.group_name)


def _key(key: KeySpec) -> CatalogKey:
    sort = key.sort_key
    if sort is None or sort.type == "None":
        return CatalogKey(entity=key.entity, max_id_bytes=key.max_id_bytes)
    unit = sort.unit or "Seconds"
    sort_key = CatalogSortKey(
        unit=unit, width=sort.width or DEFAULT_WIDTH[unit], tie_breaker=sort.tie_breaker
    )
    return CatalogKey(entity=key.entity, max_id_bytes=key.max_id_bytes, sort_key=sort_key)


def _query(spec: Spec) -> CatalogQuery:
    """Give records one row; timelines 30 of 50, where what is set bounds what is not."""
    query = spec.query or QuerySpec()
    if not spec.is_timeline:
        return CatalogQuery(default_limit=1, max_limit=1)
    top = query.max_limit or max(TIMELINE_MAX_LIMIT, query.default_limit or 0)
    usual = query.default_limit or min(TIMELINE_DEFAULT_LIMIT, top)
    return CatalogQuery(default_limit=usual, max_limit=top, max_lookback_seconds=query.max_lookback_seconds)


def _retention(spec: Spec) -> CatalogRetention:
    if spec.retention is None:
        return CatalogRetention()
    return CatalogRetention(
        seconds=spec.retention.seconds,
        basis=spec.retention.basis,
        tombstone_seconds=spec.retention.tombstone_seconds,
    )
