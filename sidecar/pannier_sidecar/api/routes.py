"""The data port: HTTP to the read and write paths and back. No rule of serving lives here.

The hot path is `DataRoutes.read`: body, decode, L1, bytes out. Everything else may take its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from pannier.errors import Problem
from pannier.trace_context import enter_trace
from pannier_sidecar.admission import Lane
from pannier_sidecar.api import openapi, queries
from pannier_sidecar.api.bodies import decode, no_such_group
from pannier_sidecar.api.dispatch import Route, body_of, document_answer, json_answer
from pannier_sidecar.api.group_documents import group_document, groups_document
from pannier_sidecar.api.invalidate_requests import MAX_INVALIDATED_IDS, invalidate_decoder
from pannier_sidecar.api.json_answers import hot_answer
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.read_requests import ReadRequest, read_decoder
from pannier_sidecar.api.row_answers import only_row, verdict_answer
from pannier_sidecar.api.write_batch import take_in, take_in_one
from pannier_sidecar.api.write_requests import RowBody, row_decoder
from pannier_sidecar.clock import Clock
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.read_path import ReadAnswer, ReadPath
from pannier_sidecar.write_path import WritePath, WriteResult

T = TypeVar("T")
_encode: Final = msgspec.json.Encoder().encode


class DataRoutes:
    """Handlers of the data port. Writes run to their end also when the client that asked has gone."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        reads: ReadPath,
        writes: WritePath,
        *,
        lane: Lane,
        plan: Callable[[], ReadPlan | None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._reads = reads
        self._writes = writes
        self._lane = lane
        self._plan = plan
        self._metrics = metrics
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[Route]:
        """What the data port serves."""
        row = {"GET": self.get_row, "PUT": self.put_row, "DELETE": self.delete_row}
        return [
            Route("/v1/features/read", {"POST": self.read}),
            Route("/v1/features/write", {"POST": self.write}),
            Route("/v1/features/invalidate", {"POST": self.invalidate}),
            Route("/v1/groups", {"GET": self.list_groups}),
            Route("/openapi.json", {"GET": self.describe}),
            Route(r"/v1/groups/([^/]+)", {"GET": self.show_group}, is_pattern=True),
            Route(r"/v1/groups/([^/]+)/rows/(.*)", row, is_pattern=True),
        ]

    async def read(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ``POST /v1/features/read``."""
        asked = decode(read_decoder, await body_of(request))
        plan = self._current_plan()
        if "?" in request.raw_path:
            strings = queries.wants_int64_strings(queries.parameters(request, queries.READ_PARAMETERS))
            return self._of_read(await self._read_long(request, asked, plan, int64_strings=strings))
        body = self._reads.answer_from_l1(asked, plan)
        if body is not None:
            return hot_answer(request, body)
        answer = await self._read_long(request, asked, plan)
        is_plain = answer.status == HTTPStatus.OK and not answer.timings
        return hot_answer(request, answer.body) if is_plain else self._of_read(answer)

    async def get_row(self, request: web.BaseRequest, group: str, row_id: str) -> web.StreamResponse:
        """Answer GET of one row: the same read, with the row itself as the document."""
        given = queries.parameters(request, queries.ROW_PARAMETERS)
        asked = ReadRequest(
            reads=(queries.row_read(group, row_id, given),),
            timeout_ms=queries.whole(given, "timeout_ms"),
            explain=queries.switch(given, "explain"),
        )
        strings = queries.wants_int64_strings(given)
        answer = await self._read_long(request, asked, self._current_plan(), int64_strings=strings)
        if answer.status == HTTPStatus.OK:
            answer = answer._replace(body=only_row(answer.body))
        return self._of_read(answer)

    async def write(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ``POST /v1/features/write``."""
        queries.parameters(request, ())
        body = await body_of(request)
        results = await self._admitted(lambda: self._write(body))
        return hot_answer(request, b'{"results":' + _encode(results) + b"}")

    async def put_row(self, request: web.BaseRequest, group: str, row_id: str) -> web.StreamResponse:
        """Answer PUT of one row."""
        given = queries.parameters(request, ("timestamp",))
        body = await body_of(request)
        result = await self._admitted(lambda: self._put_row(group, row_id, body, given))
        return verdict_answer(result, self._metrics)

    async def delete_row(self, request: web.BaseRequest, group: str, row_id: str) -> web.StreamResponse:
        """Answer DELETE of a row: a record, one instant of a timeline, or the whole id."""
        given = queries.parameters(request, queries.ROW_KEY_PARAMETERS)
        plan = self._current_plan()
        result = await self._admitted(
            lambda: self._writes.delete(
                plan,
                group,
                row_id,
                timestamp=given.get("timestamp"),
                tie_breaker=given.get("tie_breaker"),
            )
        )
        return verdict_answer(result, self._metrics)

    async def invalidate(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ``POST /v1/features/invalidate``."""
        queries.parameters(request, ())
        asked = decode(invalidate_decoder, await body_of(request))
        if len(asked.ids) > MAX_INVALIDATED_IDS:
            raise RequestRefused.because(
                "TooManyIds",
                f"{len(asked.ids)} ids in one request; at most {MAX_INVALIDATED_IDS} are taken",
                "ids",
            )
        plan = self._current_plan()
        count = await self._to_the_end(self._writes.invalidate(plan, asked.group, asked.ids))
        return json_answer(_encode({"group": asked.group, "invalidated": count}))

    async def list_groups(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ``GET /v1/groups``."""
        queries.parameters(request, ())
        return json_answer(_encode(groups_document(self._current_plan())))

    async def show_group(self, request: web.BaseRequest, group: str) -> web.StreamResponse:
        """Answer ``GET /v1/groups/{group}``."""
        queries.parameters(request, ())
        plan = self._current_plan()
        found = plan.groups.get(group)
        if found is None:
            raise RequestRefused([no_such_group(group, plan.groups)])
        return json_answer(_encode({"revision": plan.revision, **group_document(found)}))

    async def describe(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Answer ``GET /openapi.json``."""
        return json_answer(openapi.document_bytes())

    async def settled(self) -> None:
        """Return when no write is under way, not even one whose client has gone."""
        while self._running:
            await asyncio.wait(self._running)

    def _current_plan(self) -> ReadPlan:
        plan = self._plan()
        if plan is None:
            raise RequestRefused.because(
                "NotReady", "no catalog is loaded yet; /readyz of the admin port tells"
            )
        return plan

    async def _read_long(
        self, request: web.BaseRequest, asked: ReadRequest, plan: ReadPlan, *, int64_strings: bool = False
    ) -> ReadAnswer:
        enter_trace(request.headers)
        return await self._reads.read(asked, plan, int64_strings=int64_strings)

    async def _write(self, body: bytes) -> list[WriteResult]:
        return await self._writes.write(take_in(self._current_plan(), body, self._clock.now_us()))

    async def _put_row(self, group: str, row_id: str, body: bytes, given: dict[str, str]) -> WriteResult:
        asked = _with_timestamp(decode(row_decoder, body), given)
        taken = take_in_one(self._current_plan(), asked.at(group, row_id), self._clock.now_us())
        (result,) = await self._writes.write([taken])
        return result

    async def _admitted(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a write to its end, unless too many are under way: then `Overloaded`, and nothing is begun."""
        self._lane.begin()
        task = self._start(step())
        task.add_done_callback(lambda _: self._lane.end())
        return await asyncio.shield(task)

    async def _to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a step that a cancelled request must not leave half-done."""
        return await asyncio.shield(self._start(step))

    def _start(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(step)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _of_read(self, answer: ReadAnswer) -> web.Response:
        timings = {"Server-Timing": answer.timings} if answer.timings else None
        return document_answer(answer.status, answer.body, timings)

    def __repr__(self) -> str:
        return f"<DataRoutes {len(self._running)} writes running>"


def _with_timestamp(body: RowBody, given: dict[str, str]) -> RowBody:
    """Take the timestamp from the query, as GET and DELETE do; said twice, it must be said once."""
    if "timestamp" not in given:
        return body
    if body.timestamp is not None:
        raise RequestRefused(
            [Problem("?timestamp", "InvalidValue", "is given in the body too; leave one out")]
        )
    return msgspec.structs.replace(body, timestamp=queries.moment(given, "timestamp"))
