"""The read plan: one catalog compiled into what a request needs, immutable, swapped whole.

Everything derivable from a group's spec is derived here once per catalog revision, so that no request does
work per registered group (feast-dev/feast#3442 is what happens otherwise).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pannier.catalog import Catalog, CatalogFeature, CatalogGroup
from pannier.inputs import InputGraph, input_graph
from pannier.keys import UNIT_MICROSECONDS, cache_key_prefix
from pannier.values import FeatureCodec, codec_for
from pannier_sidecar.on_demand_plan import server_plan
from pannier_sidecar.policy_past import NO_PAST, PolicyPast, past_of


class FeaturePlan:
    """One feature, compiled: its codec and the bytes its name takes in an answer."""

    __slots__ = ("codec", "default", "feature", "id", "json_name", "name", "served", "state")

    def __init__(self, feature: CatalogFeature) -> None:
        self.feature = feature
        self.id = feature.id
        self.name = feature.name
        self.state = feature.state
        self.served = feature.state != "Removed"
        self.codec: FeatureCodec = codec_for(feature)
        self.json_name = f'"{feature.name}":'.encode()
        self.default: bytes | None = feature.default.encode() if feature.default is not None else None

    def __repr__(self) -> str:
        return f"<FeaturePlan {self.id} {self.name} {self.feature.type} {self.state}>"


class GroupPlan:
    """One group, compiled. Compared by identity: an entry made under another plan is looked at again."""

    __slots__ = (
        "by_id",
        "by_name",
        "cache_prefix",
        "features",
        "group",
        "inputs",
        "is_timeline",
        "name",
        "partition_prefix",
        "past",
        "policy",
        "query",
        "register_capacity",
        "retention",
        "schema_hash",
        "served",
        "server",
        "table",
        "tie_breaker",
        "unit_us",
        "width",
    )

    def __init__(self, group: CatalogGroup, past: PolicyPast = NO_PAST) -> None:
        self.group = group
        self.name = group.group_name
        self.policy = group.policy
        self.past = past
        """What was cached under earlier policies, and how."""
        self.query = group.query
        self.retention = group.retention
        self.schema_hash = group.schema_hash
        self.table = group.table_name
        self.server = server_plan(group)
        """Who computes it; None = it is stored."""
        self.inputs = self.server.inputs if self.server is not None else ()
        """What is read of other groups before rows of this one are computed."""
        self.cache_prefix = cache_key_prefix(group.namespace, group.group_name)
        self.partition_prefix = f"{group.group_name}#"
        self.features = tuple(FeaturePlan(feature) for feature in group.features)
        self.served = tuple(feature for feature in self.features if feature.served)
        self.by_name: Mapping[str, FeaturePlan] = MappingProxyType({f.name: f for f in self.features})
        self.by_id: Mapping[int, FeaturePlan] = MappingProxyType({f.id: f for f in self.features})
        sort = group.key.sort_key
        self.is_timeline = sort is not None
        self.width = sort.width if sort else 0
        self.unit_us = UNIT_MICROSECONDS[sort.unit] if sort else 1
        self.tie_breaker = self.by_name[sort.tie_breaker] if sort and sort.tie_breaker else None
        self.register_capacity = group.query.max_limit + 16
        """Sort keys a cached timeline keeps; slack lets tombstones and late records in without a reload."""

    @property
    def is_strong(self) -> bool:
        """Whether every read goes to L3, strongly consistent."""
        return self.policy.read_consistency == "Strong"

    @property
    def is_computed(self) -> bool:
        """Whether rows are computed when they are asked for, and stored nowhere."""
        return self.group.storage_mode == "None"

    @property
    def can_write(self) -> bool:
        """Whether this sidecar may write rows of the group."""
        return self.group.access == "ReadWrite"

    def __repr__(self) -> str:
        kind = "timeline" if self.is_timeline else "record"
        return f"<GroupPlan {self.group.namespace}/{self.name} {kind} generation {self.group.generation}>"


class ReadPlan:
    """All groups this sidecar serves, by name, as of one catalog revision.

    A group that is as it was before keeps its plan, so that an edit of one group is no event for the others.
    """

    __slots__ = ("groups", "inputs", "revision")

    def __init__(self, catalog: Catalog, before: ReadPlan | None = None, now_us: int = 0) -> None:
        known = before.groups if before is not None else {}
        self.revision = catalog.revision
        self.inputs: InputGraph = input_graph(catalog.groups)
        self.groups: Mapping[str, GroupPlan] = MappingProxyType(
            {
                group.group_name: _planned(group, known.get(group.group_name), now_us)
                for group in catalog.groups
            }
        )

    def __repr__(self) -> str:
        return f"<ReadPlan revision {self.revision}, {len(self.groups)} groups>"


def _planned(group: CatalogGroup, before: GroupPlan | None, now_us: int) -> GroupPlan:
    if before is None:
        return GroupPlan(group)
    if before.group == group:
        return before
    return GroupPlan(group, past_of(before.policy, before.past, now_us))
