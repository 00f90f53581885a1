"""``spec.storage`` and ``spec.onDemand``: where rows live, or who computes them instead."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints

from pannier.catalog import StorageMode
from pannier.spec_base import (
    DNS_LABEL_PATTERN,
    FEATURE_NAME_PATTERN,
    GROUP_NAME_PATTERN,
    KMS_KEY_ARN_PATTERN,
    PATH_PATTERN,
    REGION_PATTERN,
    TABLE_NAME_PATTERN,
    DnsLabel,
    SpecModel,
)

Capacity = Annotated[int, Field(ge=1, le=1_000_000, json_schema_extra={"format": "int64"})]
Switch = Literal["Enabled", "Disabled"]


class ProvisionedThroughput(SpecModel):
    """Capacity of a table with billingMode Provisioned."""

    read_capacity_units: Capacity
    """Strongly consistent reads of 4 KB a second."""
    write_capacity_units: Capacity
    """Writes of 1 KB a second."""
    management: Literal["Fixed", "External"] = "Fixed"
    """External = the figures hold at creation only; an autoscaler owns them afterwards."""


class OnDemandThroughput(SpecModel):
    """Cost ceiling of a table with billingMode PayPerRequest."""

    max_read_request_units: Capacity | None = None
    """Most read units a second."""
    max_write_request_units: Capacity | None = None
    """Most write units a second."""


class PointInTimeRecovery(SpecModel):
    """Continuous backups."""

    state: Switch = "Enabled"
    """On by default: features are expensive to recompute."""
    recovery_period_days: Annotated[int, Field(ge=1, le=35)] = 7
    """How far back a table can be restored."""


class DedicatedTable(SpecModel):
    """Settings of the group's own table; all may be edited, within AWS's rate limits."""

    billing_mode: Literal["PayPerRequest", "Provisioned"] = "PayPerRequest"
    """PayPerRequest, or Provisioned with provisionedThroughput."""
    provisioned_throughput: ProvisionedThroughput | None = None
    """Capacity with billingMode Provisioned."""
    on_demand_throughput: OnDemandThroughput | None = None
    """Cost ceiling with billingMode PayPerRequest."""
    table_class: Literal["Standard", "InfrequentAccess"] = "Standard"
    """Standard, or InfrequentAccess for large cold groups."""
    point_in_time_recovery: PointInTimeRecovery | None = None
    """Continuous backups; absent = Enabled with 7 days."""
    deletion_protection: Switch = "Enabled"
    """AWS's own lock. Has to be Disabled before deletionPolicy Delete can work: two deliberate edits."""
    kms_key_arn: Annotated[str, StringConstraints(max_length=2048, pattern=KMS_KEY_ARN_PATTERN)] | None = None
    """Absent = a key owned by AWS. An ARN, since an alias never compares equal to what AWS reports."""
    tags: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=40)] | None
    ) = None
    """Extra tags of the table; keys under pannier.dev/ are reserved."""


class StorageSpec(SpecModel):
    """Where the rows live."""

    mode: StorageMode
    """Dedicated = the group owns its table; Shared = rows live in a table of the platform; None = nothing is
    stored and onDemand computes. Immutable."""
    table_name: (
        Annotated[str, StringConstraints(min_length=3, max_length=255, pattern=TABLE_NAME_PATTERN)] | None
    ) = None
    """DynamoDB table; Dedicated defaults to <prefix>.<namespace>.<groupName>, Shared has to name it.
    Immutable."""
    region: Annotated[str, StringConstraints(max_length=32, pattern=REGION_PATTERN)] | None = None
    """AWS region; absent = the operator's. Immutable."""
    adoption: Literal["Never", "IfCompatible"] = "Never"
    """What to do if a dedicated table of that name exists without Pannier's tags; IfCompatible checks its
    keys."""
    dedicated: DedicatedTable | None = None
    """Settings of the group's own table."""


class FeatureServer(SpecModel):
    """The Service of a feature server; a reference, not a URL, so that a sidecar is no open proxy."""

    name: DnsLabel
    """Name of the Service."""
    namespace: Annotated[str, StringConstraints(max_length=63, pattern=DNS_LABEL_PATTERN)] | None = None
    """Absent = the group's own; others need the operator's permission (--on-demand-services)."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """Port of the Service."""
    path: Annotated[str, StringConstraints(max_length=256, pattern=PATH_PATTERN)] = "/v1/features"
    """Path of the request."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTP, or HTTPS with a certificate for NAME.NAMESPACE.svc of an authority that the platform trusts."""


class OnDemandInput(SpecModel):
    """Features of another group that are read first and passed to the feature server with the ids."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=FEATURE_NAME_PATTERN)]
    """Name of the input in the request that the server gets; each once."""
    group: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=GROUP_NAME_PATTERN)]
    """groupName of the group that is read, stored or computed, as the reading sidecar's namespace sees it."""
    features: Annotated[
        tuple[
            Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=FEATURE_NAME_PATTERN)], ...
        ],
        Strict(False),  # noqa: FBT003 - pydantic's own way to take a JSON array as a tuple
        Field(min_length=1, max_length=32),
    ]
    """Features of it that are passed along."""
    id_from: Literal["Id", "IdPart", "Context"] = "Id"
    """Which row is read. Id = that of the same id; IdPart = that of a part of the id; Context = that which
    the read's context names, so that a read without it is refused."""
    part: Annotated[int, Field(ge=0, le=15)] | None = None
    """With IdPart: which part of the id, counted from 0."""
    separator: Annotated[str, StringConstraints(min_length=1, max_length=8)] | None = None
    """With IdPart: what stands between the parts. Default ':'."""
    context_key: (
        Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=FEATURE_NAME_PATTERN)] | None
    ) = None
    """With Context: the field of the read's context that holds the id, a text or a whole number."""
    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    """Of a timeline: how many of its newest records are passed along. Default is the group's own."""


class OnDemandSpec(SpecModel):
    """The feature server asked for groups that must not or cannot be stored."""

    service: FeatureServer
    """The Service of the feature server."""
    timeout_milliseconds: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Budget of one call."""
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    """Calls in flight per sidecar; what is over fails at once."""
    on_failure: Literal["Unknown", "Fail"] = "Unknown"
    """Unknown = rows are answered as unknown; Fail = the whole request fails."""
    inputs: (
        Annotated[
            tuple[OnDemandInput, ...],
            Strict(False),  # noqa: FBT003 - as above
            Field(max_length=8, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
        ]
        | None
    ) = None
    """Features of other groups that the server computes with. What is computed with inputs is never
    cached."""
