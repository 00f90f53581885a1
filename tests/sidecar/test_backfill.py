"""The background writer of L2: what it may lose, what it may not, and what a reader sees meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.builders import a_plan
from tests.integration.l2_support import CLICKS, NOW_US, USERS, Counts, a_click, a_record, clicker, user

from pannier_sidecar.backfill import L2Writer
from pannier_sidecar.backfill_queue import DEFAULT_LIMITS, QueueLimits
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import announcement, timeline
from pannier_sidecar.entry.record import Kind, Record, marker
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierUnavailable
from pannier_sidecar.lease import Lease
from pannier_sidecar.row import Row, RowKey, TimelinePage
from pannier_sidecar.tiers.l2 import Message

Entry = Record | Timeline


class Shelf:
    """An L2 in memory that fails and waits when told to, and tells what reached it."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, Entry]]] = []
        self.released: list[Lease] = []
        self.fails = False
        self.messages: list[tuple[str, announcement.Announcement]] = []
        self.refusal: TierError | None = None
        """What becomes of messages."""
        self.open = asyncio.Event()
        self.open.set()
        self.called = asyncio.Event()

    async def merge(
        self,
        deltas: Sequence[tuple[RowKey, Entry]],
        leases: Sequence[Lease] = (),
        messages: Sequence[Message] = (),
    ) -> list[TierError | None]:
        self.released += leases
        self.calls.append([(key.id, entry) for key, entry in deltas])
        self.messages += [(channel, announcement.decode(payload)) for channel, payload in messages]
        self.called.set()
        await self.open.wait()
        down = TierUnavailable("l2", "down") if self.fails else None
        return [down for _ in deltas] + [down or self.refusal for _ in messages]

    @property
    def written(self) -> list[tuple[str, Entry]]:
        return [one for call in self.calls for one in call]


def a_writer(
    shelf: Shelf,
    counts: Counts | None = None,
    clock: ManualClock | None = None,
    limits: QueueLimits = DEFAULT_LIMITS,
) -> L2Writer:
    return L2Writer(
        shelf,
        clock=clock or ManualClock(),
        metrics=counts or Counts(),
        dice=lambda: 0.0,
        limits=limits,
        sender=b"me",
    )


async def test_what_one_tick_offers_goes_in_one_batch() -> None:
    """Writes first; each id once, merged."""
    shelf, counts = Shelf(), Counts()
    async with a_writer(shelf, counts) as writer:
        writer.backfill(user(1), a_record(NOW_US + 1))
        writer.backfill(user(1), a_record(NOW_US + 3))
        writer.backfill(user(1), a_record(NOW_US + 2))
        writer.confirm(user(2), a_record(NOW_US + 4))
        assert await writer.drain(5)
        assert shelf.calls == [[("2", a_record(NOW_US + 4)), ("1", a_record(NOW_US + 3))]]
        assert counts.backfills == {"enqueued": 4, "written": 2, "failed": 0}
        assert writer.usage() == (0, 0)


async def test_too_many_backfills_drop_the_oldest() -> None:
    """And say how many; writes have room of their own."""
    shelf, counts = Shelf(), Counts()
    shelf.open.clear()
    async with a_writer(shelf, counts, limits=QueueLimits(3, 10**6)) as writer:
        for i in range(5):
            writer.backfill(user(i), a_record())
        writer.confirm(user(9), a_record())
        assert writer.usage() == (3, 1)
        shelf.open.set()
        assert await writer.drain(5)
        assert {row for row, _ in shelf.written} == {"2", "3", "4", "9"}
        assert counts.backfills["dropped"] == 2


async def test_backfills_are_bounded_in_bytes() -> None:
    """Few large entries are as much as many small ones; one larger than all room is dropped itself."""
    shelf, counts = Shelf(), Counts()
    large = Record(Kind.FOUND, 1, 1, 1, None, {0: b"x" * 4000})
    shelf.open.clear()
    async with a_writer(shelf, counts, limits=QueueLimits(100, 10_000)) as writer:
        for i in range(4):
            writer.backfill(user(i), large)
        assert writer.usage().queued == 2
        writer.backfill(user(9), Record(Kind.FOUND, 1, 1, 1, None, {0: b"x" * 40_000}))
        assert writer.usage().queued == 0
        assert counts.backfills["dropped"] == 5
        shelf.open.set()
        assert await writer.drain(5)


async def test_a_backfill_that_fails_is_gone_and_counted() -> None:
    """It only repeats what L3 can say again."""
    shelf, counts = Shelf(), Counts()
    shelf.fails = True
    async with a_writer(shelf, counts) as writer:
        writer.backfill(user(1), a_record())
        assert await writer.drain(5)
        assert counts.backfills == {"enqueued": 1, "written": 0, "failed": 1}


async def test_a_write_is_tried_until_it_is_confirmed() -> None:
    """It fails, waits, and is there in the end."""
    shelf, counts = Shelf(), Counts()
    shelf.fails = True
    async with a_writer(shelf, counts) as writer:
        writer.confirm(user(1), a_record())
        await shelf.called.wait()
        assert not await writer.drain(0.001)
        assert writer.usage().unconfirmed == 1
        shelf.fails = False
        assert await writer.drain(5)
        assert shelf.written[-1] == ("1", a_record())
        assert counts.backfills["failed"] >= 1
        assert counts.backfills["written"] == 1


async def test_overlay_shows_a_write_until_l2_has_it() -> None:
    """An older entry, none, and a newer one: the newest state of all is seen."""
    shelf = Shelf()
    shelf.open.clear()
    async with a_writer(shelf) as writer:
        assert writer.overlay(user(1), None) is None
        writer.confirm(user(1), a_record(NOW_US + 5))
        assert writer.overlay(user(1), None) == a_record(NOW_US + 5)
        assert writer.overlay(user(1), a_record(NOW_US + 4)) == a_record(NOW_US + 5)
        assert writer.overlay(user(1), a_record(NOW_US + 6)) == a_record(NOW_US + 6)
        assert writer.overlay(user(2), a_record(NOW_US + 4)) == a_record(NOW_US + 4)
        shelf.open.set()
        assert await writer.drain(5)
        assert writer.overlay(user(1), a_record(NOW_US + 4)) == a_record(NOW_US + 4)


async def test_overlay_lays_a_click_into_a_timeline() -> None:
    """The coverage of what L2 said stays, the unconfirmed register joins."""
    shelf = Shelf()
    shelf.open.clear()
    look = timeline.snapshot(
        TimelinePage((a_click(5, NOW_US - 10**9),), None, exhausted=True),
        read_start_us=NOW_US,
        capacity=CLICKS.register_capacity,
    )
    async with a_writer(shelf) as writer:
        writer.confirm(clicker(1), timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US))
        writer.confirm(clicker(1), timeline.delta_from_row(a_click(8), loaded_at_us=NOW_US))
        seen = writer.overlay(clicker(1), look)
        assert isinstance(seen, Timeline)
        answer = timeline.answer(seen, limit=4, low="0", high="~", now_us=NOW_US)
        assert answer is not None
        assert [int(key) for key in answer.sort_keys] == [9, 8, 5]
        shelf.open.set()


async def test_a_write_replaced_while_it_was_on_its_way_is_sent_again() -> None:
    """The confirmation of the older state is not one of the newer."""
    shelf = Shelf()
    shelf.open.clear()
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), a_record(NOW_US + 1))
        await shelf.called.wait()
        writer.confirm(user(1), a_record(NOW_US + 2))
        shelf.open.set()
        assert await writer.drain(5)
        assert shelf.written == [("1", a_record(NOW_US + 1)), ("1", a_record(NOW_US + 2))]


async def test_a_write_is_kept_under_the_plan_of_a_new_catalog() -> None:
    """The same group compiled again finds what was written under the old plan."""
    shelf = Shelf()
    shelf.open.clear()
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), a_record())
        assert writer.overlay(RowKey(a_plan("users", generation=2), "1"), None) == a_record()
        assert writer.overlay(RowKey(a_plan("users", namespace="elsewhere"), "1"), None) is None
        shelf.open.set()


async def test_a_write_is_forgotten_when_nothing_older_may_be_served_any_more() -> None:
    """After the remote hard TTL and what may be served stale beyond it (60 and 300 s here), not before."""
    shelf, counts, clock = Shelf(), Counts(), ManualClock()
    shelf.fails = True
    async with a_writer(shelf, counts, clock) as writer:
        writer.confirm(user(1), a_record())
        clock.advance(359.9)
        await shelf.called.wait()
        assert writer.overlay(user(1), None) == a_record()
        clock.advance(0.1)
        assert await writer.drain(5)
        assert writer.overlay(user(1), None) is None
        assert counts.backfills["dropped"] == 1


async def test_writes_that_find_no_room_raise_a_floor_for_their_group() -> None:
    """What L2 says without knowing the forgotten write is a miss; later looks and other groups are not."""
    shelf, counts, clock = Shelf(), Counts(), ManualClock(NOW_US)
    shelf.open.clear()
    async with a_writer(shelf, counts, clock, QueueLimits(2, 10**6)) as writer:
        for i in range(3):
            writer.confirm(user(i), a_record(NOW_US + i))
        assert counts.backfills["overflow"] == 1
        old = a_record(NOW_US - 5)
        assert writer.overlay(user(0), old) is None
        assert writer.overlay(user(7), old) is None
        assert writer.overlay(user(1), old) == a_record(NOW_US + 1)
        assert writer.overlay(user(7), a_record(NOW_US)) == a_record(NOW_US)
        seen_since = a_record(NOW_US - 5, loaded_at_us=NOW_US + 60_000_000)
        assert writer.overlay(user(7), seen_since) == seen_since
        assert writer.overlay(clicker(1), _a_look(NOW_US)) == _a_look(NOW_US)
        clock.advance(359.9)
        assert writer.overlay(user(7), old) is None
        clock.advance(0.2)
        assert writer.overlay(user(7), old) == old
        shelf.open.set()


async def test_the_floor_of_a_timeline_group_asks_for_a_later_look() -> None:
    """A snapshot counts from where it is sure to know the forgotten write."""
    shelf, clock = Shelf(), ManualClock(NOW_US)
    shelf.open.clear()
    async with a_writer(shelf, clock=clock, limits=QueueLimits(1, 10**6)) as writer:
        for i in range(2):
            writer.confirm(clicker(i), timeline.delta_from_row(a_click(9, NOW_US + i), loaded_at_us=NOW_US))
        assert writer.overlay(clicker(0), _a_look(NOW_US + 59_999_999)) is None
        assert writer.overlay(clicker(0), _a_look(NOW_US + 60_000_000)) == _a_look(NOW_US + 60_000_000)
        shelf.open.set()


def _a_look(read_start_us: int) -> Timeline:
    return timeline.snapshot(
        TimelinePage((), None, exhausted=True), read_start_us=read_start_us, capacity=CLICKS.register_capacity
    )


async def test_writes_that_keep_failing_let_others_through() -> None:
    """One batch of stubborn entries does not starve the rest."""
    shelf = Shelf()
    shelf.fails = True
    async with a_writer(shelf) as writer:
        for i in range(250):
            writer.confirm(user(i), a_record())
        await shelf.called.wait()
        while len(shelf.calls) < 2:
            shelf.called.clear()
            await shelf.called.wait()
        assert {row for row, _ in shelf.written} == {str(i) for i in range(250)}
        shelf.fails = False
        assert await writer.drain(5)


async def test_leaving_flushes_what_is_left() -> None:
    """A sidecar that stops in order loses nothing it still could write."""
    shelf = Shelf()
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), a_record())
        writer.backfill(user(2), a_record())
    assert {row for row, _ in shelf.written} == {"1", "2"}
    assert "stopped" in repr(writer)


@pytest.mark.parametrize("fails", [True, False])
async def test_leaving_with_unconfirmed_writes_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """One warning with their number where Redis never took them; not a word where it did."""
    monkeypatch.setattr("pannier_sidecar.backfill._LAST_FLUSH_SECONDS", 0.01)
    shelf = Shelf()
    shelf.fails = fails
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), a_record())
        writer.confirm(user(2), a_record())
        writer.backfill(user(3), a_record())
        await writer.drain(0.01)
    warnings = [entry.getMessage() for entry in caplog.records]
    assert len(warnings) == fails
    assert all("writes of 2 ids that Redis never confirmed" in warning for warning in warnings)


async def test_markers_and_tombstones_are_writes_like_any_other() -> None:
    """A marker over an older value tells the reader to load."""
    shelf = Shelf()
    shelf.open.clear()
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), marker(NOW_US + 1, NOW_US))
        seen = writer.overlay(user(1), a_record(NOW_US))
        assert isinstance(seen, Record)
        assert seen.kind is Kind.MARKER
        shelf.open.set()


async def test_a_group_that_stores_nothing_is_refused_where_it_is_offered() -> None:
    """The writer goes on for the others."""
    shelf = Shelf()
    secret = RowKey(a_plan("live", storage_mode="None"), "1")
    async with a_writer(shelf) as writer:
        with pytest.raises(AssertionError, match="stores nothing"):
            writer.backfill(secret, a_record())
        with pytest.raises(AssertionError, match="stores nothing"):
            writer.confirm(secret, a_record())
        writer.confirm(user(1), a_record())
        assert await writer.drain(5)
    assert [row for row, _ in shelf.written] == ["1"]


async def test_a_group_declared_anew_as_the_other_kind_forgets_its_former_shape() -> None:
    """A record waiting under the key of what is a timeline now does not break the merge."""
    shelf = Shelf()
    shelf.open.clear()
    anew = RowKey(a_plan("users", timeline=True), "1")
    row = Row("0000000009", NOW_US, 9, {}, {0: b"1"})
    async with a_writer(shelf) as writer:
        writer.confirm(user(1), a_record())
        writer.confirm(anew, timeline.delta_from_row(row, loaded_at_us=NOW_US))
        assert isinstance(writer.overlay(anew, a_record()), Timeline)
        assert USERS.cache_prefix == anew.plan.cache_prefix
        shelf.open.set()


async def test_an_entry_that_cannot_be_sent_costs_neither_its_neighbours_nor_the_writer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, seen as unconfirmed, and tried again."""

    class Picky(Shelf):
        async def merge(
            self,
            deltas: Sequence[tuple[RowKey, Entry]],
            leases: Sequence[Lease] = (),
            messages: Sequence[Message] = (),
        ) -> list[TierError | None]:
            self.released += leases
            if self.fails and any(key == user(1) for key, _ in deltas):
                raise OverflowError("cannot be encoded")
            self.calls.append([(key.id, entry) for key, entry in deltas])
            self.called.set()
            return [None for _ in (*deltas, *messages)]

    shelf = Picky()
    shelf.fails = True
    async with a_writer(shelf) as writer:
        for i in range(3):
            writer.confirm(user(i), a_record(NOW_US + i))
        assert not await writer.drain(0.01)
        assert [row_id for row_id, _ in shelf.written] == [user(0).id, user(2).id]
        assert writer.overlay(user(1), None) == a_record(NOW_US + 1)
        assert "could not be sent" in caplog.text
        shelf.fails = False
        assert await writer.drain(5)
        assert len(shelf.written) == 3


async def test_a_write_outlives_an_outage_of_more_tries_than_a_float_can_double() -> None:
    """A quarter of an hour without Redis ended the writer: nothing was merged or announced ever after."""
    shelf = Shelf()
    shelf.fails = True
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        shelf.fails = len(pauses) <= 1_100
        await asyncio.sleep(0)

    async with L2Writer(
        shelf, clock=ManualClock(), metrics=Counts(), dice=lambda: 0.0, sender=b"me", sleep=sleep
    ) as writer:
        writer.confirm(user(1), a_record())
        assert await writer.drain(30)
        assert writer.usage() == (0, 0)
    assert max(pauses) == pauses[-1] == 0.5
