"""The protocol between a sidecar and a feature server, version 1: a read request and its answer, as bytes.

It is the sidecar's own read API with two more fields (docs/reference/on-demand-protocol.md): the sidecar says
by which schema it will read the answer, and passes the request's context on. Nothing of an answer is
believed: what does not fit the group's schema is `TierGarbled`, an error of the tier, and the row is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from pannier.errors import ValueRefused
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.errors import TierError, TierGarbled, TierMisconfigured, TierUnavailable
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Fragments

TIER: Final = "on_demand"
VERSION: Final = "1"
MAX_IDS: Final = 1_000
"""Ids that one read may name, as of a sidecar."""
Computed = Record | TierError
"""What a server said of one id, or why it is unknown."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """Rows of one group that have to be computed."""

    plan: GroupPlan
    ids: tuple[str, ...]
    context: bytes = b""
    """The request's context as JSON; empty = none was given."""
    inputs: tuple[tuple[bytes, ...], ...] = ()
    """Per id, the rows of the declared inputs; empty = the group declares none."""


class _AskedRead(msgspec.Struct, omit_defaults=True):
    group: str
    schema_hash: str
    ids: tuple[str, ...]
    features: tuple[str, ...]
    context: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: dict[str, list[msgspec.Raw]] | msgspec.UnsetType = msgspec.UNSET


class _Row(msgspec.Struct):
    id: str
    status: Literal["found", "missing", "unknown"]
    features: dict[str, msgspec.Raw] = {}
    reason: str = ""
    message: str = ""


class _Problem(msgspec.Struct):
    reason: str = ""
    detail: str = ""


class _Result(msgspec.Struct):
    group: str
    rows: list[_Row] = []
    error: _Problem | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


_COME_AGAIN: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(_Answer)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are no JSON, no UTF-8, or nested beyond measure."""
_problem_decoder: Final = msgspec.json.Decoder(_Problem)


def encode(questions: Sequence[Question]) -> bytes:
    """The body of the request for all of these."""
    reads = [
        _AskedRead(
            group=question.plan.name,
            schema_hash=question.plan.schema_hash,
            ids=question.ids,
            features=tuple(feature.name for feature in question.plan.served),
            context=msgspec.Raw(question.context) if question.context else msgspec.UNSET,
            inputs=_inputs(question) if question.inputs else msgspec.UNSET,
        )
        for question in questions
    ]
    return _encode({"reads": reads})


def _inputs(question: Question) -> dict[str, list[msgspec.Raw]]:
    """Give every input's rows, in the order of the ids."""
    columns = zip(question.plan.inputs, zip(*question.inputs, strict=True), strict=True)
    return {one.name: [msgspec.Raw(row) for row in rows] for one, rows in columns}


def decode(questions: Sequence[Question], body: bytes, now_us: int) -> list[dict[str, Computed]]:
    """What was said of every id, question by question; raises `TierGarbled` where nothing can be used."""
    try:
        results = _decoder.decode(body).results
    except _UNREADABLE as error:
        raise TierGarbled(TIER, f"the feature server's answer is none of the protocol: {error}") from error
    if len(results) != len(questions):
        raise TierGarbled(
            TIER, f"the feature server answered {len(results)} reads; it was asked {len(questions)}"
        )
    return [_said(question, result, now_us) for question, result in zip(questions, results, strict=True)]


def refusal(status: int, body: bytes) -> TierError:
    """What an answer without results means: who is to blame, and whether to come again."""
    try:
        problem = _problem_decoder.decode(body)
    except _UNREADABLE:
        problem = _Problem()
    said = f"the feature server answered {status} {problem.reason}".rstrip()
    message = f"{said}: {problem.detail}" if problem.detail else said
    is_ours = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if is_ours and status not in _COME_AGAIN:
        return TierMisconfigured(TIER, message)
    return TierUnavailable(TIER, message)


def _said(question: Question, result: _Result, now_us: int) -> dict[str, Computed]:
    """What one result says of the ids of its question."""
    fault = _fault(question, result)
    if fault is not None:
        return dict.fromkeys(question.ids, fault)
    said: dict[str, Computed] = {row.id: _computed(question.plan, row, now_us) for row in result.rows}
    if len(said) < len(question.ids):
        left_out = TierGarbled(TIER, "the feature server left this id out")
        said = dict.fromkeys(question.ids, left_out) | said
    return said


def _fault(question: Question, result: _Result) -> TierError | None:
    """Why nothing of a result can be used."""
    if result.group != question.plan.name:
        message = f"the feature server answered for {result.group!r}; {question.plan.name!r} was asked"
        return TierGarbled(TIER, message)
    if result.error is not None:
        message = f"the feature server refused: {result.error.reason} {result.error.detail}".rstrip()
        is_ours = result.error.reason in {"SchemaMismatch", "UnknownGroup"}
        return (TierMisconfigured if is_ours else TierUnavailable)(TIER, message)
    ids = {row.id for row in result.rows}
    if len(ids) != len(result.rows) or not ids.issubset(question.ids):
        return TierGarbled(TIER, "the feature server answered ids twice, or ids that were not asked")
    return None


def _computed(plan: GroupPlan, row: _Row, now_us: int) -> Computed:
    if row.status == "unknown":
        said = ": ".join(filter(None, (row.reason, row.message))) or "it gave no reason"
        return TierUnavailable(TIER, f"the feature server does not know this row now: {said}")
    if row.status == "missing":
        return Record(Kind.MISSING, now_us, now_us, 0, None)
    values: Fragments = {}
    for name, raw in row.features.items():
        feature = plan.by_name.get(name)
        if feature is None or not feature.served:
            message = f"the feature server answered {name!r}, which {plan.name} does not declare"
            return TierGarbled(TIER, message)
        try:
            values[feature.id] = feature.codec.parse(raw, name)
        except ValueRefused as refused:
            return TierGarbled(TIER, f"the feature server answered {refused.path}, which {refused.message}")
    return Record(Kind.FOUND, now_us, now_us, now_us, None, values)
