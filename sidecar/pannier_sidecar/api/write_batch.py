"""The body of a batch write -> what the write path takes: a `Put` per sound row, the verdict of every other.

One bad row never refuses its neighbours; only a body that is no batch at all is refused whole.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pannier import times
from pannier.errors import Problem
from pannier_sidecar.api import bodies
from pannier_sidecar.api.intake import intake
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_requests import MAX_WRITES, WriteItem, item_decoder, request_decoder
from pannier_sidecar.api.write_times import unit_hint
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.row import Put, PutOutcome
from pannier_sidecar.write_path import WriteResult

_HINTS: Final = {
    "id": "ids are strings, also where they look like numbers",
}


class _Address(msgspec.Struct, gc=False):
    """The two fields of a write that its answer repeats, whatever is wrong with them and the others."""

    group: msgspec.Raw = msgspec.Raw(b'""')
    id: msgspec.Raw = msgspec.Raw(b'""')


_address_decoder: Final = msgspec.json.Decoder(_Address)


def take_in(plan: ReadPlan, body: bytes, now_us: int) -> list[Put | WriteResult]:
    """Take in a body of ``POST /v1/features/write``; raises `RequestRefused` for the body as a whole only."""
    writes = bodies.decode(request_decoder, body).writes
    if len(writes) > MAX_WRITES:
        raise RequestRefused.because(
            "TooManyWrites", f"{len(writes)} writes in one request; at most {MAX_WRITES} are taken", "writes"
        )
    return [_take_in_raw(plan, raw, now_us, f"writes[{index}]") for index, raw in enumerate(writes)]


def take_in_one(plan: ReadPlan, write: WriteItem, now_us: int, path: str = "") -> Put | WriteResult:
    """Take in one write; raises `RequestRefused`."""
    group = plan.groups.get(write.group)
    if group is None:
        where = f"{path}.group" if path else "group"
        raise RequestRefused([bodies.no_such_group(write.group, plan.groups, where)])
    taken = intake(group, write, now_us, path)
    return taken if isinstance(taken, Put) else _result(group, write, taken)


def _take_in_raw(plan: ReadPlan, raw: msgspec.Raw, now_us: int, path: str) -> Put | WriteResult:
    try:
        write = _item(raw, path)
        return take_in_one(plan, write, now_us, path)
    except RequestRefused as refused:
        problem = refused.problems[0]
        group, row_id = _address(raw)
        return WriteResult(
            group=group,
            id=row_id,
            verdict="invalid",
            reason=problem.reason,
            message=problem.message,
            path=problem.path,
        )


def _item(raw: msgspec.Raw, path: str) -> WriteItem:
    try:
        return bodies.decode(item_decoder, bytes(raw))
    except RequestRefused as refused:
        raise RequestRefused([_placed(problem, path) for problem in refused.problems]) from refused


def _placed(problem: Problem, path: str) -> Problem:
    hint = _HINTS.get(problem.path)
    message = f"{problem.message}; {hint}" if hint else problem.message
    return Problem(f"{path}.{problem.path}" if problem.path else path, problem.reason, message)


def _address(raw: msgspec.Raw) -> tuple[str, str]:
    """Group and id of a refused write, as far as it has them."""
    try:
        item = _address_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    return _text(item.group), _text(item.id)


def _text(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _result(plan: GroupPlan, write: WriteItem, outcome: PutOutcome) -> WriteResult:
    """The answer to a write that L3 never hears of."""
    stamp = outcome.event_time_us
    timestamp = stamp // plan.unit_us if plan.is_timeline and stamp is not None else None
    hint = "" if timestamp is None else unit_hint(plan, timestamp)
    return WriteResult(
        group=plan.name,
        id=write.id,
        verdict=outcome.verdict,
        timestamp=timestamp,
        event_time=None if stamp is None else times.format_rfc3339(stamp),
        reason=outcome.reason,
        message="; ".join(filter(None, (outcome.message, hint))),
    )
