"""The open-loop load generator of `mixed`: a process of its own that sends when a request is due.

Latency counts from the moment a request was due, not from when it was sent: a server that stalls is charged
for everyone who had to wait (no coordinated omission). How late the generator itself was is reported as lag.

Run as ``python -m pannier_cli.bench.open_loop`` with an `Order` as JSON on standard input. Prints
``measuring`` when the warm-up is over, ``sent`` after the last request, then one JSON line, a `LoadReport`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import uvloop

from pannier_cli.bench import mixed_workload as workload
from pannier_cli.bench.children import HOST
from pannier_cli.bench.figures import Latencies, percentile
from pannier_cli.bench.http_client import Connection
from pannier_cli.bench.mixed_workload import KINDS, Request

CONNECTIONS: Final = 256
"""Opened before the start; a request that finds none idle waits, and its waiting counts."""
_PATIENCE_SECONDS: Final = 10.0
"""How long answers are waited for after the last request; those that stay away count as failed."""
_POOL_BYTES: Final = 1 << 20


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where."""

    port: int
    reads_per_second: float
    writes_per_second: float
    warmup_seconds: float
    seconds: float
    ids: int
    seed: int


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came back of the requests that were due after the warm-up."""

    latencies: dict[str, Latencies]
    failures: dict[str, int]
    """Answers that were not as they should be, by what they were."""
    lag_p99_ms: float
    """How late the generator sent."""
    connections_lost: int
    cpu_seconds: float
    seconds: float


class OpenLoop:
    """Sends one schedule over as many connections as are needed at once."""

    def __init__(self, order: Order, clock: Callable[[], float] = time.perf_counter) -> None:
        self._order = order
        self._clock = clock
        self._start = 0.0
        self._idle: list[Connection] = []
        self._lost = 0
        self._waiting: deque[tuple[float, Request]] = deque()
        self._in_flight = 0
        self._all_sent = False
        self._all_answered = asyncio.Event()
        self._latencies: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self._failures: dict[str, int] = {}
        self._lags: list[float] = []
        self._bodies = Bodies(random.Random(order.seed + 1))
        self._cpu_at_measuring = 0.0

    def __repr__(self) -> str:
        return f"<OpenLoop {CONNECTIONS - self._lost} connections, {self._in_flight} in flight>"

    async def run(self) -> LoadReport:
        """Send everything, wait for the answers, report."""
        order = self._order
        self._idle = [await Connection.open(HOST, order.port) for _ in range(CONNECTIONS)]
        requests = workload.schedule(
            order.reads_per_second,
            order.writes_per_second,
            order.warmup_seconds + order.seconds,
            ids=order.ids,
            seed=order.seed,
        )
        self._start = self._clock()
        measuring = False
        for request in requests:
            if not measuring and request.due_seconds >= order.warmup_seconds:
                measuring = True
                self._begin_measuring()
            await self._until(self._start + request.due_seconds)
            self._send_or_queue(request)
        elapsed = self._clock() - self._start - order.warmup_seconds
        cpu_seconds = _own_cpu_seconds() - self._cpu_at_measuring
        _tell_parent("sent")
        await self._collect()
        return self._report(cpu_seconds, elapsed)

    def _begin_measuring(self) -> None:
        self._cpu_at_measuring = _own_cpu_seconds()
        _tell_parent("measuring")

    async def _until(self, moment: float) -> None:
        wait = moment - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)

    def _send_or_queue(self, request: Request) -> None:
        due = self._start + request.due_seconds
        if request.due_seconds >= self._order.warmup_seconds:
            self._lags.append(self._clock() - due)
        self._in_flight += 1
        if self._idle:
            self._send(self._idle.pop(), due, request)
        else:
            self._waiting.append((due, request))

    def _send(self, connection: Connection, due: float, request: Request) -> None:
        path, body, wanted = self._bodies.of(request)
        connection.post(path, body, lambda answer: self._answered(connection, due, request, wanted, answer))

    def _answered(
        self, connection: Connection, due: float, request: Request, wanted: bytes, answer: bytes | None
    ) -> None:
        """Note the latency, then use the connection for whoever waits for one."""
        self._in_flight -= 1
        if self._all_sent and not self._in_flight:
            self._all_answered.set()
        if due - self._start >= self._order.warmup_seconds:
            self._note(due, request, wanted, answer)
        if answer is None:
            self._lost += 1
        elif self._waiting:
            self._send(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _note(self, due: float, request: Request, wanted: bytes, answer: bytes | None) -> None:
        if answer is not None and wanted in answer:
            self._latencies[request.kind].append(self._clock() - due)
            return
        what = "connection lost" if answer is None else _status_of(answer)
        self._failures[what] = self._failures.get(what, 0) + 1

    async def _collect(self) -> None:
        self._all_sent = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS if self._in_flight else 0):
                await self._all_answered.wait()
        if self._in_flight:
            self._failures["no answer"] = self._in_flight
        for connection in self._idle:
            connection.close()

    def _report(self, cpu_seconds: float, elapsed: float) -> LoadReport:
        return LoadReport(
            latencies={kind: Latencies.of(sorted(values)) for kind, values in self._latencies.items()},
            failures=self._failures,
            lag_p99_ms=percentile(sorted(self._lags), 99) * 1_000,
            connections_lost=self._lost,
            cpu_seconds=cpu_seconds,
            seconds=elapsed,
        )


class Bodies:
    """Makes request bodies cheaply: values are cuts out of one random text."""

    def __init__(self, dice: random.Random) -> None:
        letters = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=_POOL_BYTES // 16))
        self._pool = letters.encode() * 16
        self._turn = itertools.count()

    def of(self, request: Request) -> tuple[bytes, bytes, bytes]:
        """Return path, body, and what a right answer contains."""
        name = workload.row_id(request.id_number).encode()
        group = (workload.TIMELINE if request.is_timeline else workload.RECORD).encode()
        if not request.is_write:
            limit = b',"limit":%d' % workload.RECORDS_PER_TIMELINE if request.is_timeline else b""
            body = b'{"reads":[{"group":"%b","ids":["%b"]%b}]}' % (group, name, limit)
            return b"/v1/features/read", body, b'"found"'
        length = workload.EVENT_BYTES if request.is_timeline else workload.PROFILE_BYTES
        start = next(self._turn) * 7919 % (len(self._pool) - length)
        feature = b"event" if request.is_timeline else b"profile"
        when = b',"timestamp":%d' % (time.time_ns() // 1_000_000) if request.is_timeline else b""
        body = b'{"writes":[{"group":"%b","id":"%b"%b,"features":{"%b":"%b"}}]}' % (
            group,
            name,
            when,
            feature,
            self._pool[start : start + length],
        )
        return b"/v1/features/write", body, b'"written"'

    def __repr__(self) -> str:
        return f"<Bodies out of {len(self._pool)} bytes>"


def _status_of(answer: bytes) -> str:
    head = answer[9:12].decode("ascii", "replace")
    for word in (b"unknown", b"missing", b"failed", b"invalid", b"ignored_older"):
        if b'"%b"' % word in answer:
            return f"{head} {word.decode()}"
    return head


def _tell_parent(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Read the order, send, print the report."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    report = uvloop.run(OpenLoop(order).run())
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    main()
