"""Builders of catalog groups and plans for tests: a sound group in one call, what matters spelled out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

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
    StorageMode,
    TimeUnit,
)
from pannier.keys import DEFAULT_WIDTH
from pannier.policy import CachePolicy, Profile, ReadConsistency, TierPolicy, TierState, WritePolicy
from pannier_sidecar.plan import GroupPlan

FeatureSpec = str | CatalogFeature | Mapping[str, Any]
"""``"Int64"``, ``"Set<String>"``, ``"Vector<3>"``, a mapping of `CatalogFeature` fields, or a feature."""


def a_feature(feature_id: int, name: str, spec: FeatureSpec = "String") -> CatalogFeature:
    """Make one feature; see `FeatureSpec`. A ``default`` in a mapping is any JSON-able value."""
    if isinstance(spec, CatalogFeature):
        return spec
    if isinstance(spec, str):
        spec = _parsed(spec)
    fields = {"id": feature_id, "name": name, **spec}
    if "default" in fields:
        fields["default"] = msgspec.json.encode(fields["default"]).decode()
    return CatalogFeature(**fields)


def _parsed(text: str) -> dict[str, Any]:
    base, _, inner = text.rstrip(">").partition("<")
    if not inner:
        return {"type": base}
    return (
        {"type": base, "dimensions": int(inner)}
        if base == "Vector"
        else {"type": base, "element_type": inner}
    )


def a_policy(
    *,
    profile: Profile = "Hot",
    local: TierState = "Enabled",
    remote: TierState = "Enabled",
    soft: int = 10,
    hard: int = 60,
    negative: int = 5,
    local_soft: int | None = None,
    local_hard: int | None = None,
    local_negative: int | None = None,
    remote_soft: int | None = None,
    remote_hard: int | None = None,
    remote_negative: int | None = None,
    max_bytes: int = 64 * 1024 * 1024,
    stale_if_error: int = 300,
    write_policy: WritePolicy = "WriteThrough",
    read_consistency: ReadConsistency = "Eventual",
    jitter_percent: int = 0,
    early_factor: float = 0.0,
    checks_per_million: int = 1_000,
) -> CachePolicy:
    """Make a resolved policy, by default without jitter and early refresh.

    ``soft``, ``hard`` and ``negative`` hold for both tiers unless one is named.
    """
    return CachePolicy(
        profile=profile,
        local=TierPolicy(
            state=local,
            soft_ttl_seconds=soft if local_soft is None else local_soft,
            hard_ttl_seconds=hard if local_hard is None else local_hard,
            negative_ttl_seconds=negative if local_negative is None else local_negative,
            max_bytes=max_bytes,
        ),
        remote=TierPolicy(
            state=remote,
            soft_ttl_seconds=soft if remote_soft is None else remote_soft,
            hard_ttl_seconds=hard if remote_hard is None else remote_hard,
            negative_ttl_seconds=negative if remote_negative is None else remote_negative,
        ),
        stale_if_error_seconds=stale_if_error,
        write_policy=write_policy,
        read_consistency=read_consistency,
        jitter_percent=jitter_percent,
        early_expiration_factor=early_factor,
        consistency_checks_per_million=checks_per_million,
    )


def a_group(
    name: str = "clicks",
    *,
    features: Mapping[str, FeatureSpec] | None = None,
    timeline: bool = False,
    unit: TimeUnit = "Seconds",
    width: int | None = None,
    tie_breaker: str | None = None,
    default_limit: int | None = None,
    max_limit: int | None = None,
    max_lookback: int | None = None,
    retention: int | None = None,
    retention_basis: Literal["EventTime", "WriteTime"] = "WriteTime",
    tombstone_seconds: int = 604_800,
    namespace: str = "shop",
    access: Access = "ReadWrite",
    storage_mode: StorageMode = "Dedicated",
    table: str | None = None,
    max_id_bytes: int = 256,
    generation: int = 1,
    schema_hash: str | None = None,
    policy: CachePolicy | None = None,
    **policy_fields: Any,
) -> CatalogGroup:
    """Make a served group: by default a record group ``clicks`` with ``item`` String and ``count`` Int64.

    ``features`` maps names to types in the order of their ids. What `a_policy` takes may be given here.
    """
    declared = features if features is not None else {"item": "String", "count": "Int64"}
    built = tuple(a_feature(i, feature, spec) for i, (feature, spec) in enumerate(declared.items()))
    sort = CatalogSortKey(unit=unit, width=width or DEFAULT_WIDTH[unit], tie_breaker=tie_breaker)
    top = max_limit or (50 if timeline else 1)
    return CatalogGroup(
        group_name=name,
        namespace=namespace,
        resource=name.lower().replace("_", "-"),
        generation=generation,
        schema_hash=schema_hash or f"{name}-{generation}",
        access=access,
        storage_mode=storage_mode,
        table_name=None if storage_mode == "None" else table or f"pannier.{namespace}.{name}",
        key=CatalogKey(entity="user", max_id_bytes=max_id_bytes, sort_key=sort if timeline else None),
        features=built,
        query=CatalogQuery(
            default_limit=min(default_limit or 30, top), max_limit=top, max_lookback_seconds=max_lookback
        ),
        retention=CatalogRetention(
            seconds=retention, basis=retention_basis, tombstone_seconds=tombstone_seconds
        ),
        policy=policy or a_policy(**policy_fields),
    )


def a_plan(name: str = "clicks", **fields: Any) -> GroupPlan:
    """Compile the group of `a_group`."""
    return GroupPlan(a_group(name, **fields))


_revisions = itertools.count(1_700_000_000_000)


def a_catalog(*groups: CatalogGroup, revision: int | None = None) -> Catalog:
    """Make a catalog of the groups; each call has a higher revision than the one before."""
    return Catalog(revision=revision or next(_revisions), groups=groups)
