"""The longest single steps of L1 at a million entries, in CPU time: other work on the machine is left out.

    .venv/bin/python tools/measure_l1_stalls.py [--entries N]

Every step runs between two looks of the event loop at its sockets: what takes long holds up all requests. A
dict and a deque beside it show what is avoided. ADR 0010 holds the numbers.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from measure_admission import NOW_US, ROW, plan_of

from pannier.catalog import Catalog
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.ready_rows import MOST_ROWS, TICK_US, ReadyRows

ENTRIES = 1_000_000


def tell(what: str, step: Callable[[Any], object], arguments: Iterable[Any]) -> None:
    """Print the longest and the mean call of a step."""
    longest = total = count = 0
    for argument in arguments:
        start = time.thread_time_ns()
        step(argument)
        took = time.thread_time_ns() - start
        longest, total, count = max(longest, took), total + took, count + 1
    print(f"| {what} | {count:,} | {total / count / 1e3:.1f} us | {longest / 1e6:.2f} ms |", flush=True)


def beside(ids: list[str]) -> None:
    """Print the same of what L1 does not do."""
    table: dict[str, object] = {}
    tell("(one dict) put", lambda row_id: table.__setitem__(row_id, None), ids)
    gc.collect()
    ring = deque(ids)
    tell("(one deque) collect garbage", lambda _: gc.collect(), range(3))
    del ring


def fill(ids: list[str]) -> tuple[L1Cache, ReadPlan]:
    """Print what it takes to fill, to make room, and to look for garbage."""
    plan = plan_of(1 << 31, "Always")
    group = plan.groups["trace"]
    l1 = L1Cache(1 << 50)
    pack = pack_state(group, "id-0000000", ROW, NOW_US)
    tell("put, growing", lambda row_id: l1.put(group, row_id, pack, NOW_US), ids)
    gc.collect()
    tell("collect garbage", lambda _: gc.collect(), range(3))
    for row_id in ids:
        l1.segment(group).entries[row_id].reads += 1
    plan = plan_of(l1.bytes, "Always")
    l1.follow(plan)
    group = plan.groups["trace"]
    more = [f"more-{number:07d}" for number in range(len(ids) // 2)]
    tell("put, full, all that is held was read", lambda row_id: l1.put(group, row_id, pack, NOW_US), more)
    return l1, plan


def make_ready(ids: list[str]) -> None:
    """Print what rows that wait ready cost."""
    ready = ReadyRows()
    tell("make a row ready", lambda row_id: ready.add(row_id, b"x", NOW_US + TICK_US), ids)
    tell(f"let go of {len(ready.rows):,} rows", ready.let_go, [NOW_US + TICK_US])


def shrink(l1: L1Cache, entries: int) -> None:
    """Print what edits of the catalog cost."""
    tell("a limit is halved", l1.follow, [plan_of(l1.bytes // 2, "Always")])
    steps = 4 * entries // 500
    tell("working that off, a step", lambda _: l1.tend(NOW_US), range(steps // 4))
    tell("the group is dropped", l1.follow, [ReadPlan(Catalog(revision=2, groups=()))])
    tell("working that off, a step", lambda _: l1.tend(NOW_US), range(steps))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=ENTRIES)
    entries = parser.parse_args().entries
    ids = [f"user-{number:07d}" for number in range(entries)]
    gc.collect()
    gc.freeze()  # the list of all ids is this tool's, not L1's
    gc.disable()  # the collector is asked on its own, else it would count for whoever happens to wake it
    print(f"| step, {entries:,} entries | steps | mean | longest |")
    print("|---|---|---|---|")
    beside(ids)
    l1, _ = fill(ids)
    make_ready(ids[: 2 * MOST_ROWS])
    shrink(l1, entries)


if __name__ == "__main__":
    main()
