"""What telling R sidecars of a write costs Redis and how soon they know: tracking, pub/sub and streams.

    .venv/bin/python tools/measure_invalidation.py

Starts a redis-server of its own on a free port. Per transport and R it merges records one by one, each in a
round trip with what the transport needs beside it, and prints the CPU that Redis takes per write (its own
figure), and the delay from before the round trip to when one of the R listeners has the message; then the
same for batches of 20, and the messages that backfills and expiries cause. ADR 0009 holds the numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio import Redis

from pannier_sidecar.entry import announcement, envelope
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.tiers.l2_redis import MERGE_SCRIPT

LISTENERS = (1, 10, 50)
WRITES = 600
BATCH = 20
ROUNDS = 3
PREFIX = "pn1:shop/clicks:"
STREAM = f"{PREFIX}invalidations"
VALUE = {0: b"x" * 200}
Command = tuple[Any, ...]


class Transport(NamedTuple):
    """How listeners hear."""

    name: str
    begin: tuple[Command, ...]
    """What a listener says when it connects."""
    again: Callable[[Any], Command | None]
    """What it says after each message."""
    tell: Callable[[bytes], tuple[Command, ...]]
    """What a writer says beside the merge."""


TRANSPORTS = (
    Transport(
        "client tracking",
        (("HELLO", "3"), ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX)),
        lambda _message: None,
        lambda _payload: (),
    ),
    Transport(
        "pub/sub",
        (("SUBSCRIBE", PREFIX),),
        lambda _message: None,
        lambda payload: (("PUBLISH", PREFIX, payload),),
    ),
    Transport(
        "streams",
        (("XREAD", "BLOCK", "0", "STREAMS", STREAM, "$"),),
        lambda message: ("XREAD", "BLOCK", "0", "STREAMS", STREAM, message[0][1][-1][0]),
        lambda payload: (("XADD", STREAM, "MAXLEN", "~", "10000", "*", "m", payload),),
    ),
)


@contextmanager
def a_redis() -> Iterator[int]:
    """Start redis-server, hand out its port, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    binary = shutil.which("redis-server") or sys.exit("redis-server is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield port
        finally:
            server.terminate()
            server.wait()


class Listener(asyncio.Protocol):
    """A connection that takes in messages, and calls back for each."""

    def __init__(self, transport: Transport, heard: Callable[[int], None]) -> None:
        self._kind = transport
        self._heard = heard
        self._reader = hiredis.Reader(protocolError=ValueError, replyError=ValueError)
        self._expected = 0 if transport.name == "streams" else len(transport.begin)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what to listen for."""
        self._transport = cast("asyncio.Transport", transport)
        for command in self._kind.begin:
            self._transport.write(hiredis.pack_command(command))

    def data_received(self, data: bytes) -> None:
        """Take in whatever came, and go on listening."""
        self._reader.feed(data)
        while (message := self._reader.gets()) is not False:
            if self._expected:
                self._expected -= 1
                continue
            # a push of client tracking names all keys of a tick
            self._heard(len(message[1]) if self._kind.name == "client tracking" else 1)
            if (command := self._kind.again(message)) is not None:
                self._transport.write(hiredis.pack_command(command))


async def _crowd(port: int, transport: Transport, count: int, ready: Event) -> None:
    for _ in range(count):
        await asyncio.get_running_loop().create_connection(
            lambda: Listener(transport, lambda _ids: None), "127.0.0.1", port
        )
    ready.set()
    await asyncio.Event().wait()


def crowd(port: int, name: str, count: int, ready: Event) -> None:
    """Listen with the other R - 1, in a process of their own."""
    (transport,) = (one for one in TRANSPORTS if one.name == name)
    asyncio.run(_crowd(port, transport, count, ready))


@asynccontextmanager
async def listeners(
    port: int, transport: Transport, count: int, heard: Callable[[int], None]
) -> AsyncIterator[None]:
    """Let R listen, one of them here."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    others = context.Process(target=crowd, args=(port, transport.name, count - 1, ready), daemon=True)
    others.start()
    await asyncio.to_thread(ready.wait)
    mine, _ = await asyncio.get_running_loop().create_connection(
        lambda: Listener(transport, heard), "127.0.0.1", port
    )
    await asyncio.sleep(0.2)
    try:
        yield
    finally:
        mine.close()
        others.terminate()
        others.join()


class Writer:
    """Merges records as a sidecar does, and tells of them."""

    def __init__(self, client: Redis, transport: Transport) -> None:
        self._client = client
        self._transport = transport
        self._sha = ""
        self._revision = time.time_ns() // 1000  # above all that was merged before

    async def begin(self) -> None:
        """Let Redis know the script."""
        self._sha = await self._client.script_load(MERGE_SCRIPT)

    async def write(self, count: int) -> None:
        """Merge ``count`` records and tell of them, in one round trip."""
        pipeline: Any = self._client.pipeline(transaction=False)
        changes = []
        for _ in range(count):
            self._revision += 1
            record = Record(Kind.FOUND, self._revision, 1, 1, None, VALUE)
            row_id = str(self._revision % 997)
            changes.append((row_id, 1, record))
            key = f"{PREFIX}{{{row_id}}}"
            pipeline.evalsha(self._sha, 1, key, "record", 600_000, envelope.encode_record(record))
        for command in self._transport.tell(announcement.encode(b"12345678", changes)):
            pipeline.execute_command(*command)
        await pipeline.execute()

    async def cpu_us(self) -> float:
        """CPU that Redis has taken so far."""
        info = await self._client.info("cpu")
        return 1e6 * float(info["used_cpu_user"] + info["used_cpu_sys"])


class Figures(NamedTuple):
    """Of one transport and R."""

    cpu_us: float
    delays_us: list[float]
    messages: int


async def measured(port: int, transport: Transport, count: int, batch: int) -> Figures:
    """Write and listen."""
    arrivals: list[float] = []
    event = asyncio.Event()

    def heard(_ids: int) -> None:
        arrivals.append(time.perf_counter())
        event.set()

    async with Redis(port=port, protocol=2) as client, listeners(port, transport, count, heard):
        writer, delays = Writer(client, transport), []
        await writer.begin()
        await writer.write(1)
        await event.wait()
        arrivals.clear()
        rounds = WRITES // batch
        before_us = await writer.cpu_us()
        for _ in range(rounds):
            event.clear()
            began = time.perf_counter()
            await asyncio.gather(writer.write(batch), event.wait())
            delays.append(1e6 * (arrivals[-1] - began))
        cpu_us = (await writer.cpu_us() - before_us) / (rounds * batch)
        return Figures(cpu_us, delays, len(arrivals))


async def told_of_backfills(port: int, transport: Transport) -> tuple[int, int]:
    """Ids that listeners are told of by 100 backfills, and by 100 expiries."""
    heard: list[int] = []
    async with (
        Redis(port=port, protocol=2) as client,
        listeners(port, transport, 2, heard.append),
    ):
        for i in range(100):
            await client.set(f"{PREFIX}{{{i}}}", b"what a read loaded", px=300)
        await asyncio.sleep(0.1)
        backfills = sum(heard)
        await asyncio.sleep(0.4)
        await client.mget([f"{PREFIX}{{{i}}}" for i in range(100)])  # Redis would find out a little later
        await asyncio.sleep(0.1)
        return backfills, sum(heard) - backfills


def percentile(values: list[float], share: float) -> float:
    """The value that this share of all stays below."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def line(transport: str, count: int, batch: int, rounds: list[Figures]) -> str:
    """One line of the table."""
    cpu = statistics.median(one.cpu_us for one in rounds)
    p50, p99 = (
        statistics.median(percentile(one.delays_us, share) for one in rounds) for share in (0.5, 0.99)
    )
    return f"{transport:16} {count:3} {batch:5} {cpu:14.1f} {p50:7.0f} {p99:7.0f} {rounds[0].messages:8}"


async def main() -> None:
    """Print one line per transport, R and batch: medians of the rounds."""
    print(f"{WRITES} merges of 200-byte records per round, medians of {ROUNDS} rounds")
    print("transport          R batch Redis us/write  p50 us  p99 us messages")
    with a_redis() as port:
        for batch in (1, BATCH):
            for count in LISTENERS:
                rows: dict[str, list[Figures]] = {}
                for _ in range(ROUNDS):
                    for transport in TRANSPORTS:
                        figures = await measured(port, transport, count, batch)
                        rows.setdefault(transport.name, []).append(figures)
                for name, rounds in rows.items():
                    print(line(name, count, batch, rounds), flush=True)
        for transport in TRANSPORTS:
            backfills, expiries = await told_of_backfills(port, transport)
            print(
                f"{transport.name:16} ids told of by 100 backfills: {backfills}, by 100 expiries: {expiries}"
            )


if __name__ == "__main__":
    asyncio.run(main())
