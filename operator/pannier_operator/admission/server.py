"""A webhook over HTTPS: each path takes an AdmissionReview v1. No rule is decided here."""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from pannier.option_values import Address
from pannier_operator.admission.review import Review, ReviewInvalid, answer, read_review
from pannier_operator.admission.verdict import Verdict
from pannier_operator.https_server import REFRESH_SECONDS, HttpsServer
from pannier_operator.serving_certificate import ServingCertificate

VALIDATE: Final = "/validate"
"""Where FeatureGroups are judged."""
MUTATE: Final = "/mutate"
"""Where pods get their sidecars."""
_MAX_BODY: Final = 8 * 1024**2
"""Two versions of an object of at most 1.5 MiB each, with room."""
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
        self._judges = judges
        application = web.Application(client_max_size=_MAX_BODY)
        for path in judges:
            application.router.add_post(path, self._judged)
        self._server = HttpsServer(
            application, address, certificate, flag=flag, refresh_seconds=refresh_seconds
        )

    @property
    def is_serving(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._server.is_serving

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    async def __aenter__(self) -> Self:
        """Take the address; raises `CannotStart`."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def _judged(self, request: web.Request) -> web.Response:
        try:
            review = read_review(await request.read())
        except ReviewInvalid as invalid:
            return web.Response(status=http.HTTPStatus.BAD_REQUEST, text=f"{invalid}\n")
        verdict = await self._judges[request.path](review)
        return web.json_response(answer(review.uid, verdict))

    def __repr__(self) -> str:
        return f"<AdmissionServer on {self._server!r}>"
