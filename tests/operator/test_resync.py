"""Everything is looked at again, once a pass, in no particular order, at the pace that is allowed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pannier_operator.errors import KubeFault
from pannier_operator.resync import JITTER, Resync


class Parts:
    """What there is to go over; pauses between steps are kept and not waited for."""

    def __init__(self, *parts: str, period_seconds: float = 300.0) -> None:
        self.there = list(parts)
        self.period = period_seconds
        self.visits: list[str] = []
        self.refuses: set[str] = set()
        self.pauses: list[float] = []

    def parts(self) -> Sequence[Any]:
        return self.there

    def period_seconds(self) -> float:
        return self.period

    async def revisit(self, part: str) -> None:
        self.visits.append(part)
        if part in self.refuses:
            raise KubeFault(503, "ServiceUnavailable", "starting")


@contextlib.asynccontextmanager
async def going_over(parts: Parts) -> AsyncIterator[Resync]:
    """Let it run, every pause over as soon as it begins."""

    async def jump(seconds: float) -> None:
        parts.pauses.append(seconds)
        await asyncio.sleep(0)

    running = Resync(parts, random.Random(7), jump)
    task = asyncio.create_task(running.run())
    try:
        yield running
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def passes(running: Resync, number: int) -> None:
    async with asyncio.timeout(10):
        while running.passes < number:  # noqa: ASYNC110 - it goes on for ever
            await asyncio.sleep(0)


async def test_each_part_once_a_pass_in_another_order_each_time() -> None:
    """Nothing comes in waves, nothing twice, nothing is left out."""
    names = [f"group-{n}" for n in range(20)]
    parts = Parts(*names)
    async with going_over(parts) as running:
        await passes(running, 3)
    rounds = [parts.visits[n * 20 : n * 20 + 20] for n in range(3)]
    assert all(sorted(one) == sorted(names) for one in rounds)
    assert len({tuple(one) for one in (*rounds, names)}) == 4
    assert parts.there == names


async def test_a_pass_takes_as_long_as_the_budget_wants() -> None:
    """The period is spread over the parts, each pause within the jitter of its share."""
    parts = Parts(*map(str, range(200)), period_seconds=600)
    async with going_over(parts) as running:
        await passes(running, 1)
    pauses = parts.pauses[:200]
    assert all(3 * (1 - JITTER) <= pause <= 3 * (1 + JITTER) for pause in pauses)
    assert 600 * 0.95 < sum(pauses) < 600 * 1.05
    assert len(set(pauses)) > 100


async def test_what_cannot_be_looked_at_does_not_stop_the_others() -> None:
    """An API server that refuses one step is asked for the next, and for that one in the next pass."""
    parts = Parts("a", "b", "c")
    parts.refuses = {"a", "b", "c"}
    async with going_over(parts) as running:
        await passes(running, 2)
    assert set(Counter(parts.visits[:6]).values()) == {2}


async def test_an_empty_cluster_waits_a_whole_period() -> None:
    """No busy loop over nothing; what is made meanwhile is in the next pass."""
    parts = Parts(period_seconds=300)
    async with going_over(parts) as running:
        await passes(running, 1)
        parts.there = ["new"]
        await passes(running, 3)
    assert parts.pauses[0] >= 300 * (1 - JITTER)
    assert "new" in parts.visits


async def test_what_is_gone_meanwhile_harms_nothing() -> None:
    """A pass goes over what there was at its beginning, whatever becomes of the list."""
    parts = Parts("a", "b", "c", "d")
    async with going_over(parts) as running:
        parts.there.clear()
        await passes(running, 2)
    assert set(parts.visits) <= {"a", "b", "c", "d"}
