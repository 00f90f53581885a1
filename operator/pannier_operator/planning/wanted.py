"""A FeatureGroup, or a shared table of the platform -> the table it asks for, in DynamoDB's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pannier.keys import default_table_name
from pannier.spec import FeatureGroup
from pannier.spec_storage import DedicatedTable, PointInTimeRecovery
from pannier_operator.planning.claims import Claim, Owner, Ownership, claim_of
from pannier_operator.planning.observed import (
    NO_LIMITS,
    Billing,
    OnDemandLimits,
    Recovery,
    TableClass,
    Throughput,
)

TAG_PREFIX: Final = "pannier.dev/"
TAG_CLUSTER: Final = f"{TAG_PREFIX}cluster-id"
TAG_NAMESPACE: Final = f"{TAG_PREFIX}namespace"
TAG_NAME: Final = f"{TAG_PREFIX}name"
TAG_UID: Final = f"{TAG_PREFIX}uid"
TAG_OWNERSHIP: Final = f"{TAG_PREFIX}ownership"
SHARED_OWNER_NAME: Final = "shared"
DEFAULT_RECOVERY: Final = Recovery(enabled=True, days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTable:
    """One table as declared. None where the spec says nothing: then it is left as it is."""

    name: str
    region: str | None
    owner: Owner
    uid: str
    may_adopt: bool
    billing: Billing | None = None
    throughput: Throughput | None = None
    throughput_is_external: bool = False
    on_demand: OnDemandLimits = NO_LIMITS
    table_class: TableClass | None = None
    recovery: Recovery = DEFAULT_RECOVERY
    deletion_protected: bool = True
    kms_key_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """The spec's own; those that say whose the table is come on top."""
    claim: Claim | None = None
    """What the group asks for in it; None for a shared table by itself."""

    def ownership_tags(self, ownership: Ownership) -> dict[str, str]:
        """Tags that say whose the table is."""
        return {
            TAG_CLUSTER: self.owner.cluster_id,
            TAG_NAMESPACE: self.owner.namespace,
            TAG_NAME: self.owner.name,
            TAG_UID: self.uid,
            TAG_OWNERSHIP: ownership,
        }


def table_name_of(group: FeatureGroup, prefix: str) -> str | None:
    """Name the table of a group; None where nothing is stored."""
    storage = group.spec.storage
    if storage.mode == "None":
        return None
    return storage.table_name or default_table_name(prefix, group.metadata.namespace, group.spec.group_name)


def dedicated_table(group: FeatureGroup, *, cluster_id: str, uid: str, prefix: str) -> WantedTable:
    """Make the table that a group with storage.mode Dedicated asks for."""
    name = table_name_of(group, prefix)
    if name is None:
        raise ValueError(f"{group} has no table")
    storage, metadata = group.spec.storage, group.metadata
    claim = claim_of(group, cluster_id=cluster_id, uid=uid, ownership="Created")
    return _with_settings(
        storage.dedicated,
        WantedTable(
            name=name,
            region=storage.region,
            owner=Owner(cluster_id, metadata.namespace, metadata.name),
            uid=uid,
            may_adopt=storage.adoption == "IfCompatible",
            claim=claim,
        ),
    )


def shared_table(
    name: str, settings: DedicatedTable | None, *, cluster_id: str, region: str | None = None, may_adopt: bool
) -> WantedTable:
    """Make a table that the platform offers to groups with storage.mode Shared."""
    owner = Owner(cluster_id, "", SHARED_OWNER_NAME)
    wanted = WantedTable(name=name, region=region, owner=owner, uid=SHARED_OWNER_NAME, may_adopt=may_adopt)
    return _with_settings(settings, wanted)


def _with_settings(settings: DedicatedTable | None, wanted: WantedTable) -> WantedTable:
    """Take over what is declared; of what is not, only the safety is wanted."""
    if settings is None:
        return wanted
    provisioned, ceilings = settings.provisioned_throughput, settings.on_demand_throughput
    recovery = settings.point_in_time_recovery or PointInTimeRecovery()
    tags = dict(settings.tags or {})
    return replace(
        wanted,
        billing=settings.billing_mode,
        throughput=Throughput(provisioned.read_capacity_units, provisioned.write_capacity_units)
        if provisioned
        else None,
        throughput_is_external=provisioned is not None and provisioned.management == "External",
        on_demand=OnDemandLimits(ceilings.max_read_request_units, ceilings.max_write_request_units)
        if ceilings
        else NO_LIMITS,
        table_class=settings.table_class,
        recovery=Recovery(recovery.state == "Enabled", recovery.recovery_period_days),
        deletion_protected=settings.deletion_protection == "Enabled",
        kms_key_arn=settings.kms_key_arn,
        tags=tags,
        claim=wanted.claim and replace(wanted.claim, tag_keys=frozenset(tags)),
    )
