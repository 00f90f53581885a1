"""An HTTP server that answers as a test tells it and keeps what it was asked, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from tests.servers import HOST

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    verb: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class Wire:
    """What the server answers, and what it was asked."""

    url: str = ""
    answers: list[tuple[int, Any]] = field(default_factory=list)
    """Given one after the other; the last for ever. Bytes are sent as they are."""
    by_path: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Given for these paths, whatever else there is to answer."""
    asked: list[Asked] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it."""
    hangs_up: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(text) if text else None,
            )
        )
        await self.open.wait()
        if self.hangs_up and request.transport is not None:
            request.transport.abort()
        if request.path in self.by_path:
            status, body = self.by_path[request.path]
        else:
            status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(
            status=status, body=body if isinstance(body, bytes) else json.dumps(body), headers=JSON
        )

    def kubeconfig(self, folder: Path, user: Mapping[str, Any] | None = None, **cluster: Any) -> str:
        """Write a kubeconfig with this server and a user."""
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"{self.url}/", **cluster}}],
            "users": [{"name": "u", "user": user or {"token": "hush"}}],
        }
        path = folder / "config"
        path.write_text(yaml.safe_dump(config))
        return str(path)


@contextlib.asynccontextmanager
async def a_wire(tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Serve until the end of the block."""
    wire = Wire(answers=[(200, {})])
    wire.open.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=tls)
    await site.start()
    wire.url = f"http{'s' if tls else ''}://{HOST}:{runner.addresses[0][1]}"
    try:
        yield wire
    finally:
        wire.open.set()
        await runner.cleanup()
