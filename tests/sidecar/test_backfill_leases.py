"""The background writer of L2 and the leases of loads: what others wait for goes first."""

from __future__ import annotations

import asyncio

from tests.integration.l2_support import NOW_US, Counts, a_record, clicker, user
from tests.sidecar.test_backfill import Shelf, a_writer

from pannier_sidecar.lease import Lease


async def test_what_others_wait_for_goes_past_everything_else() -> None:
    """A handed over entry is sent at once and alone, its lease behind it, while the queue is stuck."""
    shelf, counts = Shelf(), Counts()
    lease = Lease(user(7), "token", 100)
    async with a_writer(shelf, counts) as writer:
        shelf.open.clear()
        writer.backfill(user(1), a_record())
        await shelf.called.wait()
        writer.backfill(user(2), a_record())
        writer.backfill(user(7), a_record(NOW_US + 7))
        handing = asyncio.create_task(writer.hand_over([lease]))
        await asyncio.sleep(0)
        assert shelf.calls[-1] == [("7", a_record(NOW_US + 7))]
        assert shelf.released == [lease]
        shelf.open.set()
        await handing
        assert await writer.drain(5)
        assert [row for row, _ in shelf.written] == ["1", "7", "2"]
        assert counts.backfills["written"] == 3


async def test_a_lease_without_anything_to_bring_is_let_go_all_the_same() -> None:
    """The load failed, or what it said may not be stored: nobody shall wait for that."""
    shelf = Shelf()
    leases = [Lease(user(1), "token", 100), Lease(clicker(1), "token", 100)]
    async with a_writer(shelf) as writer:
        await writer.hand_over(leases)
        assert (shelf.calls, shelf.released) == ([[]], leases)
