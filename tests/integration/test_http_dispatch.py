"""The dispatcher on a real socket with handlers of the test's own: faults that no sound sidecar shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.servers import HOST

from pannier.option_values import Address
from pannier_sidecar.api.dispatch import Dispatcher, Handler, Route, body_of, json_answer
from pannier_sidecar.drain import Drain
from pannier_sidecar.errors import TierTimeout
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.server import HttpServer


@contextlib.asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[tuple[Address, Metrics]]:
    metrics = Metrics()
    dispatcher = Dispatcher([Route("/rows/secret-id", {"POST": handler})], metrics, lambda: "e1")
    async with HttpServer(dispatcher, tcp=Address(HOST, 0), drain=Drain(0)) as server:
        yield server.tcp_addresses[0], metrics


async def post(address: Address, body: bytes = b"") -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}/rows/secret-id", data=body) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def test_a_fault_of_ours_is_a_500_with_an_id_in_the_log() -> None:
    """The answer holds nothing but an id; the log holds the cause under it, once, and no id of a row."""

    async def broken(_request: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("the wheel came off")

    with capture_logs() as logs:
        async with served(broken) as (address, metrics):
            status, document = await post(address)
    assert (status, document["reason"]) == (500, "InternalError")
    assert document["instance"] == "urn:pannier:error:e1"
    assert "wheel" not in json.dumps(document)
    (record,) = logs
    assert (record["event"], record["error_id"], record["log_level"]) == ("request_failed", "e1", "error")
    assert record["exc_info"]
    assert "secret-id" not in str({**record, "exc_info": None})
    assert dict(metrics.problems.items()) == {("InternalError",): 1}


async def test_a_tier_that_gives_no_answer_is_no_fault_of_ours() -> None:
    """A TierError that reaches the surface is an outage by name, and not logged per request."""

    async def late(_request: web.BaseRequest) -> web.StreamResponse:
        raise TierTimeout("l3", "no answer within 5 s")

    with capture_logs() as logs:
        async with served(late) as (address, _):
            status, document = await post(address)
    assert (status, document["reason"], document["detail"]) == (
        504,
        "TierTimeout",
        "l3: no answer within 5 s",
    )
    assert logs == []


async def test_a_body_that_never_comes_is_408() -> None:
    """A client that stalls in its body is told so, and does not hold its connection for good."""

    async def patient(request: web.BaseRequest) -> web.StreamResponse:
        return json_answer(await body_of(request, patience_seconds=0.05))

    async with served(patient) as (address, _):
        assert await post(address, b'{"a":1}') == (200, {"a": 1})
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /rows/secret-id HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        answer = await reader.readuntil(b"}]}")
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:pannier:problem:RequestTimeout" in answer


async def test_a_body_that_is_not_what_it_says_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """Garbled compression is answered, and neither aiohttp nor we log a traceback of it."""

    async def reading(request: web.BaseRequest) -> web.StreamResponse:
        return json_answer(await body_of(request))

    async with (
        served(reading) as (address, _),
        aiohttp.ClientSession(headers={"Content-Encoding": "gzip"}) as session,
        session.post(f"http://{address}/rows/secret-id", data=b"not gzip", compress=False) as answer,
    ):
        document = await answer.json(content_type=None)
    assert (answer.status, document["detail"]) == (
        400,
        "the body cannot be read: Can not decode content-encoding: gzip",
    )
    assert caplog.records == []


async def test_a_client_that_hangs_up_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A connection lost in the middle of a body is neither answered nor logged."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def reading(request: web.BaseRequest) -> web.StreamResponse:
        started.set()
        try:
            return json_answer(await body_of(request))
        finally:
            ended.set()

    with capture_logs() as logs:
        async with served(reading) as (address, metrics):
            _, writer = await asyncio.open_connection(*address)
            writer.write(b"POST /rows/secret-id HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            async with asyncio.timeout(5):
                await started.wait()
                writer.close()
                await writer.wait_closed()
                await ended.wait()
    assert logs == []
    assert caplog.records == []
    assert dict(metrics.problems.items()) == {}
