"""The admin port: /livez, /readyz, /metrics. No data of groups."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from aiohttp import web

from pannier.option_values import Address
from pannier_operator.errors import CannotStart
from pannier_operator.metrics import CONTENT_TYPE

Judge = Callable[[], str | None]
"""Says what is wrong; None = nothing."""
_UNWELL: Final = 503


class Exposed(Protocol):
    """What has metrics to tell."""

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        ...


class Admin:
    """The server of health and metrics, owned through ``async with``."""

    def __init__(self, address: Address, metrics: Exposed, *, live: Judge, ready: Judge) -> None:
        self._address = address
        self._metrics = metrics
        self._judges = {"/livez": live, "/readyz": ready}
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application()
        for path in self._judges:
            application.router.add_get(path, self._health)
        application.router.add_get("/metrics", self._text)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotStart(f"--admin {self._address}: {error.strerror or error}") from error
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{Address(host, port)}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        fault = self._judges[request.path]()
        return web.Response(status=_UNWELL, text=f"{fault}\n") if fault else web.Response(text="ok\n")

    async def _text(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    def __repr__(self) -> str:
        return f"<Admin at {self.url or 'no address yet'}>"
