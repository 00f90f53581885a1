"""What the hop to a feature server costs: a computed group through a sidecar; its bytes from bare aiohttp.

An open loop at a fixed rate, as `pannier_cli.bench.open_loop`: latency counts from when a request was due.
The feature server answers constant bytes, so what is added is the sidecar's: its own request, the call, the
check of the answer, and rendering it. Beside it bare aiohttp passes requests on to the same feature server: a
second hop that does nothing, which is what any sidecar costs.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import uvloop
from rich.table import Table

from pannier_cli.bench import servers
from pannier_cli.bench.children import HOST
from pannier_cli.bench.figures import Latencies
from pannier_cli.bench.http_client import Connection
from pannier_cli.bench.report import grid
from pannier_cli.failures import CommandFailed

Tell = Callable[[str], None]
CONNECTIONS: Final = 64
ROWS: Final = 10
GROUP: Final = "bench_scores"
SERVICE: Final = "scores.bench"
ANSWER: Final = "read"
CALL: Final = "call"
_GRACE_SECONDS: Final = 10.0
MANIFEST: Final[Mapping[str, Any]] = {
    "apiVersion": "pannier.dev/v1alpha1",
    "kind": "FeatureGroup",
    "metadata": {"name": "bench-scores", "namespace": "bench"},
    "spec": {
        "groupName": GROUP,
        "key": {"entity": "user", "maxIdBytes": 64},
        "features": [{"id": 0, "name": "score", "type": "Float64"}],
        "storage": {"mode": "None"},
        "onDemand": {
            "service": {"name": "scores", "port": 8080, "path": f"/{CALL}"},
            "timeoutMilliseconds": 1000,
            "maxConcurrency": 1000,
        },
    },
}
IDS: Final = tuple(f"user-{number}" for number in range(ROWS))
BODY: Final = msgspec.json.encode({"reads": [{"group": GROUP, "ids": IDS}]})


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: the same rate to each, one after the other."""

    bare: Latencies
    forwarder: Latencies
    sidecar: Latencies


class OnDemandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the bench came to."""

    requests_per_second: float
    rows: int
    rounds: list[Round]
    bare_p50_ms: float
    """Medians of the rounds, as all that follows."""
    forwarder_p50_ms: float
    sidecar_p50_ms: float
    p50_ratio: float
    """Sidecar to bare aiohttp."""
    p99_ratio: float
    p50_over_forwarder: float
    """Sidecar to a second hop that does nothing."""
    p99_over_forwarder: float


def run(rate: float, seconds: float, rounds: int, directory: Path, tell: Tell) -> OnDemandResult:
    """Start everything, then load bare aiohttp and the sidecar in turn."""
    row = {"status": "found", "features": {"score": 0.25}}
    called = {"results": [{"group": GROUP, "rows": [{"id": row_id, **row} for row_id in IDS]}]}
    with ExitStack() as owned:
        tell("starting a feature server and a sidecar")
        computing = owned.enter_context(
            servers.bare(directory / "features", {CALL: msgspec.json.encode(called)}, None)
        )
        flags = ["--store", "embedded", "--data-dir", str(directory / "data")]
        flags += ["--on-demand-at", f"{SERVICE}={HOST}:{computing.port}"]
        sidecar = owned.enter_context(servers.sidecar(directory / "sidecar", [MANIFEST], flags, None))
        answer = uvloop.run(_once(sidecar.port))
        bare = owned.enter_context(servers.bare(directory / "bare", {ANSWER: answer}, None))
        url = f"http://{HOST}:{computing.port}/{CALL}"
        forwarder = owned.enter_context(servers.forwarder(directory / "forwarder", url, None))
        measured = []
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}: {rate:,.0f} requests/s to each")
            direct = uvloop.run(_load(bare.port, f"/{ANSWER}".encode(), rate, seconds))
            passed = uvloop.run(_load(forwarder.port, f"/{ANSWER}".encode(), rate, seconds))
            through = uvloop.run(_load(sidecar.port, b"/v1/features/read", rate, seconds))
            measured.append(Round(bare=direct, forwarder=passed, sidecar=through))
    return _result(rate, measured)


def table(result: OnDemandResult) -> Table:
    """Say it to people."""
    what = f"{result.requests_per_second:,.0f} requests/s, {result.rows} rows each"
    lines = grid(what, ">p50", ">p99", ">max")
    kinds = {
        "bare aiohttp, the same bytes": "bare",
        "bare aiohttp that asks the feature server": "forwarder",
        "sidecar that asks the feature server": "sidecar",
    }
    for name, kind in kinds.items():
        figures = (_middle(result.rounds, kind, part) for part in ("p50_ms", "p99_ms", "max_ms"))
        lines.add_row(name, *(f"{figure:.2f} ms" for figure in figures))
    lines.add_row("sidecar to bare", f"{result.p50_ratio:.2f}x", f"{result.p99_ratio:.2f}x", "")
    over = (f"{ratio:.2f}x" for ratio in (result.p50_over_forwarder, result.p99_over_forwarder))
    lines.add_row("sidecar to the bare second hop", *over, "")
    return lines


def _middle(rounds: Sequence[Round], kind: str, part: str) -> float:
    return float(median(getattr(getattr(one, kind), part) for one in rounds))


def _result(rate: float, rounds: list[Round]) -> OnDemandResult:
    bare, forwarder, sidecar = (
        [_middle(rounds, kind, part) for part in ("p50_ms", "p99_ms")]
        for kind in ("bare", "forwarder", "sidecar")
    )
    return OnDemandResult(
        requests_per_second=rate,
        rows=ROWS,
        rounds=rounds,
        bare_p50_ms=bare[0],
        forwarder_p50_ms=forwarder[0],
        sidecar_p50_ms=sidecar[0],
        p50_ratio=sidecar[0] / bare[0],
        p99_ratio=sidecar[1] / bare[1],
        p50_over_forwarder=sidecar[0] / forwarder[0],
        p99_over_forwarder=sidecar[1] / forwarder[1],
    )


async def _once(port: int) -> bytes:
    """One answer of the sidecar, checked: what is compared has to be computed rows."""
    connection, loop = await Connection.open(HOST, port), asyncio.get_running_loop()
    answered: asyncio.Future[bytes | None] = loop.create_future()
    connection.post(b"/v1/features/read", BODY, answered.set_result)
    answer = await answered
    connection.close()
    body = (answer or b"").partition(b"\r\n\r\n")[2]
    if body.count(b'"found"') != ROWS:
        raise CommandFailed(f"the sidecar answered {body[:300]!r}")
    return body


async def _load(port: int, path: bytes, rate: float, seconds: float) -> Latencies:
    """Poisson arrivals; latencies from when each was due."""
    loop, dice, clock = asyncio.get_running_loop(), random.Random(1), time.perf_counter
    idle = [await Connection.open(HOST, port) for _ in range(CONNECTIONS)]
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in idle:
        free.put_nowait(connection)
    latencies: list[float] = []
    sent: list[asyncio.Future[None]] = []
    due = start = clock()
    while due < start + seconds:
        due += dice.expovariate(rate)
        if (wait := due - clock()) > 0:
            await asyncio.sleep(wait)
        connection = await free.get()
        done: asyncio.Future[None] = loop.create_future()

        def answered(
            answer: bytes | None,
            due: float = due,
            connection: Connection = connection,
            done: asyncio.Future[None] = done,
        ) -> None:
            if answer is None or answer.count(b'"found"') != ROWS:
                done.set_exception(
                    CommandFailed(f"an answer was not as it should be: {(answer or b'')[:300]!r}")
                )
                return
            latencies.append(clock() - due)
            free.put_nowait(connection)
            done.set_result(None)

        connection.post(path, BODY, answered)
        sent.append(done)
    async with asyncio.timeout(_GRACE_SECONDS):
        await asyncio.gather(*sent)
    for connection in idle:
        connection.close()
    return Latencies.of(sorted(latencies))
