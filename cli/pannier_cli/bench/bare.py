"""A bare aiohttp handler that reads the body and answers constant bytes: the ceiling a bench compares with.

Run as ``python -m pannier_cli.bench.bare PORT DIRECTORY``; each file of the directory is served as the
answer to ``POST /<file name>``. With ``PORT http://...`` instead every request is passed on to that address,
and its answer given back: what a second hop costs by itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from pannier_cli.bench.children import HOST


def constant(body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that always answers ``body``."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    return answer


def passing_on(url: str, session: aiohttp.ClientSession) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that gives what another server answers."""

    async def answer(request: web.Request) -> web.Response:
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=await request.read(), headers=headers) as said:
            return web.Response(body=await said.read(), content_type="application/json")

    return answer


async def serve(port: int, bodies: dict[str, bytes]) -> None:
    """Serve bodies until the process is told to end."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    for name, body in bodies.items():
        app.router.add_post(f"/{name}", constant(body))
    await _run(app, port)


async def pass_on(port: int, url: str) -> None:
    """Pass everything on until the process is told to end."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/{any}", passing_on(url, session))
        await _run(app, port)


async def _run(app: web.Application, port: int) -> None:
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the arguments and serve on uvloop."""
    port, what = sys.argv[1:]
    if what.startswith("http://"):
        uvloop.run(pass_on(int(port), what))
        return
    bodies = {file.name: file.read_bytes() for file in Path(what).iterdir()}
    uvloop.run(serve(int(port), bodies))


if __name__ == "__main__":
    main()
