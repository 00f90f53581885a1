"""A bare aiohttp handler that reads the body and answers constant bytes: the ceiling a bench compares with.

Run as ``python -m pannier_cli.bench.bare PORT DIRECTORY``; each file of the directory is served as the
answer to ``POST /<file name>``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiohttp import web

from pannier_cli.bench.children import HOST


def constant(body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that always answers ``body``."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    return answer


async def serve(port: int, bodies: dict[str, bytes]) -> None:
    """Serve until the process is told to end."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    for name, body in bodies.items():
        app.router.add_post(f"/{name}", constant(body))
    runner = web.AppRunner(app, access_log=None, handle_signals=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the arguments and serve on uvloop."""
    port, directory = sys.argv[1:]
    bodies = {file.name: file.read_bytes() for file in Path(directory).iterdir()}
    uvloop.run(serve(int(port), bodies))


if __name__ == "__main__":
    main()
