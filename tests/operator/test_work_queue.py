"""Keys are reconciled one worker at a time each, with delays, backoff, and no work lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from pannier_operator.clock import ManualClock, SystemClock
from pannier_operator.errors import LeadershipLost
from pannier_operator.work_queue import Done, Errand, WorkQueue


class Recorder:
    """Counts passes and how many of one key are under way."""

    def __init__(self, *answers: Done) -> None:
        self.passes: Counter[str] = Counter()
        self.urgencies: list[Errand] = []
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.answers = list(answers)
        self.ran = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def work(self, key: str, urgency: Errand) -> Done:
        self.under_way[key] += 1
        self.most = max(self.most, self.under_way[key])
        self.passes[key] += 1
        self.urgencies.append(urgency)
        self.ran.set()
        if self.gate is not None:
            await self.gate.wait()
        self.under_way[key] -= 1
        return self.answers.pop(0) if self.answers else Done()


async def until_idle(queue: WorkQueue[str], passes: int) -> None:
    async with asyncio.timeout(10):
        while queue.passes < passes:  # noqa: ASYNC110 - the queue has no end to wait for
            await asyncio.sleep(0)


async def test_a_key_that_is_added_often_is_done_once() -> None:
    """Edits that come faster than they are worked on are one pass."""
    recorder = Recorder()
    queue = WorkQueue(recorder.work, workers=4, clock=SystemClock())
    for _ in range(100):
        queue.add("a")
    async with queue:
        await until_idle(queue, 1)
    assert recorder.passes["a"] == 1


async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    """What comes while a key is under way is one more pass after it."""
    recorder = Recorder()
    recorder.gate = asyncio.Event()
    queue = WorkQueue(recorder.work, workers=8, clock=SystemClock())
    async with queue:
        queue.add("a")
        await recorder.ran.wait()
        for _ in range(5):
            queue.add("a")
            await asyncio.sleep(0)
        queue.add("b")
        recorder.gate.set()
        await until_idle(queue, 3)
    assert recorder.most == 1
    assert recorder.passes == {"a": 2, "b": 1}


async def test_failures_back_off_and_success_forgets_them() -> None:
    """Each failure doubles the wait, with jitter that only lengthens it; after a success it begins anew."""
    clock = ManualClock()
    recorder = Recorder(*[Done(failed=True)] * 4, Done(), Done(failed=True))
    queue = WorkQueue(recorder.work, workers=1, clock=clock, dice=random.Random(7))
    waits = []
    async with queue:
        queue.add("a")
        for n in range(1, 7):
            await until_idle(queue, n)
            waits.append(queue._due.get("a", clock.monotonic()) - clock.monotonic())
            clock.advance(1000)
            queue.add("a")
            queue._awake.set()
    for wait, base in zip(waits, (1, 2, 4, 8, 0, 1), strict=True):
        assert base <= wait <= base * 1.2


async def test_an_earlier_date_stands_and_an_edit_is_more_urgent_than_a_resync() -> None:
    """A resync does not delay or demote what an edit asked for."""
    clock = ManualClock()
    recorder = Recorder()
    queue = WorkQueue(recorder.work, workers=1, clock=clock)
    queue.add("a")
    queue.add("a", "resync", delay_seconds=60)
    queue.add("b", "resync")
    async with queue:
        await until_idle(queue, 2)
    assert recorder.urgencies == ["edit", "resync"]


async def test_a_pass_that_breaks_is_tried_again() -> None:
    """An error that nobody foresaw costs one group a retry, not the operator its life."""
    passes = 0

    async def work(key: str, urgency: Errand) -> Done:
        nonlocal passes
        passes += 1
        raise RuntimeError(f"{key} {urgency}")

    queue = WorkQueue(work, workers=1, clock=ManualClock())
    async with queue:
        queue.add("a")
        await until_idle(queue, 1)
    assert passes == 1
    assert len(queue) == 1


async def test_losing_the_lease_ends_the_workers() -> None:
    """Whoever may not write any more stops, and says so."""

    async def work(key: str, urgency: Errand) -> Done:
        raise LeadershipLost(f"{key} {urgency}")

    async with WorkQueue(work, workers=2, clock=SystemClock()) as queue:
        queue.add("a")
        with pytest.raises(LeadershipLost):
            async with asyncio.timeout(10):
                await queue.join()


async def test_the_age_of_what_is_overdue_is_told() -> None:
    """Nothing waits unseen: the longest wait is a metric, and liveness looks at it."""
    clock = ManualClock()
    queue = WorkQueue(Recorder().work, workers=1, clock=clock)
    queue.add("a", delay_seconds=10)
    assert queue.oldest_seconds == 0
    clock.advance(25)
    assert queue.oldest_seconds == 15
    queue.forget("a")
    assert queue.oldest_seconds == 0
