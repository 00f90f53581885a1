"""Writes become messages to the other sidecars, sent in the round trip that merges them."""

from __future__ import annotations

from tests.integration.l2_support import CLICKS, NOW_US, USERS, Counts, a_click, a_record, clicker, user
from tests.sidecar.test_backfill import Shelf, a_writer

from pannier_sidecar.backfill_queue import Waiting
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import announcement, timeline
from pannier_sidecar.entry.record import Kind
from pannier_sidecar.errors import TierMisconfigured, TierUnavailable
from pannier_sidecar.written_messages import messages_of


async def test_writes_are_announced_in_the_batch_that_merges_them_and_backfills_are_not() -> None:
    """One message per group, on the channel named like its keys, with what was left and when."""
    shelf, counts, clock = Shelf(), Counts(), ManualClock()
    click = timeline.delta_from_row(a_click(9), loaded_at_us=NOW_US)
    async with a_writer(shelf, counts, clock) as writer:
        writer.backfill(user(1), a_record(NOW_US + 1))
        writer.confirm(user(2), a_record(NOW_US + 2))
        writer.confirm(user(3), a_record(NOW_US + 3, kind=Kind.TOMBSTONE))
        writer.confirm(clicker(4), click)
        assert await writer.drain(5)
    assert len(shelf.calls) == 1
    now_us = clock.now_us()
    assert [
        (
            channel,
            message.sender,
            [(one.id, one.acknowledged_at_us, one.entry(now_us)) for one in message.changes],
        )
        for channel, message in shelf.messages
    ] == [
        (
            USERS.cache_prefix,
            b"me",
            [
                ("2", now_us, announcement.without_values(a_record(NOW_US + 2))),
                ("3", now_us, a_record(NOW_US + 3, kind=Kind.TOMBSTONE)),
            ],
        ),
        (CLICKS.cache_prefix, b"me", [("4", now_us, announcement.without_values(click))]),
    ]
    assert counts.invalidations == {"users/published": 2, "clicks/published": 1}


async def test_a_write_that_was_not_announced_is_not_confirmed() -> None:
    """It is merged again and announced again, until both are done."""
    shelf, counts = Shelf(), Counts()
    shelf.refusal = TierUnavailable("l2", "broke")
    async with a_writer(shelf, counts) as writer:
        writer.confirm(user(1), a_record(NOW_US))
        writer.backfill(user(2), a_record(NOW_US))
        await shelf.called.wait()
        assert not await writer.drain(0.01)
        assert writer.usage() == (0, 1)
        shelf.refusal = None
        assert await writer.drain(5)
    assert len(shelf.messages) > 1
    assert counts.invalidations == {"users/published": 1}


async def test_a_write_that_redis_will_not_announce_is_merged_all_the_same() -> None:
    """Its ACL knows the keys and not the channels: trying for ever would help nobody."""
    shelf, counts = Shelf(), Counts()
    shelf.refusal = TierMisconfigured("l2", "NOPERM")
    async with a_writer(shelf, counts) as writer:
        writer.confirm(user(1), a_record(NOW_US))
        assert await writer.drain(5)
    assert counts.invalidations == {"users/refused": 1}


def test_messages_of_one_channel_are_one() -> None:
    """What a batch holds of one group travels together."""
    writes = [Waiting(user(i), a_record(NOW_US + i), 1, NOW_US) for i in range(3)]
    (message,) = messages_of(b"me", writes).values()
    assert message.channel == USERS.cache_prefix
    assert [change.id for change in announcement.decode(message.payload).changes] == ["0", "1", "2"]
