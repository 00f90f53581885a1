"""The answer to a request that is too much: 503 with Retry-After, made once and sent as it is.

A sidecar above its capacity refuses thousands in a second, out of the same core that serves the rest, so a
refusal must cost next to nothing.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from aiohttp import web

from pannier.errors import Problem
from pannier_sidecar.api import problems
from pannier_sidecar.api.whole_answers import whole_answer
from pannier_sidecar.errors import Overloaded


class _Refusal(NamedTuple):
    head: bytes
    body: bytes


@functools.lru_cache(maxsize=64)
def _refusal(reason: str, message: str, retry_after_seconds: int) -> _Refusal:
    document = problems.details([Problem("", reason, message)])
    head = (
        f"{document.status} Service Unavailable\r\nContent-Type: {problems.CONTENT_TYPE}\r\n"
        f"Retry-After: {retry_after_seconds}"
    )
    return _Refusal(head.encode(), problems.encode(document))


def refusal_answer(request: web.BaseRequest, overloaded: Overloaded) -> web.StreamResponse:
    """Refuse a request that nothing was done of."""
    refusal = _refusal(overloaded.reason, overloaded.message, overloaded.retry_after_seconds)
    quick = whole_answer(request, refusal.head, refusal.body)
    if quick is not None:
        return quick
    headers = {"Retry-After": str(overloaded.retry_after_seconds), "Server": "pannier"}
    return web.Response(body=refusal.body, status=503, headers=headers, content_type=problems.CONTENT_TYPE)
