"""A proxy in front of a DynamoDB emulator that counts calls and lets chosen ones fail, by operation.

It runs in the test's own event loop: ``async with FaultProxy(url) as proxy``, then
``proxy.on("UpdateItem", throttled(), times=2)``. Faults are what AWS's answers look like on the wire, or
connections that break; everything else passes through untouched.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.servers import HOST

_PREFIX = "DynamoDB_20120810"
_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding", "host"}


class Call:
    """One request on its way, and what can be done with it."""

    def __init__(self, proxy: FaultProxy, request: web.Request, body: bytes) -> None:
        self.request = request
        self.body = body
        self._proxy = proxy

    async def forward(self, body: bytes | None = None) -> web.Response:
        """Ask the emulator; ``body`` replaces the request's own."""
        headers = {
            name: value for name, value in self.request.headers.items() if name.lower() not in _HOP_BY_HOP
        }
        async with self._proxy.session.post(
            self._proxy.upstream, data=self.body if body is None else body, headers=headers
        ) as answer:
            kept = {n: v for n, v in answer.headers.items() if n.lower() not in _HOP_BY_HOP | {"x-amz-crc32"}}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    def drop(self) -> web.Response:
        """Break the connection instead of answering."""
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()

    async def hold(self) -> web.Response:
        """Answer nothing until the proxy ends."""
        await self._proxy.ended.wait()
        return self.drop()


Fault = Callable[[Call], Awaitable[web.Response]]


def refused(code: str, message: str = "as the test wants it", status: int = 400) -> Fault:
    """An error answer in DynamoDB's form; the emulator hears nothing of the call."""

    async def fault(call: Call) -> web.Response:
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})
        return web.Response(status=status, text=body, content_type="application/x-amz-json-1.0")

    return fault


def throttled() -> Fault:
    """What a table over its throughput answers."""
    return refused("ProvisionedThroughputExceededException")


def server_error(*, done: bool = False) -> Fault:
    """A 500, with the call acted on or not."""

    async def fault(call: Call) -> web.Response:
        if done:
            await call.forward()
        return await refused("InternalServerError", status=500)(call)

    return fault


def dropped(*, done: bool = False) -> Fault:
    """A connection lost after the request was sent, with the call acted on or not."""

    async def fault(call: Call) -> web.Response:
        if done:
            await call.forward()
        return call.drop()

    return fault


def held(*, done: bool = False, until: asyncio.Event | None = None) -> Fault:
    """No answer at all, with the call acted on or not; or, from that event on, the answer it is due."""

    async def fault(call: Call) -> web.Response:
        if done:
            await call.forward()
        if until is None:
            return await call.hold()
        await until.wait()
        return await call.forward()

    return fault


def garbage(body: bytes = b"<html>surely no DynamoDB</html>") -> Fault:
    """A 200 from something else."""

    async def fault(call: Call) -> web.Response:
        return web.Response(body=body)

    return fault


def unprocessed(keys_processed: int) -> Fault:
    """BatchGetItem that does only the first keys of each table and hands the others back."""

    async def fault(call: Call) -> web.Response:
        asked: dict[str, Any] = json.loads(call.body)["RequestItems"]
        done = {table: {**part, "Keys": part["Keys"][:keys_processed]} for table, part in asked.items()}
        left = {table: {**part, "Keys": part["Keys"][keys_processed:]} for table, part in asked.items()}
        found: dict[str, Any] = {"Responses": {}}
        if keys_processed:
            answer = await call.forward(json.dumps({"RequestItems": done}).encode())
            assert isinstance(answer.body, bytes)
            found = json.loads(answer.body)
        found["UnprocessedKeys"] = {table: part for table, part in left.items() if part["Keys"]}
        return web.Response(text=json.dumps(found), content_type="application/x-amz-json-1.0")

    return fault


class FaultProxy:
    """The proxy of one test. ``calls`` counts what arrived, by operation."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.ended = asyncio.Event()
        self._faults: dict[str, tuple[Fault, Iterator[int]]] = {}

    def on(self, operation: str, fault: Fault, *, times: int | None = None) -> None:
        """Let the next ``times`` calls of an operation fail (all of them: None)."""
        self._faults[operation] = (fault, iter(itertools.count() if times is None else range(times)))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=32 * 1024 * 1024)
        application.router.add_post("/", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        await self._runner.cleanup()
        await self.session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].removeprefix(f"{_PREFIX}.")
        self.calls[operation] += 1
        call = Call(self, request, await request.read())
        planned = self._faults.get(operation)
        if planned is not None and next(planned[1], None) is not None:
            return await planned[0](call)
        return await call.forward()

    def __repr__(self) -> str:
        return f"<FaultProxy {self.url} for {self.upstream}, {sum(self.calls.values())} calls>"
