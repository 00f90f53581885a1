"""What DynamoDB says of a table, as values, and what status remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from pannier_operator.planning.claims import Claim

Billing = Literal["PayPerRequest", "Provisioned"]
TableClass = Literal["Standard", "InfrequentAccess"]
Part = Literal["tags", "recovery"]
"""What an emulator may not know."""

TTL_ATTRIBUTE: Final = "expires_at"
START_EMPTY: Final = "pannier.dev/start-empty"
"""Annotation of a group: the id of the lost table in whose place a person wants an empty one."""
USABLE: Final = frozenset({"ACTIVE", "UPDATING"})
"""Table states in which rows can be read and written."""


def switch(*, on: bool) -> str:
    """Name a switch as specs do."""
    return "Enabled" if on else "Disabled"


class KeyColumn(NamedTuple):
    """One part of a table's key: ``HASH`` or ``RANGE``, and ``S``, ``N`` or ``B``."""

    name: str
    role: str
    type: str

    def __str__(self) -> str:
        return f"{self.name} ({self.role.lower()}, {self.type})"


KEYS: Final = (KeyColumn("pk", "HASH", "S"), KeyColumn("sk", "RANGE", "S"))
"""The keys of every table of Pannier."""


class Throughput(NamedTuple):
    """Provisioned capacity units."""

    read: int
    write: int

    def __str__(self) -> str:
        return f"{self.read} read and {self.write} write units"


class OnDemandLimits(NamedTuple):
    """Ceilings of an on-demand table; None = none."""

    read: int | None = None
    write: int | None = None


NO_THROUGHPUT: Final = Throughput(0, 0)
NO_LIMITS: Final = OnDemandLimits()


class Recovery(NamedTuple):
    """Point-in-time recovery."""

    enabled: bool
    days: int | None = None

    def __str__(self) -> str:
        return f"Enabled ({self.days} days)" if self.enabled and self.days else switch(on=self.enabled)


class ObservedTtl(NamedTuple):
    """``ENABLED``, ``ENABLING``, ``DISABLING`` or ``DISABLED``, and the attribute."""

    status: str
    attribute: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTable:
    """DescribeTable's answer, as far as it matters here."""

    name: str
    arn: str
    status: str
    """AWS's TableStatus, verbatim."""
    id: str | None = None
    """AWS's TableId; emulators may have none."""
    keys: tuple[KeyColumn, ...] = KEYS
    billing: Billing = "PayPerRequest"
    throughput: Throughput = NO_THROUGHPUT
    decreases_today: int = 0
    last_decrease: datetime | None = None
    on_demand: OnDemandLimits = NO_LIMITS
    last_on_demand_switch: datetime | None = None
    table_class: TableClass = "Standard"
    deletion_protected: bool = False
    kms_key_arn: str | None = None
    """None = a key owned by AWS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All there is to know of a table at one moment."""

    table: ObservedTable | None
    """None = DynamoDB says that there is none."""
    ttl: ObservedTtl | None = None
    """None = not asked, since the table is not usable yet. So for the next three."""
    recovery: Recovery | None = None
    tags: Mapping[str, str] | None = None
    claim: Claim | None = None
    unsupported: frozenset[Part] = frozenset()
    """What the endpoint does not know: an emulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is known from before: out of status, and of this process where status would be too slow."""

    table_id: str | None = None
    was_usable: bool = False
    """Whether the table was ever seen in use; losing it then loses rows."""
    created_at: datetime | None = None
    """When this process called CreateTable: DescribeTable may not know the table yet."""
    asked_to_create: bool = False
    """Whether this process called CreateTable, whatever came of it."""
    ttl_next_change: datetime | None = None
    on_demand_switches: tuple[datetime, ...] = ()
    tagged_at: datetime | None = None
    """When this process changed tags: reading them lags behind."""
    accepted_loss: str | None = None
    """Table id whose loss a person has accepted, by annotation."""


NOTHING_REMEMBERED: Final = Remembered()
