"""What the tests of L2 share: a tier with counted metrics, groups, records and rows."""

from __future__ import annotations

from collections import Counter

from tests.builders import a_plan

from pannier_sidecar.circuit import State
from pannier_sidecar.clock import Clock, SystemClock
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.row import Row, RowKey
from pannier_sidecar.tiers.l2_redis import RedisTier

USERS = a_plan("users")
CLICKS = a_plan("clicks", timeline=True, max_limit=4)
NOW_US = 1_700_000_000_000_000


class Counts:
    """Metrics as plain counters."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.circuits: list[State] = []
        """Of the lane that reads go through."""
        self.write_circuits: list[State] = []
        self.backfills: Counter[str] = Counter()
        self.leases: Counter[str] = Counter()
        self.receivers: list[int] = []
        self.invalidations: Counter[str] = Counter()

    def tier_error(self, tier: str, reason: str) -> None:
        self.errors[f"{tier}/{reason}"] += 1

    def circuit(self, tier: str, state: State) -> None:
        {"l2": self.circuits, "l2_writes": self.write_circuits}[tier].append(state)

    def lease(self, group: str, event: str) -> None:
        self.leases[f"{group}/{event}"] += 1

    def backfill(self, event: str, n: int = 1) -> None:
        self.backfills[event] += n

    def published(self, receivers: int) -> None:
        self.receivers.append(receivers)

    def invalidation(self, group: str, event: str, n: int = 1) -> None:
        self.invalidations[f"{group}/{event}"] += n


def a_tier(
    url: str, *, counts: Counts | None = None, clock: Clock | None = None, timeout: float = 2.0
) -> RedisTier:
    return RedisTier(url, clock=clock or SystemClock(), metrics=counts or Counts(), timeout_seconds=timeout)


def user(number: int) -> RowKey:
    return RowKey(USERS, str(number))


def clicker(number: int) -> RowKey:
    return RowKey(CLICKS, str(number))


def a_record(revision: int = NOW_US, *, kind: Kind = Kind.FOUND, loaded_at_us: int = NOW_US) -> Record:
    values = {0: f'"{revision}"'.encode(), 9: b"\x00opaque"} if kind is Kind.FOUND else {}
    return Record(kind, revision, loaded_at_us, revision, None, values)


def a_click(second: int, revision: int = NOW_US) -> Row:
    return Row(f"{second:010d}", revision, second * 1_000_000, {}, {0: str(second).encode()})
