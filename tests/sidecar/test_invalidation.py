"""What an announcement does to what L1 holds, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builders import a_catalog, a_group, a_plan

from pannier.catalog import CatalogGroup
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import announcement, record, timeline
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.invalidation import Invalidations, apply
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.recent_writes import RecentWrites, State
from pannier_sidecar.row import Row, RowKey, TimelinePage
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.underway import Underway

CLOCK = ManualClock()
NOW_US = CLOCK.now_us()
USERS = a_plan("users")
CLICKS = a_plan("clicks", timeline=True, max_limit=3, default_limit=2)


def a_record(revision: int, kind: Kind = Kind.FOUND) -> Record:
    values = {0: b'"x"'} if kind is Kind.FOUND else {}
    return Record(kind, revision, NOW_US - 10, NOW_US - 10, None, values)


def a_timeline(*seconds: int) -> Timeline:
    rows = [Row(f"{second:010d}", NOW_US - 100, second * 1_000_000, {}, {0: b'"x"'}) for second in seconds]
    page = TimelinePage(tuple(sorted(rows, key=lambda row: row.sort_key, reverse=True)), None, exhausted=True)
    return timeline.snapshot(page, read_start_us=NOW_US - 10, capacity=CLICKS.register_capacity)


def a_click(second: int, revision: int = NOW_US, kind: Kind = Kind.MARKER) -> Timeline:
    register = Record(kind, revision, NOW_US, second * 1_000_000, None, {})
    return timeline.delta(f"{second:010d}", register)


def applied(plan: GroupPlan, held: State, delta: State) -> State | None:
    """What is left of a held state; None where it had to go."""
    pack = pack_state(plan, "a", held, NOW_US)
    left = apply(plan, "a", pack, delta, NOW_US)
    return None if left is None else left.unpack(plan)


@pytest.mark.parametrize(
    ("held", "heard", "stays"),
    [
        (a_record(5), record.marker(6, NOW_US), False),
        (a_record(5), record.marker(5, NOW_US), True),
        (a_record(5), record.marker(4, NOW_US), True),
        (a_record(5, Kind.TOMBSTONE), record.marker(6, NOW_US), False),
        (a_record(5, Kind.MISSING), record.marker(6, NOW_US), False),
        (a_record(5, Kind.MISSING), record.marker(4, NOW_US), False),
        (a_record(5), a_record(5, Kind.TOMBSTONE), True),
    ],
)
def test_a_record_leaves_unless_it_holds_that_revision(held: Record, heard: Record, stays: Any) -> None:
    """And "there is none" leaves whatever the revisions say: somebody has written it since."""
    assert applied(USERS, held, heard) == (held if stays else None)


def test_a_deleted_record_is_held_as_deleted() -> None:
    """The announcement of a delete is the new state."""
    tombstone = a_record(6, Kind.TOMBSTONE)
    assert applied(USERS, a_record(5), tombstone) == tombstone


def test_a_timeline_leaves_when_a_record_it_shows_is_written() -> None:
    """What the record holds is in L2, not in the announcement."""
    assert applied(CLICKS, a_timeline(1, 2), a_click(3)) is None
    assert applied(CLICKS, a_timeline(1, 2), a_click(2)) is None


def test_a_timeline_stays_when_the_answer_is_still_known() -> None:
    """A late record below those that are shown makes no reader wait; asking for it loads."""
    left = applied(CLICKS, a_timeline(5, 6, 7, 8), a_click(1))
    assert isinstance(left, Timeline)
    assert left.registers["0000000001"].kind is Kind.MARKER


def test_a_timeline_that_knows_the_write_stays_as_it_is() -> None:
    """It was loaded, or written, after that."""
    plan, held = CLICKS, a_timeline(1, 2)
    pack = pack_state(plan, "a", held, NOW_US)
    assert apply(plan, "a", pack, a_click(1, NOW_US - 100), NOW_US) is pack


@pytest.mark.parametrize("erased", [True, False])
def test_deletes_in_a_timeline_are_taken_over(erased: Any) -> None:
    """One record's tombstone, or the fence of the whole id, says what is left."""
    fence = timeline.delta("~", Record(Kind.TOMBSTONE, NOW_US, NOW_US, 9_000_000, None, {}))
    left = applied(CLICKS, a_timeline(1, 2), fence if erased else a_click(2, kind=Kind.TOMBSTONE))
    assert isinstance(left, Timeline)
    shown = timeline.answer(left, limit=3, low="0", high="~", now_us=NOW_US)
    assert shown is not None
    assert shown.sort_keys == (() if erased else ("0000000001",))


def test_a_group_that_was_declared_anew_holds_nothing_comparable() -> None:
    """A record's announcement about a timeline, or the other way round, makes it leave."""
    assert applied(USERS, a_record(5), a_click(1)) is None
    assert applied(CLICKS, a_timeline(1), record.marker(1, NOW_US)) is None


@dataclass
class Hearer:
    """Everything an announcement acts on."""

    plan: ReadPlan
    clock: ManualClock = field(default_factory=ManualClock)
    l1: L1Cache = field(default_factory=lambda: L1Cache(1 << 20))
    recent: RecentWrites = field(default_factory=RecentWrites)
    underway: Underway = field(default_factory=Underway)
    metrics: Metrics = field(default_factory=Metrics)
    channels: list[frozenset[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.invalidations = Invalidations(
            sender=b"me",
            l1=self.l1,
            recent=self.recent,
            underway=self.underway,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.invalidations.on_channels = self.channels.append
        self.invalidations.follow(self.plan)

    @property
    def users(self) -> GroupPlan:
        return self.plan.groups["users"]

    def key(self, row_id: str) -> RowKey:
        return RowKey(self.users, row_id)

    def hold(self, row_id: str, state: State, epoch: int | None = None) -> None:
        pack = pack_state(self.users, row_id, state, self.clock.now_us())
        self.l1.put(self.users, row_id, pack, self.clock.now_us(), epoch)

    def hear(self, *writes: tuple[str, State], sender: bytes = b"other", ago_us: int = 0) -> None:
        at_us = self.clock.now_us() - ago_us
        payload = announcement.encode(sender, [(row_id, at_us, state) for row_id, state in writes])
        self.invalidations.heard(self.users.cache_prefix, payload)

    def holds(self, row_id: str) -> bool:
        return self.l1.held(self.users, row_id, self.clock.now_us()) is not None

    def noted(self, row_id: str) -> State | None:
        return self.recent.delta(self.key(row_id), self.clock.now_us())

    def look(self, row_id: str) -> Freshness:
        return self.l1.look(self.users, row_id, self.clock.now_us(), 0)[1]

    @property
    def events(self) -> dict[str, int]:
        return self.metrics.group("users").invalidations


def a_hearer(*groups: CatalogGroup) -> Hearer:
    return Hearer(ReadPlan(a_catalog(*(groups or (a_group("users"),)))))


def test_what_is_neither_held_nor_on_its_way_is_not_remembered() -> None:
    """However much others write, memory goes to what matters here."""
    hearer = a_hearer()
    hearer.hear(*((str(i), record.marker(NOW_US, NOW_US)) for i in range(1000)))
    assert hearer.events == {"unheld": 1000}
    assert repr(hearer.recent) == "<RecentWrites 0 young, 0 old>"


def test_an_announced_write_is_remembered_for_what_is_in_the_air() -> None:
    """A load that began before must not bring back the state before it; nor may it be forgotten by name."""
    hearer = a_hearer()
    marker = record.marker(NOW_US, NOW_US)
    with hearer.underway.of([hearer.key("a"), hearer.key("a")]):
        with hearer.underway.of([hearer.key("a")]):
            pass
        before = hearer.recent.sequence
        hearer.hear(("a", marker), ("b", marker))
    assert hearer.noted("a") == marker
    assert hearer.noted("b") is None
    assert hearer.recent.wrote_since(hearer.key("a"), before, NOW_US)
    assert len(hearer.underway) == 0


def test_a_dropped_entry_leaves_its_revision_behind() -> None:
    """Redis may forget what it was told; who held the id does not."""
    hearer = a_hearer()
    hearer.hold("a", a_record(5))
    hearer.hear(("a", record.marker(6, NOW_US)))
    assert not hearer.holds("a")
    assert hearer.noted("a") == record.marker(6, NOW_US)
    assert hearer.events == {"dropped": 1}


def test_a_known_revision_changes_nothing() -> None:
    """The new state came by L2 before the word of it; if a load is in the air it is noted all the same."""
    hearer = a_hearer()
    hearer.hold("a", a_record(6))
    hearer.hear(("a", record.marker(6, NOW_US)))
    assert hearer.holds("a")
    assert hearer.noted("a") is None
    with hearer.underway.of([hearer.key("a")]):
        hearer.hear(("a", record.marker(6, NOW_US)))
    assert hearer.noted("a") is not None
    assert hearer.events == {"known": 2}


def test_own_announcements_are_recognised() -> None:
    """What this sidecar wrote it has known since L3 acknowledged it."""
    hearer = a_hearer()
    hearer.hold("a", a_record(5))
    hearer.hear(("a", record.marker(6, NOW_US)), sender=b"me")
    assert hearer.holds("a")
    assert hearer.events == {"own": 1}


def test_the_delay_counts_from_the_acknowledgement() -> None:
    """By the clock of the sidecar that wrote; one that is ahead makes no negative delays."""
    hearer = a_hearer()
    hearer.hear(("a", record.marker(6, NOW_US)), ago_us=20_000)
    hearer.hear(("a", record.marker(6, NOW_US)), ago_us=-5_000_000)
    delay = hearer.metrics.subscription.delay
    assert sum(delay.counts) == 2
    assert delay.total == pytest.approx(0.02)


@pytest.mark.parametrize(
    "payload", [b"nonsense", announcement.encode(b"x", [])[:-1] + b"\x91\x93\xa1a\x01\xc4\x00"]
)
def test_what_cannot_be_read_makes_the_group_doubted(payload: bytes) -> None:
    """It may have said anything, of any id."""
    hearer = a_hearer()
    hearer.hold("a", a_record(5))
    with hearer.underway.of([hearer.key("a")]):
        hearer.invalidations.heard(hearer.users.cache_prefix, payload)
    assert hearer.events == {"unreadable": 1}
    assert hearer.look("a") is Freshness.SOFT


def test_only_groups_that_may_be_held_are_listened_for() -> None:
    """Nothing is asked of Redis for what is never stored, nor for what L1 never holds."""
    hearer = a_hearer(
        a_group("users"), a_group("cold", local="Disabled"), a_group("live", storage_mode="None")
    )
    assert hearer.channels == [{hearer.users.cache_prefix}]
    hearer.invalidations.heard("pn1:shop/cold:", b"not for here")


def test_listening_again_makes_what_was_held_soft_and_nothing_else() -> None:
    """Messages were missed: each entry is refreshed once, at its next look; those taken since are fresh."""
    hearer = a_hearer(a_group("users"), a_group("others"))
    others = hearer.plan.groups["others"]
    hearer.hold("a", a_record(5))
    hearer.l1.put(others, "a", pack_state(others, "a", a_record(5), NOW_US), NOW_US)
    hearer.invalidations.lost("a test")
    assert hearer.look("a") is Freshness.FRESH
    hearer.invalidations.listening(frozenset({hearer.users.cache_prefix}))
    assert hearer.look("a") is Freshness.SOFT
    assert hearer.look("a") is Freshness.SOFT
    hearer.hold("a", a_record(5))
    assert hearer.look("a") is Freshness.FRESH
    assert hearer.l1.look(others, "a", NOW_US, 0)[1] is Freshness.FRESH
    assert (hearer.metrics.subscription.losses, hearer.metrics.subscription.epoch) == (1, 1)


def test_a_denied_channel_leaves_its_group_to_its_ttls() -> None:
    """And says so; what it held before is doubted once."""
    hearer = a_hearer()
    hearer.hold("a", a_record(5))
    hearer.invalidations.denied(hearer.users.cache_prefix, "NOPERM")
    assert hearer.events == {"denied": 1}
    assert hearer.look("a") is Freshness.SOFT
    hearer.invalidations.denied("pn1:shop/gone:", "NOPERM")
