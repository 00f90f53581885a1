"""The one budget of a stop: `pannier_sidecar.drain`."""

from __future__ import annotations

import asyncio

from pannier_sidecar.drain import Drain


async def test_the_budget_runs_from_the_moment_it_is_told() -> None:
    """Before that it is whole; told twice, it is not begun anew."""
    drain = Drain(100)
    assert drain.left_seconds() == 100
    drain.begin()
    while drain.left_seconds() == 100:  # noqa: ASYNC110 - a turn of the loop is the unit of its time
        await asyncio.sleep(0)
    left = drain.left_seconds()
    drain.begin()
    assert drain.left_seconds() <= left < 100


async def test_work_is_done_as_far_as_there_is_time() -> None:
    """What ends in time is done; what does not is cut off; what needs no waiting is done even then."""
    cut_off = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut_off.set()

    async def nothing() -> None:
        return

    assert await Drain(100).within(asyncio.sleep(0))
    over = Drain(0)
    over.begin()
    assert not await over.within(forever())
    assert cut_off.is_set()
    assert await over.within(nothing())
    assert over.left_seconds() == 0
