"""The admin port: health, metrics and status. No feature data, so it may listen beyond loopback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from pannier_sidecar import exposition
from pannier_sidecar.api.dispatch import SERVER, Route
from pannier_sidecar.exposition import Exposition
from pannier_sidecar.status import StatusReport

_encode: Final = msgspec.json.Encoder().encode
_TEXT_HEADERS: Final = {"Content-Type": exposition.CONTENT_TYPE, **SERVER}
_JSON_HEADERS: Final = {"Content-Type": "application/json", **SERVER}


class AdminRoutes:
    """Handlers of the admin port."""

    def __init__(self, status: StatusReport, metrics: Exposition) -> None:
        self._status = status
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """What the admin port serves."""
        return [
            Route("/livez", {"GET": self._alive}),
            Route("/readyz", {"GET": self._ready}),
            Route("/metrics", {"GET": self._scrape}),
            Route("/v1/status", {"GET": self._report}),
        ]

    async def _alive(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Say that the event loop turns; nothing else is a reason to restart a sidecar."""
        return _json({"alive": True})

    async def _ready(self, _request: web.BaseRequest) -> web.StreamResponse:
        readiness = self._status.readiness()
        return _json(readiness, HTTPStatus.OK if readiness["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _scrape(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self._metrics.text(), headers=_TEXT_HEADERS)

    async def _report(self, _request: web.BaseRequest) -> web.StreamResponse:
        return _json(self._status.document())


def _json(document: dict[str, Any], status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(body=_encode(document), status=status, headers=_JSON_HEADERS)
