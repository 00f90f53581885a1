"""A sidecar that is told to stop, as a real process under load: what it still does, and what nobody loses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from tests.fault_proxy import FaultProxy, held
from tests.integration.test_http_lifecycle import ServeProcess, flags, serving
from tests.servers import HOST, RedisServer, free_port
from tests.sidecars import a_sidecar

CLIENTS = 12


class Heard(NamedTuple):
    """One answer on a kept connection."""

    status: int
    headers: dict[str, str]
    json: Any

    @property
    def is_last(self) -> bool:
        """Whether it ends its connection, and says so."""
        return self.headers.get("connection") == "close"


class Kept:
    """A client with one connection, which it keeps as long as it may."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, document: Any) -> Heard:
        """Ask; fails where the connection ends without an answer."""
        body = json.dumps(document).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: sidecar\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        answer = await self._reader.readexactly(int(headers["content-length"]))
        return Heard(int(status.split()[1]), headers, json.loads(answer))

    async def read(self, *ids: str) -> Heard:
        return await self.post("/v1/features/read", {"reads": [{"group": "user_facts", "ids": list(ids)}]})

    async def write(self, row_id: str, visits: int) -> Heard:
        item = {"group": "user_facts", "id": row_id, "features": {"visits": visits}}
        return await self.post("/v1/features/write", {"writes": [item]})

    async def ended(self) -> bool:
        """Whether the sidecar closes the connection."""
        return await self._reader.read(1) == b""


@contextlib.asynccontextmanager
async def a_client(sidecar: ServeProcess) -> AsyncIterator[Kept]:
    port = int(sidecar.data.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield Kept(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def write_and_read(sidecar: ServeProcess, row_id: str, acknowledged: dict[str, int]) -> None:
    """Go on until an answer says that it is the last."""
    number = 0
    async with a_client(sidecar) as client:
        while True:
            number += 1
            written = await client.write(row_id, number)
            assert written.status == 200, written
            assert written.json["results"][0]["verdict"] == "written"
            acknowledged[row_id] = number
            if written.is_last:
                break
            read = await client.read(row_id)
            assert read.json["results"][0]["rows"][0]["features"]["visits"] == number
            if read.is_last:
                break
        assert await client.ended()


async def ready(session: aiohttp.ClientSession, sidecar: ServeProcess) -> tuple[int, str, int]:
    """Status and phase of /readyz, status of /livez."""
    async with session.get(f"{sidecar.admin}/readyz") as answer:
        readiness = answer.status, (await answer.json())["phase"]
    async with session.get(f"{sidecar.admin}/livez") as answer:
        return *readiness, answer.status


async def test_sigterm_under_load_loses_no_acknowledged_write_and_no_answer(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str, redis_server: RedisServer
) -> None:
    """Every request under way is answered, each connection told it is over, and Redis hears what L3 said."""
    prefix = f"t{free_port()}"
    acknowledged: dict[str, int] = {}
    store: dict[str, Any] = {
        "store": "dynamodb",
        "dynamodb_endpoint_url": dynoxide_url,
        "table_prefix": prefix,
    }
    async with a_sidecar(tmp_path, **store) as client:
        await client.write({"group": "user_facts", "id": "cold", "features": {"visits": 77}})
    async with FaultProxy(dynoxide_url) as proxy, aiohttp.ClientSession() as session:
        more = {"store": "dynamodb", "dynamodb-endpoint-url": proxy.url, "table-prefix": prefix}
        more |= {"redis-url": redis_server.url, "drain-seconds": "60", "request-timeout-ms": "60000"}
        more |= {"l3-timeout-ms": "60000", "loop-delay-ms": "0"}
        given = [*flags(tmp_path, **more), "--create-tables"]
        async with serving(*given, **aws_credentials) as sidecar:
            await sidecar.announced()
            async with a_client(sidecar) as slow:
                gate = asyncio.Event()
                proxy.on("BatchGetItem", held(until=gate))
                loading = asyncio.create_task(slow.read("cold"))
                writing = [
                    asyncio.create_task(write_and_read(sidecar, f"w{n}", acknowledged))
                    for n in range(CLIENTS)
                ]
                async with asyncio.timeout(30):
                    while len(acknowledged) < CLIENTS or min(acknowledged.values()) < 3:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                sidecar.process.send_signal(signal.SIGTERM)
                # while one request is still under way: not ready, alive, nobody new is let in, the others end
                await asyncio.gather(*writing)
                assert await ready(session, sidecar) == (503, "stopping", 200)
                async with asyncio.timeout(30):
                    while await accepts(sidecar):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert sidecar.process.returncode is None
                gate.set()
                answer = await loading
                assert answer.json["results"][0]["rows"][0]["features"]["visits"] == 77
                assert answer.is_last
                assert await slow.ended()
            await sidecar.errors()
            async with asyncio.timeout(30):
                assert await sidecar.process.wait() == 0
        # what was acknowledged is in L3, and in Redis what was written and loaded last
        wrote = dict.fromkeys(["cold"], 77) | acknowledged
        expected = [("found", visits) for visits in wrote.values()]
        for redis_url, source in ((None, "l3"), (redis_server.url, "l2")):
            async with a_sidecar(tmp_path, redis_url=redis_url, l2_timeout_ms="5000", **store) as client:
                rows = await client.rows("user_facts", *wrote, explain=True)
            assert [(row["status"], row["features"]["visits"]) for row in rows] == expected
            assert {row["id"]: row["source"] for row in rows} == dict.fromkeys(wrote, source)


async def accepts(sidecar: ServeProcess) -> bool:
    """Whether the data port takes a new connection."""
    try:
        async with a_client(sidecar):
            return True
    except ConnectionRefusedError:
        return False


async def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Connections that are kept without a request are closed after a moment, not after their keep-alive."""
    async with serving(*flags(tmp_path, **{"drain-seconds": "3600"})) as sidecar:
        await sidecar.announced()
        async with a_client(sidecar) as idle:
            assert (await idle.read("1")).status == 200
            sidecar.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await idle.ended()
                assert await sidecar.process.wait() == 0


async def test_a_second_sigterm_ends_at_once(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Who insists does not wait for what is under way."""
    async with FaultProxy(dynoxide_url) as proxy:
        more = {"store": "dynamodb", "dynamodb-endpoint-url": proxy.url, "table-prefix": f"t{free_port()}"}
        more |= {"drain-seconds": "3600", "request-timeout-ms": "60000", "l3-timeout-ms": "60000"}
        given = [*flags(tmp_path, **more), "--create-tables"]
        async with serving(*given, **aws_credentials) as sidecar, aiohttp.ClientSession() as session:
            await sidecar.announced()
            proxy.on("BatchGetItem", held())
            async with a_client(sidecar) as slow:
                loading = asyncio.create_task(slow.read("cold"))
                async with asyncio.timeout(30):
                    while not proxy.calls["BatchGetItem"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    sidecar.process.send_signal(signal.SIGTERM)
                    while (await ready(session, sidecar))[0] != 503:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    sidecar.process.send_signal(signal.SIGTERM)
                    assert await sidecar.process.wait() == -signal.SIGTERM
                [lost] = await asyncio.wait_for(asyncio.gather(loading, return_exceptions=True), 30)
                assert isinstance(lost, (asyncio.IncompleteReadError, ConnectionError))


async def test_what_is_not_done_when_the_time_is_up_is_cut_off(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """--drain-seconds bounds the whole stop, also where a request would take for ever; the log says so."""
    async with FaultProxy(dynoxide_url) as proxy:
        more = {"store": "dynamodb", "dynamodb-endpoint-url": proxy.url, "table-prefix": f"t{free_port()}"}
        more |= {"drain-seconds": "1", "request-timeout-ms": "60000", "l3-timeout-ms": "60000"}
        given = [*flags(tmp_path, **more), "--create-tables"]
        async with serving(*given, **aws_credentials) as sidecar:
            await sidecar.announced()
            proxy.on("BatchGetItem", held())
            async with a_client(sidecar) as slow:
                loading = asyncio.create_task(slow.read("cold"))
                async with asyncio.timeout(30):
                    while not proxy.calls["BatchGetItem"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    sidecar.process.send_signal(signal.SIGTERM)
                    logged = await sidecar.errors()
                    assert await sidecar.process.wait() == 0
                await asyncio.gather(loading, return_exceptions=True)
            assert "requests_cut_off" in logged
