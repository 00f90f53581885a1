"""Room for calls to a tier: `pannier_sidecar.bulkhead`."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar.bulkhead import Bulkhead, Limits, Occupancy
from pannier_sidecar.errors import TierOverloaded
from pannier_sidecar.metrics import Metrics, RoomUsage

LIMITS = Limits(calls=4, waiting=2, wait_seconds=60)


def a_bulkhead(limits: Limits = LIMITS, metrics: Metrics | None = None) -> Bulkhead:
    return Bulkhead("l3_read", limits, metrics or Metrics())


async def hold(bulkhead: Bulkhead, calls: int, until: asyncio.Event) -> None:
    async with bulkhead.room(calls):
        await until.wait()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.integers(0, 10), st.integers(0, 5), st.integers(1, 8))
def test_calls_enter_wait_or_are_refused(in_flight: int, waiting: int, calls: int) -> None:
    """Room and nobody before: in. Else the queue, as long as it is short. Else refused."""
    occupancy = Occupancy(LIMITS, in_flight, waiting)
    decision = occupancy.decide(calls)
    if decision == "enter":
        assert waiting == 0
        assert in_flight == 0 or in_flight + calls <= LIMITS.calls
    elif decision == "wait":
        assert waiting < LIMITS.waiting
        assert waiting or in_flight + calls > LIMITS.calls
    else:
        assert waiting >= LIMITS.waiting


def test_there_is_no_spare_room_where_it_is_nearly_full() -> None:
    """What can be done without stays away from the last quarter, and from a queue."""
    assert Occupancy(LIMITS, 2).has_spare
    assert not Occupancy(LIMITS, 3).has_spare
    assert not Occupancy(LIMITS, 0, 1).has_spare


async def test_who_waits_gets_room_in_order_and_nobody_passes_by() -> None:
    """A small call does not slip in before a large one that came first."""
    bulkhead, ends = a_bulkhead(), [asyncio.Event() for _ in range(3)]
    first = asyncio.create_task(hold(bulkhead, 3, ends[0]))
    await turns()
    large = asyncio.create_task(hold(bulkhead, 2, ends[1]))
    await turns()
    small = asyncio.create_task(hold(bulkhead, 1, ends[2]))
    await turns()
    assert bulkhead.usage() == RoomUsage(3, 2, 4)
    ends[0].set()
    await turns()
    assert bulkhead.usage() == RoomUsage(3, 0, 4)
    for end in ends:
        end.set()
    await asyncio.gather(first, large, small)
    assert bulkhead.usage() == RoomUsage(0, 0, 4)


async def test_beyond_the_queue_calls_are_refused_at_once_and_counted() -> None:
    """The refusal names tier and direction, and is no word on the tier's health."""
    metrics, end = Metrics(), asyncio.Event()
    bulkhead = a_bulkhead(metrics=metrics)
    holders = [asyncio.create_task(hold(bulkhead, 2, end)) for _ in range(4)]
    await turns()
    with pytest.raises(TierOverloaded, match=r"l3: not asked: 4 reads are in flight, and 2 more wait"):
        await hold(bulkhead, 1, end)
    assert dict(metrics.sheds.items()) == {("l3_read",): 1}
    assert metrics.last_errors == {}
    assert metrics.rooms() == {"l3_read": RoomUsage(4, 2, 4)}
    end.set()
    await asyncio.gather(*holders)


async def test_waiting_ends_with_its_time() -> None:
    """A call that got no room in time is refused, and leaves the queue as if it had never been there."""
    bulkhead, end = a_bulkhead(LIMITS._replace(wait_seconds=0.01)), asyncio.Event()
    holder = asyncio.create_task(hold(bulkhead, 4, end))
    await turns()
    with pytest.raises(TierOverloaded, match="none ended within"):
        await hold(bulkhead, 1, end)
    assert bulkhead.usage() == RoomUsage(4, 0, 4)
    end.set()
    await holder
    assert bulkhead.usage() == RoomUsage(0, 0, 4)


async def test_a_call_larger_than_the_whole_goes_alone() -> None:
    """It waits until nothing else is in flight, and then nothing else is."""
    bulkhead, ends = a_bulkhead(), [asyncio.Event() for _ in range(3)]
    first = asyncio.create_task(hold(bulkhead, 1, ends[0]))
    await turns()
    huge = asyncio.create_task(hold(bulkhead, 9, ends[1]))
    await turns()
    assert bulkhead.usage().in_flight == 1
    ends[0].set()
    await turns()
    assert bulkhead.usage().in_flight == 9
    last = asyncio.create_task(hold(bulkhead, 1, ends[2]))
    await turns()
    assert bulkhead.usage() == RoomUsage(9, 1, 4)
    for end in ends:
        end.set()
    await asyncio.gather(first, huge, last)


@pytest.mark.parametrize("has_turn", [False, True])
async def test_who_is_cancelled_leaves_no_room_taken(*, has_turn: bool) -> None:
    """In the queue, or in the very moment its turn came: the next one gets the room."""
    bulkhead, end = a_bulkhead(), asyncio.Event()
    holder = asyncio.create_task(hold(bulkhead, 4, end))
    await turns()
    waiter = asyncio.create_task(hold(bulkhead, 4, asyncio.Event()))
    await turns()
    if has_turn:
        end.set()
        await asyncio.sleep(0)  # the holder leaves and hands its room on; the waiter has not run yet
        assert bulkhead.usage() == RoomUsage(4, 0, 4)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    end.set()
    await holder
    assert bulkhead.usage() == RoomUsage(0, 0, 4)
    async with bulkhead.room(4):
        pass
