"""The catalog endpoint: a sidecar's question, whose it is, and the answer. Only the leader has one.

A caller is answered for the namespace that its token proves, and for no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from pannier.catalog_feed import PATH, REJECTS, SERVES, etag, read_rejected, revision_of, wait_of
from pannier.option_values import Address
from pannier_operator.errors import KubeFault
from pannier_operator.feed.desk import Desk
from pannier_operator.https_server import REFRESH_SECONDS, HttpsServer
from pannier_operator.kube.token_reviews import Caller
from pannier_operator.reporting.served import Report
from pannier_operator.serving_certificate import ServingCertificate

_REVIEWS_AT_ONCE: Final = 8
"""Fewer than the client has connections: whoever shows made-up tokens must not keep groups waiting."""
_REVIEWS_WAITING: Final = 200
_log: Final = structlog.stdlib.get_logger(__name__)


class FeedServer:
    """Owned through ``async with``; it refuses while `desk` is None."""

    def __init__(
        self,
        address: Address,
        certificate: ServingCertificate,
        count: Callable[[str], None],
        *,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._count = count
        self._reviewing = asyncio.Semaphore(_REVIEWS_AT_ONCE)
        self._waiting = 0
        application = web.Application()
        application.router.add_get(PATH, self._asked)
        self._server = HttpsServer(
            application, address, certificate, flag="--catalog-feed", refresh_seconds=refresh_seconds
        )
        self.desk: Desk | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @property
    def is_serving(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._server.is_serving

    async def _asked(self, request: web.Request) -> web.Response:
        answer = await self._answer(request)
        self._count(str(answer.status))
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        desk = self.desk
        if desk is None:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "NotLeading: another replica answers")
        if not desk.is_complete():
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "Starting: the catalogs are being read")
        try:
            caller = await self._caller(desk, request)
        except KubeFault as fault:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, f"the API server cannot be asked: {fault.reason}")
        if caller is None:
            message = "Unauthorized: a token of a service account for audience pannier.dev is needed"
            return _refused(HTTPStatus.UNAUTHORIZED, message)
        return await self._wait(desk, caller, request)

    async def _wait(self, desk: Desk, caller: Caller, request: web.Request) -> web.Response:
        headers = request.headers
        served = headers.get(SERVES, "")
        report = Report(
            int(served) if served.isdecimal() and served.isascii() else 0, read_rejected(headers.get(REJECTS))
        )
        name = caller.pod or f"serviceaccount:{caller.account}"
        heard = revision_of(headers.get("If-None-Match"))
        if desk.reports.began(caller.namespace, name, report):
            desk.watch.heard(caller.namespace)
        try:
            news = await desk.room.news(caller.namespace, heard, wait_of(headers.get("Prefer")))
        finally:
            desk.reports.ended(caller.namespace, name)
        if news is None:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag(heard or 0)})
        sent = {"ETag": etag(news.revision), "Content-Encoding": "gzip", "Cache-Control": "no-store"}
        return web.Response(body=news.body, content_type="application/json", headers=sent)

    async def _caller(self, desk: Desk, request: web.Request) -> Caller | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        if self._waiting >= _REVIEWS_WAITING:
            raise KubeFault(0, "Busy", "too many tokens wait to be reviewed")
        self._waiting += 1
        try:
            async with self._reviewing:
                return await desk.reviews.caller(token.strip())
        finally:
            self._waiting -= 1

    async def __aenter__(self) -> Self:
        """Take the address; raises `CannotStart`."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<FeedServer on {self._server!r} {'leading' if self.desk else 'standing by'}>"


def _refused(status: HTTPStatus, message: str) -> web.Response:
    """Refuse, and end the connection: the next one may find another replica."""
    refusal = web.Response(status=status, text=f"{message}\n", headers={"Retry-After": "1"})
    refusal.force_close()
    return refusal
