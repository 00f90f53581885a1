"""Everything the sidecar counts: plain integers and fixed buckets, nothing else.

The request path adds to attributes (`GroupCounters`, `Histogram`) and never calls a metrics library;
`exposition` reads them when somebody scrapes. Label values are bounded: at most `MAX_GROUPS` groups, at most
`MAX_LABELS` combinations of any other family; what comes after is counted under ``other``.
Nothing here measures time: callers pass what they measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from pannier_sidecar.instruments import (
    AGE_BUCKETS_SECONDS,
    LOAD_BUCKETS_SECONDS,
    OTHER,
    Histogram,
    LabelledCounts,
)
from pannier_sidecar.lease import LeaseEvent
from pannier_sidecar.observation_counts import ObservationCounts
from pannier_sidecar.subscription_counts import SubscriptionCounts

MAX_GROUPS: Final = 512

Outcome = Literal["l1", "l2", "l3", "on_demand", "negative", "missing", "unknown", "stale"]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "l1",
    "l2",
    "l3",
    "on_demand",
    "negative",
    "missing",
    "unknown",
    "stale",
)
Tier = Literal["l1", "l2", "l3", "on_demand"]
RoomName = Literal["read", "write", "l2_read", "l3_read", "l3_write"]
"""Lanes of requests and bulkheads of tiers."""
CircuitState = Literal["closed", "open", "half_open"]
CircuitWatcher = Callable[[str, CircuitState | None, CircuitState], None]
CIRCUIT_STATES: Final[tuple[CircuitState, ...]] = ("closed", "open", "half_open")


class GroupCounters:
    """What is counted of one group: plain integers to add to. Each row answered counts in one outcome."""

    __slots__ = (
        "deprecated",
        "invalidations",
        "l1",
        "l2",
        "l3",
        "l3_lookups",
        "l3_missing",
        "leases",
        "loads",
        "missing",
        "name",
        "negative",
        "observed",
        "on_demand",
        "outdated",
        "refresh_early",
        "refresh_soft",
        "replaced",
        "served_age",
        "stale",
        "stale_for",
        "unknown",
        "writes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.l1 = self.l2 = self.l3 = self.on_demand = 0
        self.negative = self.missing = self.unknown = self.stale = 0
        self.outdated = 0
        self.deprecated = 0
        self.refresh_early = self.refresh_soft = 0
        self.l3_lookups = self.l3_missing = 0
        self.replaced = 0
        self.writes: dict[str, int] = {}
        self.leases: dict[LeaseEvent, int] = {}
        self.invalidations: dict[str, int] = {}
        self.loads: dict[str, Histogram] = {}
        self.served_age = Histogram(AGE_BUCKETS_SECONDS)
        self.stale_for = Histogram(AGE_BUCKETS_SECONDS)
        self.observed = ObservationCounts()

    @property
    def rows(self) -> int:
        """All rows answered."""
        return sum(getattr(self, outcome) for outcome in OUTCOMES)

    def load_seconds(self, tier: Tier, seconds: float) -> None:
        """One load of this group from a tier took this long."""
        histogram = self.loads.get(tier)
        if histogram is None:
            histogram = self.loads[tier] = Histogram(LOAD_BUCKETS_SECONDS)
        histogram.observe(seconds)

    def __repr__(self) -> str:
        outcomes = " ".join(f"{o}={n}" for o in OUTCOMES if (n := getattr(self, o)))
        return f"<GroupCounters {self.name} {outcomes or 'nothing read'}>"


class L1Usage(NamedTuple):
    """How much of L1 one group holds; what it took in, dropped for lack of room and turned away so far."""

    entries: int
    bytes: int
    evictions: int
    stores: int
    turned_away: int


class RoomUsage(NamedTuple):
    """How full something is that holds a bounded number of requests or calls."""

    in_flight: int
    waiting: int
    limit: int


class BackfillUsage(NamedTuple):
    """How full the background writer of L2 is."""

    queued: int
    unconfirmed: int


class Metrics:
    """All counters of one sidecar."""

    def __init__(self) -> None:
        self._groups: dict[str, GroupCounters] = {}
        self.tier_errors = LabelledCounts(2)
        self.backfills = LabelledCounts(1)
        self.problems = LabelledCounts(1)
        self.sheds = LabelledCounts(1)
        self.hedges = LabelledCounts(1)
        self.loop_delay = Histogram(LOAD_BUCKETS_SECONDS)
        self.loop_work = Histogram(LOAD_BUCKETS_SECONDS)
        self.subscription = SubscriptionCounts()
        self.circuits: dict[str, CircuitState] = {}
        self.last_errors: dict[str, str] = {}
        """The reason of each tier's latest error."""
        self.catalog_revision = 0
        self.catalog_groups = 0
        self.l1_limit_bytes = 0
        self._l1: Callable[[], Mapping[str, L1Usage]] = dict
        self._backfill: Callable[[], BackfillUsage | None] = lambda: None
        self._rooms: dict[str, Callable[[], RoomUsage]] = {}
        self._catalog_problems: Callable[[], Iterable[str]] = tuple
        self.operator_is_heard: Callable[[], bool] | None = None
        """Whether the operator's catalog endpoint answers; None = it is not asked."""
        self._on_circuit: CircuitWatcher = lambda _tier, _before, _now: None

    def group(self, name: str) -> GroupCounters:
        """Give the counters of a group, to be kept by the caller; beyond the bound those of ``other``."""
        counters = self._groups.get(name)
        if counters is None:
            if len(self._groups) >= MAX_GROUPS and name != OTHER:
                return self.group(OTHER)
            counters = self._groups[name] = GroupCounters(name)
        return counters

    def reads(self, group: str, outcome: Outcome, n: int = 1) -> None:
        """``n`` rows of a group were answered with this outcome."""
        counters = self.group(group)
        setattr(counters, outcome, getattr(counters, outcome) + n)

    def refresh(self, group: str, kind: Literal["early", "soft"]) -> None:
        """An entry is refreshed in the background, early by dice or past its soft deadline."""
        counters = self.group(group)
        if kind == "early":
            counters.refresh_early += 1
        else:
            counters.refresh_soft += 1

    def load_seconds(self, tier: Tier, group: str, seconds: float) -> None:
        """One load from a tier took this long."""
        self.group(group).load_seconds(tier, seconds)

    def served_age(self, group: str, seconds: float) -> None:
        """A value was served this long after L3 said so."""
        self.group(group).served_age.observe(seconds)

    def l3_missing(self, group: str, n: int = 1) -> None:
        """L3 said of ``n`` looked-up keys that there is no such row."""
        self.group(group).l3_missing += n

    def writes(self, group: str, verdict: str, n: int = 1) -> None:
        """``n`` writes of a group ended with this verdict."""
        counts = self.group(group).writes
        counts[verdict] = counts.get(verdict, 0) + n

    def lease(self, group: str, event: LeaseEvent) -> None:
        """What became of one key's lease on loading it from L3."""
        counts = self.group(group).leases
        counts[event] = counts.get(event, 0) + 1

    def backfill(self, event: str, n: int = 1) -> None:
        """The background writer of L2 did something: queued, written, dropped, retried, ..."""
        self.backfills.add(event, n=n)

    def invalidation(self, group: str, event: str, n: int = 1) -> None:
        """``n`` ids of a group were announced by this sidecar, or heard of and what that did."""
        counts = self.group(group).invalidations
        counts[event] = counts.get(event, 0) + n

    def published(self, receivers: int) -> None:
        """Redis handed a message to so many sidecars."""
        self.subscription.published += 1
        self.subscription.delivered += receivers

    def tier_error(self, tier: str, reason: str) -> None:
        """A tier gave no answer."""
        self.tier_errors.add(tier, reason)
        self.last_errors[tier] = reason

    def circuit(self, tier: str, state: CircuitState) -> None:
        """The circuit breaker of a tier is now in this state; changes are told to whoever watches."""
        before = self.circuits.get(tier)
        if before != state:
            self.circuits[tier] = state
            self._on_circuit(tier, before, state)

    def problem(self, reason: str) -> None:
        """A request, or one read of it, was answered with a problem."""
        self.problems.add(reason)

    def shed(self, kind: RoomName | Literal["refresh"]) -> None:
        """Something was not begun because too much was under way."""
        self.sheds.add(kind)

    def hedge(self, event: Literal["sent", "won", "withheld"]) -> None:
        """A read of L3 was late: a second try went out, was the first to answer, or was not allowed."""
        self.hedges.add(event)

    def watch_room(self, name: RoomName, usage: Callable[[], RoomUsage]) -> None:
        """Ask this at each scrape how full a lane or bulkhead is."""
        self._rooms[name] = usage

    def rooms(self) -> dict[str, RoomUsage]:
        """How full every lane and bulkhead is now."""
        return {name: usage() for name, usage in self._rooms.items()}

    def watch_l1(self, usage: Callable[[], Mapping[str, L1Usage]], limit_bytes: int) -> None:
        """Ask this for L1's usage by group at each scrape."""
        self._l1 = usage
        self.l1_limit_bytes = limit_bytes

    def watch_circuits(self, watcher: CircuitWatcher) -> None:
        """Tell this of each change of a circuit: tier, state before (None at first), state now."""
        self._on_circuit = watcher

    def watch_catalog(self, problems: Callable[[], Iterable[str]]) -> None:
        """Ask this for the reasons why something of the catalog is not served, at each scrape."""
        self._catalog_problems = problems

    def watch_feed(self, is_heard: Callable[[], bool]) -> None:
        """Ask this at each scrape whether the operator is heard."""
        self.operator_is_heard = is_heard

    def watch_backfill(self, usage: Callable[[], BackfillUsage]) -> None:
        """Ask this for the background writer's queue at each scrape."""
        self._backfill = usage

    def catalog_problems(self) -> Counter[str]:
        """How many problems the catalog has now, by reason."""
        return Counter(self._catalog_problems())

    def backfill_usage(self) -> BackfillUsage | None:
        """The background writer's queue now; None where there is no L2."""
        return self._backfill()

    def groups(self) -> list[GroupCounters]:
        """Counters of all groups seen so far."""
        return list(self._groups.values())

    def l1_usage(self) -> dict[str, L1Usage]:
        """L1's usage by group, bounded like all groups are."""
        bounded: dict[str, L1Usage] = {}
        for name, usage in self._l1().items():
            label = self.group(name).name
            held = bounded.get(label)
            bounded[label] = usage if held is None else L1Usage(*map(sum, zip(held, usage, strict=True)))
        return bounded

    def __repr__(self) -> str:
        return f"<Metrics {len(self._groups)} groups, catalog revision {self.catalog_revision}>"
