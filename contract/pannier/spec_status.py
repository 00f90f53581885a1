"""``status`` of a FeatureGroup: written by the operator alone, and only when something changed.

No phase, no counters that move by themselves: whoever waits, waits for a condition.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints

from pannier.policy import Admission, Profile, ReadConsistency, TierState, WritePolicy
from pannier.spec_base import SpecModel

Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Moment = Annotated[str, StringConstraints(max_length=64), Field(json_schema_extra={"format": "date-time"})]
Digest = Annotated[str, StringConstraints(max_length=64)]
Word = Annotated[str, StringConstraints(max_length=64)]


class Condition(SpecModel):
    """One observation about the group, in Kubernetes' standard form."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """Generation the observation is about."""
    last_transition_time: Moment
    """When status changed last."""
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """Why, in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=32_768)]
    """Why, in a sentence to act on."""


class SchemaStatus(SpecModel):
    """What is known of the feature list."""

    hash: Digest | None = None
    """sha256 over ids, names, types, states and defaults; ingestion jobs compare it."""
    active_features: int | None = None
    """Features that are not Removed."""
    next_id: int | None = None
    """Id that the next appended feature must take."""


class TtlStatus(SpecModel):
    """The table's own removal of expired rows."""

    status: Word | None = None
    """ENABLED, ENABLING, DISABLING or DISABLED, as observed."""
    next_change_allowed_time: Moment | None = None
    """An hour after the last change, which is AWS's limit."""


class TableStatus(SpecModel):
    """What is known of the table."""

    arn: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """For IAM policies and people."""
    id: Word | None = None
    """AWS's TableId: tells a table that was deleted and made anew behind our back."""
    status: Word | None = None
    """AWS's TableStatus, verbatim."""
    ownership: Literal["Created", "Adopted", "Claimed", "Foreign"] | None = None
    """Decides whether Pannier may delete it."""
    billing_mode: Word | None = None
    """As observed."""
    last_billing_mode_change_times: (
        Annotated[
            tuple[Moment, ...],
            Strict(False),  # noqa: FBT003 - pydantic's own way to take a JSON array as a tuple
            Field(max_length=4, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
        ]
        | None
    ) = None
    """Last switches to PayPerRequest: AWS allows four in 24 hours."""
    ttl: TtlStatus | None = None
    """The table's own removal of expired rows."""


class ConfigStatus(SpecModel):
    """What was published to sidecars."""

    revision: Int64 | None = None
    """Revision of the catalog that holds this generation; sidecars report the one they run."""
    hash: Digest | None = None
    """Unchanged by edits without effect."""
    namespaces: int | None = None
    """How many namespaces it was published to."""


class TierStatus(SpecModel):
    """One tier of the resolved policy; a Disabled one has no figures."""

    state: TierState | None = None
    """Enabled, Shadow or Disabled."""
    soft_ttl_seconds: int | None = None
    """Refreshed after this."""
    hard_ttl_seconds: int | None = None
    """Loaded anew after this."""
    negative_ttl_seconds: int | None = None
    """How long "no such row" is remembered."""
    max_bytes: Int64 | None = None
    """Upper bound of the group's share."""


class PolicyStatus(SpecModel):
    """What profile and explicit fields came to: the figures sidecars go by."""

    profile: Profile | None = None
    """The serving strategy."""
    local: TierStatus | None = None
    """L1."""
    remote: TierStatus | None = None
    """L2."""
    stale_if_error_seconds: int | None = None
    """How long past its hard TTL an entry may be served while lower tiers fail."""
    write_policy: WritePolicy | None = None
    """WriteThrough or Invalidate."""
    read_consistency: ReadConsistency | None = None
    """Eventual or Strong."""
    jitter_percent: int | None = None
    """How much of a TTL the jitter may take away."""
    early_expiration_percent: int | None = None
    """Scale of the early-refresh window."""
    local_admission: Admission | None = None
    """What may enter L1."""
    remote_admission: Admission | None = None
    """What may enter L2."""
    consistency_checks_per_million: int | None = None
    """Reads of DynamoDB that a million rows read may pay for, to check served hits."""


class Status(SpecModel):
    """Written by the operator only; changes only when something changed."""

    observed_generation: Int64 | None = None
    """Generation this status is about; another one than metadata.generation = not seen yet."""
    conditions: (
        Annotated[
            tuple[Condition, ...],
            Strict(False),  # noqa: FBT003 - as above
            Field(
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
        ]
        | None
    ) = None
    """Ready, SchemaAccepted, TableReady, TTLApplied, ConfigPublished, Served, InSync; OnDemandReady of
    computed groups; Reconciling and Stalled while true."""
    schema_: Annotated[SchemaStatus | None, Field(alias="schema")] = None
    """What is known of the feature list."""
    table: TableStatus | None = None
    """What is known of the table."""
    config: ConfigStatus | None = None
    """What was published to sidecars."""
    policy: PolicyStatus | None = None
    """What spec.cache came to."""
