"""An HTTPS server whose certificate others renew: the address at once, answers from the first certificate on.

The address is taken at once, so that a bad one is told at the start. Serving begins when there is a
certificate, which may come later than the process: the operator waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from pannier.option_values import Address
from pannier_operator.errors import CannotStart
from pannier_operator.serving_certificate import ServingCertificate

REFRESH_SECONDS: Final = 5.0
"""How often the files of the certificate are looked at."""
_BACKLOG: Final = 1024


class HttpsServer:
    """Owned through ``async with``."""

    def __init__(
        self,
        application: web.Application,
        address: Address,
        certificate: ServingCertificate,
        *,
        flag: str,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """``flag``: what named the address."""
        self._application = application
        self._address = address
        self._certificate = certificate
        self._flag = flag
        self._refresh_seconds = refresh_seconds
        self.is_serving = False
        self.url = ""

    async def __aenter__(self) -> Self:
        """Take the address; raises `CannotStart`."""
        # a client that goes away ends its handler: requests that wait for news would be kept for nobody
        self._runner = web.AppRunner(
            self._application, access_log=None, shutdown_timeout=1.0, handler_cancellation=True
        )
        self._socket = _bound(self._address, self._flag)
        host, port = self._socket.getsockname()[:2]
        self.url = f"https://{Address(host, port)}"
        await self._runner.setup()
        await self._refresh()
        self._refreshing = asyncio.create_task(self._refresh_for_ever(), name=f"certificate of {self._flag}")
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

    def __repr__(self) -> str:
        return f"<HttpsServer at {self.url} {'serving' if self.is_serving else 'without certificate'}>"


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
