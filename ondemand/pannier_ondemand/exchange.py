"""One call: bytes and headers in, status and bytes out. It knows no socket, so that tests need none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from pannier.catalog import CatalogGroup
from pannier.catalog_building import schema_hash
from pannier.errors import Problem, SpecInvalid
from pannier.trace_context import enter_trace
from pannier_ondemand.computing import Threads, compute
from pannier_ondemand.declaring import Computation, FeatureServer
from pannier_ondemand.fitting import misfits
from pannier_ondemand.messages import VERSION, Answer, AskedRead, Call, CallRefused, ReadRefused, Result
from pannier_ondemand.metrics import Metrics
from pannier_ondemand.row_values import RowValues

MAX_SECONDS: Final = 10.0
"""The longest ``timeoutMilliseconds`` of a FeatureGroup; a call that names no deadline gets it."""
_decoder: Final = msgspec.json.Decoder(Call)
_encode: Final = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True):
    """What is answered."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after_seconds: int | None = None


def refusal(refused: CallRefused, retry_after_seconds: int | None = None) -> Reply:
    """Answer with a problem document."""
    problem = refused.problem
    return Reply(problem.status, _encode(problem), "application/problem+json", retry_after_seconds)


class _Served(msgspec.Struct, frozen=True):
    computation: Computation
    values: RowValues
    features_by_hash: Mapping[str, frozenset[str]]
    """What a sidecar of each schema is answered: of this one, and of those before its last features."""


class Exchange:
    """A server's functions, checked against its groups; raises `SpecInvalid` with every misfit."""

    def __init__(  # noqa: PLR0913 - one keyword per limit
        self,
        server: FeatureServer,
        groups: Mapping[str, CatalogGroup],
        *,
        metrics: Metrics,
        threads: int = 8,
        max_in_flight: int = 64,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        problems = [p for c in server.computations.values() for p in misfits(c, groups)]
        if not server.computations:
            problems = [Problem("", "NothingToServe", "no function is decorated with computes(...)")]
        if problems:
            raise SpecInvalid(problems)
        self._served = {name: _served(c, groups[name]) for name, c in server.computations.items()}
        self._threads = Threads(threads, waiting=max_in_flight)
        self._most, self._in_flight = max_in_flight, 0
        self._metrics, self._clock = metrics, clock

    async def answer(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer a call. Never raises for what a sidecar or an author's function does."""
        if self._in_flight >= self._most:
            detail = f"{self._most} calls are in flight"
            refused = CallRefused(HTTPStatus.SERVICE_UNAVAILABLE, "Overloaded", detail)
            return self._refuse(refused, retry_after_seconds=1)
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            reply = Reply(HTTPStatus.OK, _encode(await self._answer(headers, body)))
        except CallRefused as refused:
            return self._refuse(refused)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
        self._metrics.calls.labels("").inc()
        return reply

    def close(self, *, wait: bool = False) -> None:
        """Give the threads back; ``wait`` until the last of them is done."""
        self._threads.close(wait=wait)

    def _refuse(self, refused: CallRefused, retry_after_seconds: int | None = None) -> Reply:
        self._metrics.calls.labels(refused.problem.reason).inc()
        return refusal(refused, retry_after_seconds)

    async def _answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        version = headers.get("Pannier-Protocol", VERSION)
        if version != VERSION:
            detail = f"Pannier-Protocol is {version!r}; this server speaks {VERSION}"
            raise CallRefused(HTTPStatus.BAD_REQUEST, "ProtocolUnsupported", detail)
        try:
            call = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CallRefused(HTTPStatus.BAD_REQUEST, "MalformedRequest", str(error)) from error
        enter_trace(headers)
        ends_at = asyncio.get_running_loop().time() + _seconds(headers)
        if len(call.reads) == 1:
            return Answer((await self._result(call.reads[0], ends_at),))
        return Answer(tuple(await asyncio.gather(*(self._result(read, ends_at) for read in call.reads))))

    async def _result(self, read: AskedRead, ends_at: float) -> Result:
        start = self._clock()
        try:
            async with asyncio.timeout_at(ends_at):
                result = await self._rows(read)
        except ReadRefused as refused:
            result = Result(read.group, error=refused.error)
        except TimeoutError:
            late = ReadRefused("DeadlineExceeded", "the function was not done within the sidecar's time")
            result = Result(read.group, error=late.error)
        self._metrics.read(read.group if read.group in self._served else "", result, self._clock() - start)
        return result

    async def _rows(self, read: AskedRead) -> Result:
        served = self._served.get(read.group)
        if served is None:
            raise ReadRefused("UnknownGroup", f"this server does not compute {read.group!r}")
        features = served.features_by_hash.get(read.schema_hash)
        if features is None:
            detail = (
                f"{read.group}: asked by another schema than this server's; is its FeatureGroup the same?"
            )
            raise ReadRefused("SchemaMismatch", detail)
        said = await compute(served.computation, read, self._threads)
        asked = features.intersection(read.features) if read.features else features
        return Result(read.group, tuple(served.values.row(row_id, of, asked) for row_id, of in said.items()))

    def __repr__(self) -> str:
        return f"<Exchange of {', '.join(self._served)}, {self._in_flight} in flight>"


def _served(computation: Computation, group: CatalogGroup) -> _Served:
    features = sorted(group.features, key=lambda feature: feature.id)
    parts = [features[:most] for most in range(1, len(features) + 1)]
    by_hash = {schema_hash(part): frozenset(feature.name for feature in part) for part in parts}
    return _Served(computation, RowValues(group.features), by_hash)


def _seconds(headers: Mapping[str, str]) -> float:
    text = headers.get("Pannier-Deadline-Ms", "")
    if not text:
        return MAX_SECONDS
    if not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - digits
        detail = "Pannier-Deadline-Ms is no whole number of milliseconds"
        raise CallRefused(HTTPStatus.BAD_REQUEST, "MalformedRequest", detail)
    return min(int(text) / 1_000, MAX_SECONDS)
