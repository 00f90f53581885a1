"""What L1 let go of is freed behind the requests."""

from __future__ import annotations

import asyncio

from tests.builders import a_catalog, a_group, a_plan
from tests.sidecar.test_l1_local import NOW_US, found, put

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.l1_tending import BUSY_SECONDS, IDLE_SECONDS, L1Tending
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.tiers.l1_local import L1Cache


async def test_it_hurries_while_there_is_something_to_do() -> None:
    """It looks now and then; where it finds something it goes on at short intervals, and calms down again."""
    l1 = L1Cache(10_000_000)
    for number in range(2_000):
        put(l1, a_plan("gone"), str(number), found())
    pauses: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            l1.follow(ReadPlan(a_catalog(a_group("other"))))
        if len(pauses) == 10:
            enough.set()
        await asyncio.sleep(0)

    async with L1Tending(l1, ManualClock(NOW_US), sleep) as tending:
        assert "running" in repr(tending)
        await enough.wait()
    assert pauses[:2] == [IDLE_SECONDS, IDLE_SECONDS]
    assert pauses[2:5] == [BUSY_SECONDS] * 3
    assert pauses[-1] == IDLE_SECONDS
    assert "stopped" in repr(tending)
