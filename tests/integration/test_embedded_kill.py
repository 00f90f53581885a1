"""kill -9 loses no acknowledged write of the embedded store."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from pathlib import Path

from tests.integration.killed_writer import PADDING, PLAN
from tests.servers import ROOT

from pannier_sidecar.row import Row, RowKey
from pannier_sidecar.tiers.embedded_file import FILE_NAME
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

ROUNDS = 4
STEP = 1_000_000
"""Numbers between the starts of two rounds, more than a round can write."""


async def write_until_killed(directory: Path, start: int, acknowledgements: int) -> dict[int, int]:
    """Run the writer, kill it after so many acknowledged writes; returns the last number of each worker."""
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.killed_writer", str(directory), str(start)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(acknowledgements)]
    writer.kill()
    lines += (await writer.stdout.read()).splitlines()
    await writer.wait()
    last: dict[int, int] = {}
    for line in lines:
        worker, number = line.split()
        last[int(worker)] = int(number)
    return last


async def test_every_acknowledged_write_outlives_kill_9(tmp_path: Path) -> None:
    """Killed at random moments, reopened each time: all promised rows are there, and the file is sound."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    dice = random.Random(seed)
    for turn in range(ROUNDS):
        start = turn * STEP
        last = await write_until_killed(tmp_path, start, dice.randrange(20, 400))
        promised = {f"{worker}/{n}": n for worker, top in last.items() for n in range(start, top + 1)}
        async with EmbeddedStore(tmp_path) as store:
            keys = [RowKey(PLAN, row_id) for row_id in (*promised, *map(str, last))]
            rows = await store.read_records(keys, strong=True, timeout_seconds=60)
        for (row_id, number), row in zip(promised.items(), rows, strict=False):
            assert isinstance(row, Row), row_id
            assert row.values == {0: b"%d" % number, 1: PADDING}
        for worker, row in zip(last, rows[len(promised) :], strict=True):
            assert isinstance(row, Row)
            assert int(row.values[0]) >= last[worker]
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
