"""What one write of a timeline costs Redis: merged into a hash per timeline, or rewriting all of it.

    .venv/bin/python tools/measure_l2_merge.py

Starts a redis-server of its own on a free port, fills a timeline of 66 records and counts the CPU that Redis
takes per write (its own figure, less that of a PING) and the bytes that the client sends. ADR 0005 holds the
numbers.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from pannier_sidecar.entry import envelope, timeline
from pannier_sidecar.entry.record import MICROSECONDS
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.row import Row, TimelinePage
from pannier_sidecar.tiers.l2_redis import MERGE_SCRIPT

RECORDS = 66
WRITES = 400
ROUNDS = 5
NOW_US = 1_700_000_000 * MICROSECONDS
REWRITE_SCRIPT = """
-- the alternative: the timeline as one value, a record merged into it by decoding and encoding all of it
local held = redis.call('GET', KEYS[1])
local all = held and cmsgpack.unpack(held) or {}
local old = all[ARGV[1]]
if not old or string.sub(ARGV[2], 1, 8) > string.sub(old, 1, 8) then all[ARGV[1]] = ARGV[2] end
local keys = {}
for key in pairs(all) do keys[#keys + 1] = key end
table.sort(keys, function(a, b) return a > b end)
for i = tonumber(ARGV[3]) + 1, #keys do all[keys[i]] = nil end
redis.call('SET', KEYS[1], cmsgpack.pack(all), 'PX', 600000)
return #keys
"""


@contextmanager
def a_redis() -> Iterator[Any]:
    """Start redis-server, hand out a client, stop the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = shutil.which("redis-server") or sys.exit("redis-server is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        client: Any = redis.Redis(port=port, protocol=2)
        try:
            while not _answers(client):
                time.sleep(0.02)
            yield client
        finally:
            client.close()
            server.terminate()
            server.wait()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def a_row(second: int, revision: int, value_bytes: int) -> Row:
    """Make one record of the timeline."""
    return Row(f"{second:010d}", revision, second * MICROSECONDS, {}, {0: b"x" * value_bytes})


def arguments(entry: Timeline) -> list[Any]:
    """Everything the merge script is given."""
    registers = envelope.encode_registers(entry)
    return ["timeline", 600_000, RECORDS, envelope.encode_coverage(entry), *registers]


def cpu_us(client: Any, write: Callable[[int], object]) -> float:
    """Microseconds of Redis CPU per call: the median of several rounds."""
    rounds = []
    for each in range(ROUNDS):
        before = client.info("cpu")
        for i in range(WRITES):
            write(each * WRITES + i)
        after = client.info("cpu")
        used = sum(float(after[key] - before[key]) for key in ("used_cpu_user", "used_cpu_sys"))
        rounds.append(used / WRITES * MICROSECONDS)
    return statistics.median(rounds)


def measure(client: Any, value_bytes: int) -> dict[str, tuple[float, int]]:
    """CPU and bytes sent, by way of writing."""
    client.flushall()
    merge, rewrite = client.register_script(MERGE_SCRIPT), client.register_script(REWRITE_SCRIPT)
    rows = [a_row(second, NOW_US - 10**9, value_bytes) for second in range(RECORDS, 0, -1)]
    page = TimelinePage(tuple(rows), None, exhausted=False)

    def look(moment: int) -> list[Any]:
        return arguments(timeline.snapshot(page, read_start_us=NOW_US + moment, capacity=RECORDS))

    merge(keys=["hash"], args=look(0))
    for row in rows:
        rewrite(keys=["blob"], args=[row.sort_key, b"0" * 34 + row.values[0], RECORDS])

    def write(second: int, revision: int) -> list[Any]:
        row = a_row(second, revision, value_bytes)
        return arguments(timeline.delta_from_row(row, loaded_at_us=NOW_US))

    def newest(i: int) -> object:
        return merge(keys=["hash"], args=write(100 + i, NOW_US + i))

    def corrected(i: int) -> object:
        return merge(keys=["hash"], args=write(99, NOW_US + i))

    def looked_again(i: int) -> object:
        return merge(keys=["look"], args=look(i))

    def rewritten(i: int) -> object:
        row = a_row(100 + i, NOW_US + i, value_bytes)
        return rewrite(keys=["blob"], args=[row.sort_key, b"1" * 34 + row.values[0], RECORDS])

    whole = _size(look(0))
    idle = cpu_us(client, lambda _: client.ping())
    one = _size(write(100, NOW_US))
    return {
        "hash: one record corrected": (cpu_us(client, corrected) - idle, one),
        "hash: one newest record, the oldest makes room": (cpu_us(client, newest) - idle, one),
        "hash: a whole look again": (cpu_us(client, looked_again) - idle, whole),
        "one value: decoded, changed, encoded by Redis": (cpu_us(client, rewritten) - idle, one),
        "one value: SET by the client": (
            cpu_us(client, lambda _: client.set("whole", b"x" * whole, px=600_000)) - idle,
            whole,
        ),
    }


def _size(args: list[Any]) -> int:
    return sum(len(arg) if isinstance(arg, bytes) else len(str(arg)) for arg in args)


def main() -> None:
    """Print the table, or with --json the figures."""
    with a_redis() as client:
        figures = {value_bytes: measure(client, value_bytes) for value_bytes in (200, 8192)}
    if "--json" in sys.argv:
        print(json.dumps(figures, indent=2))
        return
    print(f"| timeline of {RECORDS} records, one write | CPU us, 200 B | sent | CPU us, 8 KB | sent |")
    print("|---|---|---|---|---|")
    small, large = figures.values()
    for way, (cpu, sent) in small.items():
        print(f"| {way} | {cpu:.0f} | {sent} | {large[way][0]:.0f} | {large[way][1]} |")


if __name__ == "__main__":
    main()
