"""An event loop without work: how late it is woken on this machine, for comparison with one that works.

    .venv/bin/python tools/idle_loop.py 0.001 0.005 0.02

Looks until its input ends, then prints as JSON how many looks were no later than each bound, in seconds, and
how many there were.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from bisect import bisect_left

import uvloop

from pannier_sidecar.loop_delay import LoopDelay


async def looks_until_told(bounds: list[float]) -> list[int]:
    """Count looks by the first bound they are within; the last count is of those beyond all."""
    counts = [0] * (len(bounds) + 1)

    def heard(delay_us: int, _now_us: int, _own_us: int) -> None:
        counts[bisect_left(bounds, delay_us / 1_000_000)] += 1

    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(told.set)

    threading.Thread(target=wait, name="input", daemon=True).start()
    clocks = (lambda: time.monotonic_ns() // 1_000), (lambda: time.thread_time_ns() // 1_000)
    async with LoopDelay(heard, *clocks):
        await told.wait()
    return counts


def main() -> None:
    """Look, then print."""
    print(json.dumps(uvloop.run(looks_until_told([float(bound) for bound in sys.argv[1:]]))))


if __name__ == "__main__":
    main()
