"""A feature server for tests: over a real socket, answering what the test says, keeping what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from tests.builders import a_group
from tests.servers import HOST

from pannier.catalog import CatalogGroup
from pannier.option_values import Address

Rows = Callable[[dict[str, Any]], list[dict[str, Any]]]
"""The rows for one read of a request."""
SERVICE = "scores.shop"


@dataclass
class FeatureServer:
    """What it does, and what it saw."""

    rows: Rows
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    instead: Callable[[], Awaitable[web.StreamResponse]] | None = None
    """Answers in place of the rows, if set."""

    @property
    def services(self) -> dict[str, Address]:
        """Where the sidecar finds it."""
        return {SERVICE: Address(HOST, self.port)}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        body = await request.json()
        self.asked += body["reads"]
        self.headers.append(request.headers)
        if self.instead is not None:
            return await self.instead()
        results = [{"group": read["group"], "rows": self.rows(read)} for read in body["reads"]]
        return web.json_response({"results": results})


@contextlib.asynccontextmanager
async def a_feature_server(rows: Rows, tls: ssl.SSLContext | None = None) -> AsyncIterator[FeatureServer]:
    """Run one on a free port."""
    server = FeatureServer(rows)
    app = web.Application()
    app.router.add_post("/v1/features", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0, ssl_context=tls)
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


def a_computed_group(
    name: str = "score", *, on_demand: dict[str, Any] | None = None, **fields: Any
) -> CatalogGroup:
    """Make a group that is computed by the Service ``scores``; no cache unless a field says so."""
    spec = {"timeoutMilliseconds": 2_000, "maxConcurrency": 8, "onFailure": "Unknown", **(on_demand or {})}
    scheme = spec.pop("scheme", "HTTP")
    service = {"name": "scores", "port": 80, "path": "/v1/features", "scheme": scheme}
    known: dict[str, Any] = {
        "features": {"score": "Int64"},
        "local": "Disabled",
        "remote": "Disabled",
        **fields,
    }
    group = a_group(name, storage_mode="None", **known)
    return msgspec.structs.replace(group, on_demand={"service": service, **spec})


def scored(read: dict[str, Any]) -> list[dict[str, Any]]:
    """Every id is found; its score is its length, times what the context says."""
    factor = read.get("context", {}).get("factor", 1)
    return [
        {"id": row_id, "status": "found", "features": {"score": factor * len(row_id)}}
        for row_id in read["ids"]
    ]


async def never() -> web.StreamResponse:
    """Leave the caller waiting."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")
