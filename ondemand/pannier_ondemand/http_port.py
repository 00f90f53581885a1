"""The socket: calls, /livez, /readyz, /metrics and /openapi.json on one port."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from pannier.option_values import Address
from pannier_ondemand import metrics, openapi
from pannier_ondemand.exchange import Exchange, Reply, refusal
from pannier_ondemand.messages import CallRefused

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_KEEPALIVE_SECONDS: Final = 75.0
"""Longer than sidecars keep a connection idle, so that none is closed under a call."""
_LINGER_SHARE: Final = 0.1
"""Of the drain: how long calls are still taken once it is not ready, since sidecars hear of that later."""


class HttpPort:
    """Owned through ``async with``.

    Leaving the block: not ready, then no new connections, then calls under way end within the drain.
    """

    def __init__(  # noqa: PLR0913 - what it serves, and how
        self,
        exchange: Exchange,
        counted: metrics.Metrics,
        *,
        at: Address,
        path: str,
        drain_seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._exchange, self._metrics, self._at, self._path = exchange, counted, at, path
        self._drain_seconds = drain_seconds
        self._is_draining = False
        server = web.Server(self._answer, access_log=None, keepalive_timeout=_KEEPALIVE_SECONDS)
        self._runner = web.ServerRunner(server, shutdown_timeout=drain_seconds * (1 - _LINGER_SHARE))

    @property
    def address(self) -> Address:
        """Where it listens, with the port it was given."""
        host, port = self._runner.addresses[0][:2]
        return Address(str(host), int(port))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == self._path and request.method == "POST":
            reply = await self._call(request)
        else:
            reply = self._page(request)
        response = web.Response(body=reply.body, status=reply.status)
        response.content_type = reply.content_type
        if reply.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(reply.retry_after_seconds)
        if self._is_draining:
            response.force_close()
        return response

    async def _call(self, request: web.BaseRequest) -> Reply:
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > MAX_BODY_BYTES:
                detail = f"the body is longer than {MAX_BODY_BYTES} bytes"
                return refusal(CallRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", detail))
        return await self._exchange.answer(request.headers, bytes(body))

    def _page(self, request: web.BaseRequest) -> Reply:
        if request.path == "/livez":
            return Reply(HTTPStatus.OK, b'{"status":"alive"}')
        if request.path == "/readyz":
            if self._is_draining:
                return Reply(HTTPStatus.SERVICE_UNAVAILABLE, b'{"status":"draining"}')
            return Reply(HTTPStatus.OK, b'{"status":"ready"}')
        if request.path == "/metrics":
            return Reply(HTTPStatus.OK, self._metrics.text(), "text/plain")
        if request.path == "/openapi.json":
            return Reply(HTTPStatus.OK, openapi.document_bytes())
        detail = f"calls are POST {self._path}; GET takes /livez, /readyz, /metrics, /openapi.json"
        return refusal(CallRefused(HTTPStatus.NOT_FOUND, "UnknownRoute", detail))

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._at.host, self._at.port, ssl_context=self._tls).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_draining = True
        await asyncio.sleep(self._drain_seconds * _LINGER_SHARE)
        await self._runner.cleanup()
        self._exchange.close()

    def __repr__(self) -> str:
        return f"<HttpPort {self._path} at {self._at}>"
