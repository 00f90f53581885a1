"""A process that writes to an embedded store until somebody kills it, saying what was acknowledged.

``python -m tests.integration.killed_writer DIRECTORY START``. Each line on its output is "<worker>
<number>": from then on that number is promised to be in the store. Started by `test_embedded_kill`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tests.builders import a_plan
from tests.integration.store_calls import a_put

from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

WORKERS = 6
PLAN = a_plan("killed", features={"number": "Int64", "padding": "String"})
PADDING = b'"' + b"x" * 3000 + b'"'


async def work(store: EmbeddedStore, worker: int, start: int) -> None:
    """Write rising numbers to the worker's row and one row per number, acknowledged together."""
    number = start
    while True:
        values = {0: b"%d" % number, 1: PADDING}
        puts = [a_put(PLAN, row_id, values) for row_id in (f"{worker}", f"{worker}/{number}")]
        outcomes = await store.write(puts, timeout_seconds=60, now_us=time.time_ns() // 1000)
        if {outcome.verdict for outcome in outcomes} != {"written"}:
            raise AssertionError(outcomes)
        os.write(1, b"%d %d\n" % (worker, number))
        number += 1


async def main(directory: Path, start: int) -> None:
    """Run the workers for ever."""
    async with EmbeddedStore(directory) as store, asyncio.TaskGroup() as tasks:
        for worker in range(WORKERS):
            tasks.create_task(work(store, worker, start))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
