"""How soon a write through one sidecar is seen by the readers of another that holds the id in its L1.

Two sidecars, one Redis and a DynamoDB emulator, each a process of its own. One client writes through the
first and, once that is acknowledged, reads through the second until it shows the new value.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.table import Table

from pannier_cli.bench import scrape, servers
from pannier_cli.bench.children import HOST
from pannier_cli.bench.figures import Latencies
from pannier_cli.bench.report import grid
from pannier_cli.failures import CommandFailed

Tell = Callable[[str], None]
GROUP: Final = "bench_facts"
IDS: Final = 50
GIVE_UP_SECONDS: Final = 10.0
"""Far below the TTLs of the group: what takes longer is not seen because of an announcement."""
_DELAY: Final = "pannier_invalidation_delay_seconds"
MANIFEST: Final[Mapping[str, Any]] = {
    "apiVersion": "pannier.dev/v1alpha1",
    "kind": "FeatureGroup",
    "metadata": {"name": "bench-facts", "namespace": "bench"},
    "spec": {
        "groupName": GROUP,
        "key": {"entity": "user", "maxIdBytes": 64},
        "features": [{"id": 0, "name": "number", "type": "Int64"}],
        "storage": {"mode": "Dedicated"},
        "cache": {
            "profile": "Hot",
            "local": {"softTTLSeconds": 300, "hardTTLSeconds": 600},
            "remote": {"softTTLSeconds": 600, "hardTTLSeconds": 1200},
        },
    },
}


class InvalidationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the bench came to."""

    seen: Latencies
    """From the acknowledgement of a write to the end of the read that shows it."""
    reads_per_write: float
    announced_p50_ms: float
    """From L3's acknowledgement to the other sidecar hearing of it: the bound of the bucket it lies in."""
    announced_p99_ms: float


def run(writes: int, directory: Path, tell: Tell) -> InvalidationResult:
    """Start everything, write and watch."""
    with ExitStack() as owned:
        tell("starting Redis, dynoxide and two sidecars")
        redis = owned.enter_context(servers.redis(directory / "redis", None))
        store = owned.enter_context(servers.empty_dynoxide(directory / "store", None))
        flags = ["--redis-url", f"redis://{HOST}:{redis.port}", "--store", "dynamodb", "--create-tables"]
        flags += ["--dynamodb-endpoint-url", store.url]
        writer, reader = (
            owned.enter_context(servers.sidecar(directory / name, [MANIFEST], flags, None))
            for name in ("writer", "reader")
        )
        client = _Client(writer.port, reader.port)
        owned.callback(client.close)
        tell("writing through one, reading through the other")
        for number in range(IDS):
            client.write(number, 0)
            client.read(number)
        delays, reads = [], 0
        for number in range(writes):
            seconds, asked = client.write_and_watch(number % IDS, number + 1)
            delays.append(seconds)
            reads += asked
        buckets = scrape.parse_buckets(scrape.metrics(reader.admin_port), _DELAY)
    return InvalidationResult(
        seen=Latencies.of(sorted(delays)),
        reads_per_write=reads / writes,
        announced_p50_ms=scrape.bucket_bound(buckets, 50) * 1_000,
        announced_p99_ms=scrape.bucket_bound(buckets, 99) * 1_000,
    )


def table(result: InvalidationResult) -> Table:
    """Say it to people."""
    lines = grid("from L3's acknowledgement until", ">p50", ">p99", ">max")
    seen = result.seen
    lines.add_row(
        "the other sidecar has heard of it",
        f"<= {result.announced_p50_ms:g} ms",
        f"<= {result.announced_p99_ms:g} ms",
        "",
    )
    lines.add_row(
        "its reader has seen it (from the answer to the write)",
        *(
            f"{value:.2f} ms" if value is not None else ""
            for value in (seen.p50_ms, seen.p99_ms, seen.max_ms)
        ),
    )
    return lines


class _Client:
    """Writes through one sidecar and reads through the other, one request at a time."""

    def __init__(self, writer_port: int, reader_port: int) -> None:
        self._writer = http.client.HTTPConnection(HOST, writer_port, timeout=GIVE_UP_SECONDS)
        self._reader = http.client.HTTPConnection(HOST, reader_port, timeout=GIVE_UP_SECONDS)

    def write(self, number: int, value: int) -> None:
        """Write one row; it must be written."""
        write = {"group": GROUP, "id": str(number), "features": {"number": value}}
        (result,) = _post(self._writer, "/v1/features/write", {"writes": [write]})
        if result["verdict"] != "written":
            raise CommandFailed(f"the writing sidecar answered {result}")

    def read(self, number: int) -> int | None:
        """The value that the reading sidecar shows."""
        (result,) = _post(
            self._reader, "/v1/features/read", {"reads": [{"group": GROUP, "ids": [str(number)]}]}
        )
        value: int | None = result["rows"][0].get("features", {}).get("number")
        return value

    def write_and_watch(self, number: int, value: int) -> tuple[float, int]:
        """Write, and read until it shows; gives the seconds from the answer on, and the number of reads."""
        self.read(number)  # so that its L1 holds what the write makes old
        self.write(number, value)
        written_at, reads = time.perf_counter(), 1
        while self.read(number) != value:
            if time.perf_counter() - written_at > GIVE_UP_SECONDS:
                raise CommandFailed(f"the reading sidecar did not show a write within {GIVE_UP_SECONDS:g} s")
            reads += 1
        return time.perf_counter() - written_at, reads

    def close(self) -> None:
        """Close both connections."""
        self._writer.close()
        self._reader.close()

    def __repr__(self) -> str:
        return f"<_Client of ports {self._writer.port} and {self._reader.port}>"


def _post(
    connection: http.client.HTTPConnection, path: str, document: Mapping[str, Any]
) -> list[dict[str, Any]]:
    connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    if response.status != http.client.OK:
        raise CommandFailed(f"{path} answered {response.status}: {body.decode()[:500]}")
    results: list[dict[str, Any]] = json.loads(body)["results"]
    return results
