"""Requests to handlers, and all that goes wrong to problem+json. `routes` and `admin` hold the handlers.

It stands directly on aiohttp's low-level server: one dictionary lookup finds the handler of a hot path, and
there are no middlewares and no access log to pay for on every request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import structlog
from aiohttp import HttpVersion11, web

from pannier.errors import Problem
from pannier_sidecar.api import problems
from pannier_sidecar.api.problems import ProblemDetails, RequestRefused
from pannier_sidecar.api.refusals import refusal_answer
from pannier_sidecar.errors import Overloaded, TierError
from pannier_sidecar.metrics import Metrics

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
BODY_SECONDS: Final = 30.0
"""How long a client may take to send a body; one that stalls must not hold its connection for good."""
Handler = Callable[..., Awaitable[web.StreamResponse]]
"""Takes the request, then the decoded captures of its pattern."""

_log: Final = structlog.stdlib.get_logger(__name__)
SERVER: Final = {"Server": "pannier"}
_TOO_LARGE: Final = Problem("", "BodyTooLarge", f"the body is larger than {MAX_BODY_BYTES} bytes (8 MiB)")
_JSON_HEADERS: Final = {"Content-Type": "application/json", **SERVER}
_PROBLEM_HEADERS: Final = {"Content-Type": problems.CONTENT_TYPE, **SERVER}


class Route(NamedTuple):
    """One resource and its methods; the groups of a pattern are percent-encoded captures."""

    path: str
    methods: Mapping[str, Handler]
    is_pattern: bool = False


class Dispatcher:
    """Answers every request of one server; the only place where an exception becomes an answer."""

    def __init__(self, routes: list[Route], metrics: Metrics, new_error_id: Callable[[], str]) -> None:
        self._exact = {route.path: _with_head(route.methods) for route in routes if not route.is_pattern}
        self._patterns = [
            (re.compile(route.path), _with_head(route.methods)) for route in routes if route.is_pattern
        ]
        self._metrics = metrics
        self._new_error_id = new_error_id
        self._is_draining = False

    def drain(self) -> None:
        """From now on every answer is the last of its connection, and says so."""
        self._is_draining = True

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        answer = await self._answer(request)
        if self._is_draining:
            answer.force_close()
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            captures: tuple[str, ...] = ()
            methods: Mapping[str, Handler] | None = self._exact.get(request.raw_path)
            if methods is None:
                methods, captures = self._find(request)
            handler = methods.get(request.method)
            if handler is None:
                return self._method_not_allowed(request, methods)
            if "Expect" in request.headers:
                await _confirm_expectation(request)
            return await handler(request, *captures)
        except ConnectionError:
            raise  # the client went away: aiohttp closes up, and there is nobody to answer
        except Overloaded as overloaded:
            self._metrics.problem(overloaded.reason)
            return refusal_answer(request, overloaded)
        except Exception as error:  # noqa: BLE001 - the boundary: the client gets an answer, the log the cause
            return self._in_place_of_an_answer(request, error)

    def problem(
        self, document: ProblemDetails, headers: Mapping[str, str] = _PROBLEM_HEADERS
    ) -> web.Response:
        """Answer with a problem, and count it."""
        self._metrics.problem(document.reason)
        return web.Response(body=problems.encode(document), status=document.status, headers=headers)

    def _in_place_of_an_answer(self, request: web.BaseRequest, error: Exception) -> web.Response:
        """Turn what was raised into a problem; called where it was caught."""
        match error:
            case RequestRefused():
                faults: Sequence[Problem] = error.problems
            case TierError():
                faults = [problems.of_tier_error(error)]
            case web.HTTPException() | web.RequestPayloadError():
                faults = [_of_aiohttp(error)]
            case _:
                return self._unexpected(request)
        return self.problem(problems.details(faults))

    def _find(self, request: web.BaseRequest) -> tuple[Mapping[str, Handler], tuple[str, ...]]:
        """Methods and captures of a path that carries a query or captures."""
        path = request.rel_url.raw_path
        methods = self._exact.get(path)
        if methods is not None:
            return methods, ()
        for pattern, pattern_methods in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return pattern_methods, tuple(_decoded(text) for text in match.groups())
        raise RequestRefused.because(
            "UnknownRoute", f"nothing is served at {path}; the data port's /openapi.json lists all"
        )

    def _method_not_allowed(
        self, request: web.BaseRequest, methods: Mapping[str, Handler]
    ) -> web.StreamResponse:
        allowed = ", ".join(sorted([*methods, "OPTIONS"]))
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allowed, **SERVER})
        document = problems.details(
            [Problem("", "MethodNotAllowed", f"{request.method} is not served here; {allowed} are")]
        )
        return self.problem(document, {**_PROBLEM_HEADERS, "Allow": allowed})

    def _unexpected(self, request: web.BaseRequest) -> web.Response:
        """Answer 500 with an id under which the log holds the cause; the answer itself holds none of it."""
        error_id = self._new_error_id()
        route = request.rel_url.raw_path.split("/rows/")[0]
        _log.exception("request_failed", error_id=error_id, method=request.method, route=route)
        sentence = f"the request met a fault of the sidecar, logged as {error_id}"
        instance = f"urn:pannier:error:{error_id}"
        return self.problem(problems.details([Problem("", "InternalError", sentence)], instance=instance))

    def __repr__(self) -> str:
        return f"<Dispatcher of {len(self._exact) + len(self._patterns)} resources>"


def json_answer(body: bytes) -> web.Response:
    """Make a 200 of JSON bytes."""
    return web.Response(body=body, headers=_JSON_HEADERS)


def document_answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make an answer of JSON bytes: a problem document where the status says so."""
    base = _JSON_HEADERS if status < web.HTTPBadRequest.status_code else _PROBLEM_HEADERS
    return web.Response(body=body, status=status, headers={**base, **headers} if headers else base)


async def body_of(request: web.BaseRequest, patience_seconds: float = BODY_SECONDS) -> bytes:
    """Read a body whole; refuses by its announced length before a byte of it is read."""
    length = request.content_length
    if length is not None and length > MAX_BODY_BYTES:
        raise RequestRefused([_TOO_LARGE])
    if request.content.is_eof():  # it came along with the head, as small ones do: nothing to wait for
        return await request.read()
    try:
        async with asyncio.timeout(patience_seconds):
            return await request.read()
    except TimeoutError as error:
        sentence = f"the body did not arrive within {patience_seconds:g} s"
        raise RequestRefused.because("RequestTimeout", sentence) from error


async def _confirm_expectation(request: web.BaseRequest) -> None:
    """Send ``100 Continue`` where a client waits for it before it sends its body."""
    expectation = request.headers["Expect"]
    if expectation.lower() != "100-continue":
        raise RequestRefused.because("MalformedRequest", f"Expect: {expectation!r} is not supported")
    if request.version == HttpVersion11 and (request.content_length or 0) <= MAX_BODY_BYTES:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # else aiohttp takes the answer for begun


def _of_aiohttp(error: web.HTTPException | web.RequestPayloadError) -> Problem:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return _TOO_LARGE
    what = " ".join(str(error).rpartition("message:")[2].split())
    return Problem("", "MalformedRequest", f"the body cannot be read: {what}")


def _decoded(capture: str) -> str:
    try:
        return unquote(capture, errors="strict")
    except UnicodeDecodeError as error:
        raise RequestRefused.because(
            "MalformedRequest", f"the path holds percent-encoded bytes that are no UTF-8: {error}"
        ) from error


def _with_head(methods: Mapping[str, Handler]) -> dict[str, Handler]:
    """HEAD is GET whose body aiohttp leaves out."""
    return {**methods, "HEAD": methods["GET"]} if "GET" in methods else dict(methods)


class ProblemRequestHandler(web.RequestHandler):
    """aiohttp's connection, with problem+json also for what is no HTTP at all."""

    __slots__ = ()

    def close(self) -> None:
        """End an idle connection at once, and one that is at a request with its answer."""
        is_idle = self._waiter is not None and not self._waiter.done()
        super().close()
        if is_idle:
            self.force_close()  # aiohttp ends the task that waits there, and leaves the connection open

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what went wrong, unless it was the client: it hung up, or its body is not what it says."""
        if not isinstance(kwargs.get("exc_info"), (ConnectionError, web.RequestPayloadError)):
            super().log_exception(*args, **kwargs)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that the HTTP parser refused, and close the connection."""
        del message
        if status == web.HTTPInternalServerError.status_code:
            return super().handle_error(request, status, exc)
        what = str(getattr(exc, "message", "")).split("\n", 1)[0].rstrip(":")
        sentence = f"the request is not HTTP/1.1: {what}" if what else "the request is not HTTP/1.1"
        document = problems.details([Problem("", "MalformedRequest", sentence)])
        response = web.Response(
            body=problems.encode(document), status=document.status, headers=_PROBLEM_HEADERS
        )
        response.force_close()
        return response
