"""One row as a resource of its own: a batch answer's only row, a write's verdict as an HTTP status.

In a batch a verdict is a value beside others. Where one row is the whole request, a write that is not stored
must not look like success to a client that reads only the status.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from pannier.errors import Problem
from pannier_sidecar.api import problems
from pannier_sidecar.api.dispatch import document_answer, json_answer
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.write_path import WriteResult

_encode: Final = msgspec.json.Encoder().encode
_NOT_STORED: Final = {"failed": "TierUnavailable", "unknown": "TierTimeout", "invalid": "InvalidValue"}
"""Verdicts that are problems, and the reason where the path gave none."""


class VerdictProblem(problems.ProblemDetails, frozen=True, omit_defaults=True, kw_only=True):
    """A problem that says what became of the write, and with which event time it may be repeated."""

    verdict: str
    event_time: str | None = None


class _Result(msgspec.Struct):
    group: msgspec.Raw
    rows: list[msgspec.Raw] = []
    since: msgspec.Raw | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


_answer_decoder: Final = msgspec.json.Decoder(_Answer)


def only_row(body: bytes) -> bytes:
    """Cut the row out of a read answer that holds one, and name its group (and the clamped range) in it."""
    result = _answer_decoder.decode(body).results[0]
    since = b'"since":' + bytes(result.since) + b"," if result.since is not None else b""
    return b'{"group":' + bytes(result.group) + b"," + since + bytes(result.rows[0])[1:]


def verdict_answer(result: WriteResult, metrics: Metrics) -> web.Response:
    """Answer with what became of the write of one row."""
    if result.verdict not in _NOT_STORED:
        return json_answer(_encode(result))
    reason = _status_reason(result)
    metrics.problem(reason)
    base = problems.details(
        [Problem(result.path, reason, result.message or f"the write is {result.verdict}")]
    )
    document = VerdictProblem(
        **{name: getattr(base, name) for name in base.__struct_fields__},
        verdict=result.verdict,
        event_time=result.event_time,
    )
    return document_answer(base.status, problems.encode(document))


def _status_reason(result: WriteResult) -> str:
    """The reason to answer with: one whose status says what the verdict says, and nothing milder or worse.

    503 promises that nothing is stored, and a write that may be stored is no fault of the request either.
    """
    fallback = _NOT_STORED[result.verdict]
    reason = result.reason or fallback
    status = problems.status_of(reason)
    if result.verdict == "invalid":
        return reason if status < HTTPStatus.INTERNAL_SERVER_ERROR else fallback
    return reason if status == problems.status_of(fallback) else fallback
