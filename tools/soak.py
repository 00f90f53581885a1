"""A sidecar with many entries in L1 under a steady load: is its memory flat, is its event loop ever late.

    .venv/bin/python tools/soak.py [--entries 1000000] [--seconds 600] [--most-work-ms 20]

Starts `pannier serve` with the embedded store, writes the rows (which fills L1), then reads and writes in a
closed loop: ids by Zipf, a tenth more of them than L1 has room for, so that entries leave all the time.
Prints resident memory as it goes and how late the sidecar's event loop ran, from its own metrics. Ends with
1 if memory grew, if L1 holds fewer entries than asked, or if the sidecar's own work ever held up the loop
longer than allowed: an upper bound by the thread's own clock, since work in the 10 ms before a look counts
as well. What was late beside it is the machine's doing: a loop without work, in a process of its own at the
same time, shows how much that is.
"""

from __future__ import annotations

import argparse
import http.client
import random
import re
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pannier_cli.bench import servers
from pannier_cli.bench.children import HOST

WRITES_AT_ONCE = 50
READS_AT_ONCE = 50
WRITE_SHARE = 0.03
SAMPLES = 20
MOST_GROWTH = 0.05
"""Of resident memory, from the first third of the load to its end."""
GROUP = "soak"
BYTES_PER_ENTRY = 900
_BUCKET = r'^pannier_loop_%s_seconds_bucket\{le="([^"]+)"\} (\S+)$'
_DELAY, _WORK = (re.compile(_BUCKET % kind, re.MULTILINE) for kind in ("delay", "work"))
_ENTRIES = re.compile(r'^pannier_l1_entries\{group="soak"\} (\S+)$', re.MULTILINE)
_EVICTIONS = re.compile(r'^pannier_l1_evictions_total\{group="soak"\} (\S+)$', re.MULTILINE)

Tell = Callable[[str], None]
Delays = dict[float, int]
"""Upper bound of a bucket in seconds -> looks at the loop that were no later."""


class Lateness(NamedTuple):
    """How late the event loop was."""

    all: Delays
    own: Delays
    """As far as the sidecar's own work can have been why."""

    def since(self, before: Lateness) -> Lateness:
        """Leave out what was before."""
        return Lateness(_between(before.all, self.all), _between(before.own, self.own))

    def __str__(self) -> str:
        return f"late by\n{histogram(self.all)}\nof that by its own work\n{histogram(self.own)}"


class Soaked(NamedTuple):
    """What a soak came to."""

    entries: int
    evictions: int
    rss_bytes: list[int]
    filling: Lateness
    steady: Lateness
    idle: Delays
    """Of a loop without work, all the time."""
    rows_read: int

    @property
    def growth(self) -> float:
        """Share by which resident memory grew between the first third of the load and its end."""
        settled = self.rss_bytes[len(self.rss_bytes) // 3]
        return self.rss_bytes[-1] / settled - 1


def manifest(entries: int) -> dict[str, Any]:
    """Declare the group, with room for so many entries in L1."""
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": GROUP},
        "spec": {
            "groupName": GROUP,
            "key": {"entity": "user"},
            "features": [{"id": 0, "name": "text", "type": "String"}],
            "storage": {"mode": "Dedicated"},
            "cache": {
                "profile": "Hot",
                "local": {
                    "softTTLSeconds": 3_600,
                    "hardTTLSeconds": 7_200,
                    "maxBytes": entries * BYTES_PER_ENTRY,
                },
                "remote": {"softTTLSeconds": 3_600, "hardTTLSeconds": 7_200},
                "writePolicy": "WriteThrough",
            },
        },
    }


def soak(entries: int, seconds: float, directory: Path, tell: Tell) -> Soaked:
    """Fill L1 and keep it busy."""
    room = f"{2 * entries * BYTES_PER_ENTRY // (1 << 20) + 64}MiB"
    flags = ["--store", "embedded", "--data-dir", str(directory / "data"), "--l1-bytes", room]
    with servers.sidecar(directory / "sidecar", [manifest(entries)], flags, None) as sidecar:
        with (
            _idle_loop(_lateness(_scrape(sidecar.admin_port)).all) as idle,
            closing(http.client.HTTPConnection(HOST, sidecar.port, timeout=120)) as connection,
        ):
            before = _lateness(_scrape(sidecar.admin_port))
            rows = entries + entries // 10
            for start in range(0, rows, WRITES_AT_ONCE):
                _write(connection, range(start, min(start + WRITES_AT_ONCE, rows)))
                if start % (entries // 10) < WRITES_AT_ONCE:
                    tell(f"{start:,} rows written, {_rss_bytes(sidecar.pid) >> 20:,} MiB")
            filled = _lateness(_scrape(sidecar.admin_port))
            rss_bytes, read = _keep_busy(connection, rows, seconds, lambda: _rss_bytes(sidecar.pid), tell)
        text = _scrape(sidecar.admin_port)
    held, evictions = (
        int(float(found[1])) if (found := p.search(text)) else 0 for p in (_ENTRIES, _EVICTIONS)
    )
    steady = _lateness(text).since(filled)
    return Soaked(held, evictions, rss_bytes, filled.since(before), steady, idle, read)


@contextmanager
def _idle_loop(bounds: Delays) -> Iterator[Delays]:
    """Run a loop without work beside the block; its delays are filled in at the end."""
    script = Path(__file__).with_name("idle_loop.py")
    delays: Delays = {}
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, bounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            yield delays
        finally:
            said, _ = child.communicate()
    delays.update(zip(bounds, accumulate(msgspec.json.decode(said, type=list[int])), strict=False))


def _keep_busy(
    connection: http.client.HTTPConnection, ids: int, seconds: float, rss: Callable[[], int], tell: Tell
) -> tuple[list[int], int]:
    dice = random.Random(20130101)
    draw = _zipf(dice, ids)
    samples: list[int] = []
    rows, start = 0, time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        if passed >= len(samples) * seconds / SAMPLES:
            samples.append(rss())
            tell(f"{passed:4.0f} s: {samples[-1] >> 20:,} MiB, {rows:,} rows read")
        if dice.random() < WRITE_SHARE:
            _write(connection, [next(draw) for _ in range(READS_AT_ONCE)])
        else:
            _read(connection, [next(draw) for _ in range(READS_AT_ONCE)])
            rows += READS_AT_ONCE
    samples.append(rss())
    return samples, rows


def _zipf(dice: random.Random, ids: int) -> Iterator[int]:
    """Draw ids by Zipf 0.9; which are hot has nothing to do with the order in which they were written."""
    cumulative = list(accumulate((rank + 1) ** -0.9 for rank in range(ids)))
    while True:
        rank = bisect_left(cumulative, dice.random() * cumulative[-1])
        yield rank * 7_919 % ids


def _write(connection: http.client.HTTPConnection, numbers: range | list[int]) -> None:
    writes = [{"group": GROUP, "id": _row_id(n), "features": {"text": f"{n:0100d}"}} for n in numbers]
    _post(connection, "/v1/features/write", {"writes": writes})


def _read(connection: http.client.HTTPConnection, numbers: list[int]) -> None:
    _post(
        connection, "/v1/features/read", {"reads": [{"group": GROUP, "ids": [_row_id(n) for n in numbers]}]}
    )


def _row_id(number: int) -> str:
    return f"user-{number:07d}"


def _post(connection: http.client.HTTPConnection, path: str, document: dict[str, Any]) -> None:
    connection.request("POST", path, msgspec.json.encode(document), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path} answered {answer.status}: {body[:300]!r}")


def _scrape(admin_port: int) -> str:
    with closing(http.client.HTTPConnection(HOST, admin_port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def _lateness(text: str) -> Lateness:
    return Lateness(*(_delays(buckets, text) for buckets in (_DELAY, _WORK)))


def _delays(buckets: re.Pattern[str], text: str) -> Delays:
    return {float(bound): int(float(count)) for bound, count in buckets.findall(text)}


def _between(before: Delays, after: Delays) -> Delays:
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def _rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1_024 if found else 0


def histogram(delays: Delays) -> str:
    """How often the loop was how late, buckets without a look left out."""
    lines, below = [], 0
    for bound, count in delays.items():
        if count > below:
            lines.append(f"  up to {bound * 1_000:8.1f} ms {count - below:9,}")
        below = count
    return "\n".join(lines)


def worst_ms(delays: Delays) -> float:
    """The bound of the last bucket with a look in it."""
    total = max(delays.values(), default=0)
    return next((1_000 * bound for bound, count in delays.items() if count == total), 0.0)


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--most-work-ms", type=float, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pannier-soak-") as directory:
        soaked = soak(asked.entries, asked.seconds, Path(directory), lambda line: print(line, flush=True))
    print(f"the event loop while filling was {soaked.filling}")
    print(f"and under load, {soaked.rows_read:,} rows read, {soaked.steady}")
    print(f"a loop without work was late beside it by\n{histogram(soaked.idle)}")
    print(f"L1 holds {soaked.entries:,} entries, {soaked.evictions:,} were evicted")
    faults = []
    if soaked.growth > MOST_GROWTH:
        faults.append(f"resident memory grew by {soaked.growth:.1%}")
    if soaked.entries < 0.95 * asked.entries:
        faults.append(f"L1 holds {soaked.entries:,} entries of {asked.entries:,}")
    worst = max(worst_ms(soaked.filling.own), worst_ms(soaked.steady.own))
    if worst > asked.most_work_ms:
        faults.append(f"own work held up the loop for up to {worst:g} ms, over {asked.most_work_ms:g} ms")
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
