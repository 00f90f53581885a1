"""A webhook over HTTPS: each path takes an AdmissionReview v1. No rule is decided here.

The address is taken at once, so that a bad one is told at the start. Serving begins when there is a
certificate, which may come later than the process: the operator never waits for its webhook.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from pannier.option_values import Address
from pannier_operator.admission.certificate import ServingCertificate
from pannier_operator.admission.review import Review, ReviewInvalid, answer, read_review
from pannier_operator.admission.verdict import Verdict
from pannier_operator.errors import CannotStart

VALIDATE: Final = "/validate"
"""Where FeatureGroups are judged."""
MUTATE: Final = "/mutate"
"""Where pods get their sidecars."""
REFRESH_SECONDS: Final = 5.0
"""How often the files of the certificate are looked at."""
_MAX_BODY: Final = 8 * 1024**2
"""Two versions of an object of at most 1.5 MiB each, with room."""
_BACKLOG: Final = 128
Judge = Callable[[Review], Awaitable[Verdict]]


class AdmissionServer:
    """The listening side of a webhook, owned through ``async with``."""

    def __init__(
        self,
        address: Address,
        certificate: ServingCertificate,
        judges: Mapping[str, Judge],
        *,
        flag: str = "--admission",
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """``judges``: by path; ``flag``: what named the address."""
        self._flag = flag
        self._address = address
        self._certificate = certificate
        self._judges = judges
        self._refresh_seconds = refresh_seconds
        self.is_serving = False
        self.url = ""

    async def __aenter__(self) -> Self:
        """Take the address; raises `CannotStart`."""
        application = web.Application(client_max_size=_MAX_BODY)
        for path in self._judges:
            application.router.add_post(path, self._judged)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self._socket = _bound(self._address, self._flag)
        host, port = self._socket.getsockname()[:2]
        self.url = f"https://{Address(host, port)}"
        await self._runner.setup()
        await self._refresh()
        self._refreshing = asyncio.create_task(self._refresh_for_ever(), name="webhook certificate")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._refreshing.cancel()
        await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._runner.cleanup()
        self._socket.close()

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds)
            await self._refresh()

    async def _refresh(self) -> None:
        """Take up a new certificate; begin to serve with the first."""
        if self._certificate.refresh() and not self.is_serving:
            self.is_serving = True
            site = web.SockSite(
                self._runner, self._socket, ssl_context=self._certificate.context, backlog=_BACKLOG
            )
            await site.start()

    async def _judged(self, request: web.Request) -> web.Response:
        try:
            review = read_review(await request.read())
        except ReviewInvalid as invalid:
            return web.Response(status=http.HTTPStatus.BAD_REQUEST, text=f"{invalid}\n")
        verdict = await self._judges[request.path](review)
        return web.json_response(answer(review.uid, verdict))

    def __repr__(self) -> str:
        return f"<AdmissionServer at {self.url} {'serving' if self.is_serving else 'without certificate'}>"


def _bound(address: Address, flag: str) -> socket.socket:
    taken = contextlib.ExitStack()
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = taken.enter_context(socket.socket(family, kind, protocol))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
    except OSError as error:
        taken.close()
        raise CannotStart(f"{flag} {address}: {error.strerror or error}") from error
    taken.pop_all()
    return listening
