"""The sockets: a dispatcher served over TCP and Unix sockets, owned through ``async with``.

It knows addresses and shutdown, and nothing of what is answered (`api.dispatch`) or by what (`app`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from pannier.errors import PannierError
from pannier.option_values import Address
from pannier_sidecar.api.dispatch import MAX_BODY_BYTES, Dispatcher, ProblemRequestHandler
from pannier_sidecar.drain import Drain

KEEPALIVE_SECONDS: Final = 75.0
_LINGER_SECONDS: Final = 0.5
"""How long a stopping server listens to idle connections: a request may be on its way on any of them."""
_CUT_OFF_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.01
_BACKLOG: Final = 1024
_SOCKET_MODE: Final = 0o666
"""As open as loopback is: containers of a pod run as different users, the directory decides who gets in."""
_PROBE_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger(__name__)


class CannotListen(PannierError):
    """A socket cannot be bound; the message says which, why and what to do."""


class HttpServer:
    """One dispatcher on a TCP address, a Unix socket or both.

    Leaving the block stops accepting, ends each connection with its next answer (``Connection: close``), lets
    requests finish within ``drain``, and closes what is left.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        tcp: Address | None = None,
        uds: Path | None = None,
        drain: Drain,
    ) -> None:
        self._dispatcher = dispatcher
        self._drain = drain
        self._server = _Server(
            dispatcher, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, lingering_time=2.0
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_CUT_OFF_SECONDS)
        self._tcp = tcp
        self._uds = uds

    @property
    def tcp_addresses(self) -> list[Address]:
        """Where it listens, with the ports it was given."""
        return [Address(name[0], name[1]) for name in self._runner.addresses if isinstance(name, tuple)]

    @property
    def urls(self) -> list[str]:
        """Where it listens, for people."""
        unix = [f"unix:{self._uds}"] if self._uds is not None else []
        return [f"http://{address}" for address in self.tcp_addresses] + unix

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            if self._tcp is not None:
                await self._listen_tcp(self._tcp)
            if self._uds is not None:
                await self._listen_unix(self._uds)
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatcher.drain()
        if self._uds is not None:  # while we listen nobody else does there; later it may be our successor's
            self._uds.unlink(missing_ok=True)
        for site in tuple(self._runner.sites):
            await site.stop()
        await self._emptied_within(min(_LINGER_SECONDS, self._drain.left_seconds()))
        self._server.pre_shutdown()  # ends idle connections, and the others with the request they are at
        if not await self._emptied_within(max(self._drain.left_seconds(), _CUT_OFF_SECONDS)):
            _log.warning("requests_cut_off", connections=len(self._server.connections))
        await self._runner.cleanup()

    async def _emptied_within(self, seconds: float) -> bool:
        """Whether no connection is left before the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._server.connections:  # noqa: ASYNC110 - aiohttp tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)
        return not self._server.connections

    async def _listen_tcp(self, address: Address) -> None:
        site = web.TCPSite(self._runner, address.host, address.port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {address}: {_why(error)}; is another sidecar running?"
                " Choose another port with --http or --admin, or 0 for any free one"
            ) from error

    async def _listen_unix(self, path: Path) -> None:
        try:
            await asyncio.to_thread(_remove_stale_socket, path)
            await web.UnixSite(self._runner, path, backlog=_BACKLOG).start()
            await asyncio.to_thread(path.chmod, _SOCKET_MODE)
        except OSError as error:
            raise CannotListen(
                f"cannot listen on the Unix socket {path}: {error.strerror or error}"
            ) from error

    def __repr__(self) -> str:
        return f"<HttpServer on {', '.join(self.urls) or 'nothing yet'}>"


class _Server(web.Server):
    """aiohttp's low-level server with our limits and our wording of faults."""

    def __call__(self) -> web.RequestHandler:
        return ProblemRequestHandler(self, loop=self._loop, **self._kwargs)

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=MAX_BODY_BYTES
        )


def _why(error: OSError) -> str:
    """The system's words: asyncio's repeat the address; faults of a resolver have no number of the system."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _remove_stale_socket(path: Path) -> None:
    """Remove what a killed sidecar left behind; refuse where one is alive or where it is no socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "a file that is no socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:  # all else, as a full queue, says that somebody may be there
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            why = f"another process may listen there: {error.strerror or error}"
            raise FileExistsError(17, why) from error
    raise FileExistsError(17, "another process listens there")
