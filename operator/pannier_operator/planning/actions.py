"""The mutations the operator knows, one class each. Nothing else ever changes anything in AWS.

`aws.mutations` carries them out; the names are the labels of metrics and logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pannier_operator.planning.claims import Claim
from pannier_operator.planning.observed import Billing, OnDemandLimits, Recovery, TableClass, Throughput
from pannier_operator.planning.wanted import WantedTable


@dataclass(frozen=True, slots=True)
class CreateTable:
    """Make the table, with everything that CreateTable itself can set."""

    wanted: WantedTable


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Delete the table with all rows."""


@dataclass(frozen=True, slots=True)
class PutClaim:
    """Write the claim, if it still is as it was seen (None: there was none)."""

    claim: Claim
    seen: Claim | None


@dataclass(frozen=True, slots=True)
class TagTable:
    """Set tags; others stay."""

    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UntagTable:
    """Remove tags that are no longer declared."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnableTtl:
    """Let DynamoDB remove rows past ``expires_at``."""


@dataclass(frozen=True, slots=True)
class DisableTtl:
    """Stop removal by another attribute, so that ours can follow an hour later."""

    attribute: str


@dataclass(frozen=True, slots=True)
class SetRecovery:
    """Switch point-in-time recovery, or change how far it reaches."""

    recovery: Recovery


@dataclass(frozen=True, slots=True)
class SetDeletionProtection:
    """Switch AWS's own lock."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class ChangeBilling:
    """Switch between on-demand and provisioned; ``throughput`` goes with the latter."""

    billing: Billing
    throughput: Throughput | None


@dataclass(frozen=True, slots=True)
class ChangeThroughput:
    """Change provisioned capacity."""

    throughput: Throughput


@dataclass(frozen=True, slots=True)
class ChangeOnDemandLimits:
    """Change the ceilings of an on-demand table; None leaves one as it is."""

    limits: OnDemandLimits


@dataclass(frozen=True, slots=True)
class ChangeTableClass:
    """Switch between Standard and InfrequentAccess."""

    table_class: TableClass


@dataclass(frozen=True, slots=True)
class ChangeEncryption:
    """Encrypt with a key of the account."""

    kms_key_arn: str


UpdateTable = (
    SetDeletionProtection
    | ChangeBilling
    | ChangeThroughput
    | ChangeOnDemandLimits
    | ChangeTableClass
    | ChangeEncryption
)
"""What goes through UpdateTable: one at a time, and only while the table is ACTIVE."""

Action = (
    CreateTable
    | DeleteTable
    | PutClaim
    | TagTable
    | UntagTable
    | EnableTtl
    | DisableTtl
    | SetRecovery
    | UpdateTable
)
