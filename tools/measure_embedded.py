"""What the embedded store costs, and what other databases would cost below it: the figures of ADR 0003.

    PYTHONPATH=contract:sidecar:. .venv/bin/python tools/measure_embedded.py [--engines]

With ``--engines`` the same rows go through bare SQLite, LMDB (``lmdb``) and RocksDB (``rocksdict``), durable
after each batch, as far as their packages are installed. Figures are medians of rounds on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.builders import a_plan

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY, RECORD_SORT_KEY
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, RowKey, TimelineQuery
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

BATCH = 500
ROUNDS = 5
ROWS = 20_000
TIMELINE_IDS = 400
RECORDS_PER_ID = 50
VALUE = b'"' + b"x" * 200 + b'"'
SECOND_US = 1_000_000


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


def a_put(plan: GroupPlan, row_id: str, sort_key: str, second: int) -> Put:
    """Make a write of 200 bytes."""
    return Put(
        plan=plan,
        id=row_id,
        sort_key=sort_key,
        mode="replace" if plan.is_timeline else "merge",
        values={0: VALUE},
        event_time_us=second * SECOND_US if plan.is_timeline else None,
        expires_at=now_us() // SECOND_US + 86_400,
    )


async def median_seconds(work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Run work in rounds; seconds of the middle one."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def write_all(store: EmbeddedStore, puts: Sequence[Put]) -> None:
    """Write in batches, one after the other."""
    for start in range(0, len(puts), BATCH):
        await store.write(puts[start : start + BATCH], timeout_seconds=60, now_us=now_us())


async def read_while_writing(store: EmbeddedStore, key: RowKey, puts: Sequence[Put]) -> list[float]:
    """Latencies of one-row reads, half a millisecond apart, beside a writer of batches that never rests."""
    writer = asyncio.create_task(write_all(store, puts))
    latencies = []
    while not writer.done():
        began = time.perf_counter()
        await store.read_records([key], strong=True, timeout_seconds=1)
        latencies.append(time.perf_counter() - began)
        await asyncio.sleep(0.0005)
    await writer
    return sorted(latencies)


async def measure_store(directory: Path) -> None:
    """Print the figures of the store as the sidecar uses it."""
    record = a_plan("record", features={"value": "String"})
    timeline = a_plan("timeline", features={"value": "String"}, timeline=True)
    records = [a_put(record, str(i), RECORD_SORT_KEY, 0) for i in range(ROWS)]
    events = [
        a_put(timeline, str(i % TIMELINE_IDS), f"{1_000_000_000 + i:010d}", 1_000_000_000 + i)
        for i in range(TIMELINE_IDS * RECORDS_PER_ID)
    ]
    async with EmbeddedStore(directory) as store:
        await measure_writes(store, records, events)
        await measure_reads(store, [RowKey(record, str(i)) for i in range(0, ROWS, 20)], timeline)
        latencies = await read_while_writing(store, RowKey(record, "0"), records)
    p50, p99 = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    print(f"read beside a busy writer:       {p50 * 1e6:9.1f} us p50, {p99 * 1e6:.1f} us p99")


async def measure_writes(store: EmbeddedStore, records: Sequence[Put], events: Sequence[Put]) -> None:
    """Print what writes cost, together and one by one."""

    async def one(put: Put) -> None:
        await store.write([put], timeout_seconds=60, now_us=now_us())

    async def together() -> None:
        await asyncio.gather(*(one(put) for put in records[:BATCH]))

    seconds = await median_seconds(lambda: write_all(store, records))
    print(f"record writes, batches of {BATCH}:   {len(records) / seconds:9,.0f} /s")
    seconds = await median_seconds(lambda: write_all(store, events))
    print(f"timeline writes, batches of {BATCH}: {len(events) / seconds:9,.0f} /s")
    seconds = await median_seconds(together)
    print(f"{BATCH} concurrent single writes:    {BATCH / seconds:9,.0f} /s")
    seconds = await median_seconds(lambda: _each(one, records[:200]))
    print(f"one write at a time:             {seconds / 200 * 1e3:9.2f} ms")


async def measure_reads(store: EmbeddedStore, keys: Sequence[RowKey], timeline: GroupPlan) -> None:
    """Print what reads cost where they run, and what handing them to a thread would add."""
    queries = [
        TimelineQuery(timeline, str(i), RECORDS_PER_ID, LOWEST_SORT_KEY, HIGHEST_SORT_KEY)
        for i in range(TIMELINE_IDS)
    ]

    async def one(key: RowKey) -> None:
        await store.read_records([key], strong=True, timeout_seconds=1)

    seconds = await median_seconds(lambda: _each(one, keys))
    print(f"read of one record:              {seconds / len(keys) * 1e6:9.1f} us")
    seconds = await median_seconds(lambda: _each(lambda key: asyncio.to_thread(len, key.id), keys))
    print(f"handing nothing to a thread:     {seconds / len(keys) * 1e6:9.1f} us")
    seconds = await median_seconds(
        lambda: store.read_timelines(queries, strong=True, timeout_seconds=1, now_us=now_us())
    )
    print(f"read of a timeline of {RECORDS_PER_ID}:        {seconds / len(queries) * 1e6:9.1f} us")


async def _each(call: Callable[[Any], Coroutine[Any, Any, Any]], items: Sequence[Any]) -> None:
    for item in items:
        await call(item)


class Engine(NamedTuple):
    """A database under test: how to write a batch durably, read a key, and read the newest of a prefix."""

    name: str
    write: Callable[[Sequence[tuple[bytes, bytes]]], None]
    get: Callable[[bytes], bytes | None]
    newest: Callable[[bytes], int]


def bare_sqlite(directory: Path) -> Engine:
    """SQLite with the pragmas of the store."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE item (pk TEXT, sk TEXT, body BLOB, PRIMARY KEY (pk, sk))")
    one = "SELECT body FROM item WHERE pk = ? AND sk = ?"

    def write(rows: Sequence[tuple[bytes, bytes]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for key, body in rows:
            pk, sk = key.decode().split("\x00")
            connection.execute(one, (pk, sk)).fetchone()
            connection.execute("INSERT OR REPLACE INTO item VALUES (?, ?, ?)", (pk, sk, body))
        connection.execute("COMMIT")

    def get(key: bytes) -> bytes | None:
        row: tuple[bytes] | None = connection.execute(one, key.decode().split("\x00")).fetchone()
        return row[0] if row else None

    def newest(prefix: bytes) -> int:
        many = "SELECT body FROM item WHERE pk = ? ORDER BY sk DESC LIMIT ?"
        return len(connection.execute(many, (prefix[:-1].decode(), RECORDS_PER_ID)).fetchall())

    return Engine("sqlite", write, get, newest)


def lmdb_engine(directory: Path) -> Engine:
    """LMDB, synchronous."""
    import lmdb  # type: ignore[import-not-found]  # noqa: PLC0415 (optional)

    environment = lmdb.open(str(directory / "lmdb"), map_size=1 << 32)

    def write(rows: Sequence[tuple[bytes, bytes]]) -> None:
        with environment.begin(write=True) as transaction:
            for key, body in rows:
                transaction.get(key)
                transaction.put(key, body)

    def get(key: bytes) -> bytes | None:
        with environment.begin() as transaction:
            found: bytes | None = transaction.get(key)
            return found

    def newest(prefix: bytes) -> int:
        with environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(prefix + b"\xff")
            return _leading(prefix, (key for key, _ in cursor.iterprev()) if cursor.prev() else ())

    return Engine("lmdb", write, get, newest)


def _leading(prefix: bytes, keys: Iterable[bytes]) -> int:
    """Count keys of the prefix, no more than a page of them."""
    page = itertools.islice(keys, RECORDS_PER_ID)
    return sum(1 for _ in itertools.takewhile(lambda key: key.startswith(prefix), page))


def rocksdb_engine(directory: Path) -> Engine:
    """RocksDB, its log synced after each batch."""
    from rocksdict import Options, Rdict, WriteBatch, WriteOptions  # type: ignore[import-not-found]  # noqa: PLC0415

    database = Rdict(str(directory / "rocks"), options=Options(raw_mode=True))
    synced = WriteOptions()
    synced.sync = True

    def write(rows: Sequence[tuple[bytes, bytes]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, body in rows:
            database.get(key)
            batch.put(key, body)
        database.write(batch, synced)

    def newest(prefix: bytes) -> int:
        return _leading(prefix, database.keys(backwards=True, from_key=prefix + b"\xff"))

    return Engine("rocksdb", write, database.get, newest)


def measure_engine(engine: Engine) -> None:
    """Print one line: durable batches with a read before each write, single reads, newest 50."""
    body = msgspec.msgpack.encode([0, False, {}, {0: VALUE}])
    rows = [
        (f"timeline#{i % TIMELINE_IDS}\x00{1_000_000_000 + i:010d}".encode(), body)
        for i in range(TIMELINE_IDS * RECORDS_PER_ID)
    ]
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        engine.write(rows[start : start + BATCH])
    writes = len(rows) / (time.perf_counter() - began)
    began = time.perf_counter()
    for key, _ in rows[:5000]:
        engine.get(key)
    read = (time.perf_counter() - began) / 5000
    began = time.perf_counter()
    for i in range(TIMELINE_IDS):
        if engine.newest(f"timeline#{i}\x00".encode()) != RECORDS_PER_ID:
            raise SystemExit(f"{engine.name} does not give back what was written")
    newest = (time.perf_counter() - began) / TIMELINE_IDS
    print(
        f"{engine.name:8} {writes:9,.0f} writes/s  {read * 1e6:6.1f} us a read  {newest * 1e6:6.1f} us for 50"
    )


def main() -> None:
    """Measure in a directory that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--engines", action="store_true", help="compare bare engines too")
    parser.add_argument(
        "--directory", type=Path, help="where to put the files (default: the temporary directory)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as made:
        directory = Path(made)
        asyncio.run(measure_store(directory / "store"))
        if arguments.engines:
            engines = {"sqlite3": bare_sqlite, "lmdb": lmdb_engine, "rocksdict": rocksdb_engine}
            for package, engine in engines.items():
                if importlib.util.find_spec(package):
                    measure_engine(engine(directory))


if __name__ == "__main__":
    main()
