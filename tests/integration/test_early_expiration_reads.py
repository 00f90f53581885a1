"""What early expiration spares callers, through the whole read path: who waits for L3 when entries run out.

Ten Poisson reads a second per id, on the hot path as over HTTP, loads of 5 ms; time and dice are the test's.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving

READS_PER_SECOND = 10.0
LOAD_SECONDS = 0.005
SOFT_SECONDS = 15
PERIODS = 40
IDS = ("a", "b", "c")


class Readers:
    """Reads at random times, and how many of them had to wait for a load."""

    def __init__(self, core: Core, dice: random.Random) -> None:
        self._core = core
        self._dice = dice
        self.reads = 0
        self.waited = 0
        core.store.hold()

    async def go_on(self, seconds: float) -> None:
        """Read for a while; a load that a read starts comes back 5 ms later."""
        clock = self._core.clock
        end_us = clock.now_us() + int(seconds * 1_000_000)
        while clock.now_us() < end_us:
            clock.advance(self._dice.expovariate(READS_PER_SECOND * len(IDS)))
            await self._read(self._dice.choice(IDS))

    async def _read(self, row_id: str) -> None:
        core = self._core
        loads = len(core.store.reads)
        asking = asyncio.create_task(core.row("clicks", row_id, explain=False))
        settling = asyncio.create_task(core.loader.settled())
        while not (settling.done() or core.store.reading.is_set()):  # noqa: ASYNC110 (of two, either)
            await asyncio.sleep(0)
        if core.store.reading.is_set():
            self.waited += not asking.done()
            core.clock.advance(LOAD_SECONDS)
            core.store.release()
        row = await asking
        await settling
        await core.settle()
        assert row["status"] == "found"
        assert len(core.store.reads) <= loads + 1
        self.reads += 1
        core.store.hold()


@pytest.mark.parametrize("hard_seconds", [SOFT_SECONDS, 4 * SOFT_SECONDS])
async def test_fewer_than_a_tenth_of_refreshes_make_a_caller_wait(tmp_path: Path, hard_seconds: int) -> None:
    """Also where early expiration is all there is, since soft and hard TTL are one."""
    dice = random.Random(f"{hard_seconds}")
    group = a_group(soft=SOFT_SECONDS, hard=hard_seconds, early_factor=1.0, remote="Disabled")
    async with serving(tmp_path, group) as core:
        core.l1._dice = core.reads._hot._dice = dice.random
        for row_id in IDS:
            await core.write("clicks", row_id, features={"item": "x"})
        readers = Readers(core, dice)
        await readers.go_on(SOFT_SECONDS * PERIODS)
        core.store.release()
        counters = core.counters("clicks")
        refreshes = len(core.store.reads)
        assert refreshes > len(IDS) * PERIODS
        assert readers.waited < refreshes / 10
        assert counters.refresh_early > 0.8 * refreshes
        assert (counters.refresh_soft > 0) == (hard_seconds > SOFT_SECONDS)
