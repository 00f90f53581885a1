"""One request to one sidecar as lines of the history: what was asked, when, and what was answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from tests.consistency.fleet import Member, Recorder
from tests.consistency.groups import is_timeline
from tests.consistency.operations import ROW, ROW_THERE, Kind, Read, Write

_SECOND_US: Final = 1_000_000
_LOST: Final = (aiohttp.ClientError, OSError, TimeoutError, json.JSONDecodeError)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


@dataclass
class Intent:
    """A write as a client means it."""

    group: str
    id: str
    kind: Kind
    cells: dict[str, str | None]
    event_us: int | None = None
    item: dict[str, Any] = field(default_factory=dict)
    """The body's member; empty for deletes."""


@dataclass
class Question:
    """One read of several rows."""

    group: str
    ids: Sequence[str]
    limit: int | None = None
    since: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As the request says it."""
        asked = {"group": self.group, "ids": list(self.ids), "limit": self.limit, "since": self.since}
        return {name: value for name, value in asked.items() if value is not None}


class _Moment:
    """When a request was sent, and through which life of a sidecar."""

    def __init__(self, recorder: Recorder, member: Member) -> None:
        self._recorder = recorder
        self._member = member
        self._via = member.via
        self._losses = member.losses
        self._was_lossy = member.lossy > 0
        self.start_us = recorder.now_us()

    def end(self) -> int:
        """Now."""
        return self._recorder.now_us()

    @property
    def via(self) -> str:
        """Who answered; a restart in between leaves that open."""
        return self._via if self._via == self._member.via else f"{self._via}?"

    @property
    def was_lossy(self) -> bool:
        """Whether answers of L3 were lost meanwhile."""
        return self._was_lossy or self._losses != self._member.losses


async def write(
    session: aiohttp.ClientSession, recorder: Recorder, member: Member, client: str, intents: Sequence[Intent]
) -> list[Write]:
    """Send one batch of writes."""
    moment = _Moment(recorder, member)
    body = {"writes": [{"group": i.group, "id": i.id, **i.item} for i in intents]}
    results: list[dict[str, Any]]
    try:
        async with session.post(f"{member.url}/v1/features/write", json=body, timeout=_TIMEOUT) as answer:
            document = await answer.json(content_type=None)
            results = document.get("results") or [{}] * len(intents)
    except _LOST:
        results = [{}] * len(intents)
    return [_written(moment, client, intent, result) for intent, result in zip(intents, results, strict=True)]


async def delete(
    session: aiohttp.ClientSession, recorder: Recorder, member: Member, client: str, intent: Intent
) -> Write:
    """Delete a record, a record of a timeline, or a whole timeline."""
    moment = _Moment(recorder, member)
    path = f"/v1/groups/{intent.group}/rows/{quote(intent.id, safe='')}"
    query = f"?timestamp={next(iter(intent.cells))}" if intent.cells and is_timeline(intent.group) else ""
    try:
        async with session.delete(f"{member.url}{path}{query}", timeout=_TIMEOUT) as answer:
            result = await answer.json(content_type=None)
    except _LOST:
        result = {}
    return _written(moment, client, intent, result)


def _written(moment: _Moment, client: str, intent: Intent, result: dict[str, Any]) -> Write:
    verdict = result.get("verdict", "unknown")
    event_us = intent.event_us
    if verdict != "unknown" and result.get("event_time"):
        event_us = round(datetime.fromisoformat(result["event_time"]).timestamp() * _SECOND_US)
    ignored = tuple(result.get("ignored_features", ()))
    if intent.kind == "delete" and ignored:
        ignored = (*ignored, ROW)  # what is newer outlives a late delete
    return Write(
        client=client,
        via=moment.via,
        start_us=moment.start_us,
        end_us=None if verdict == "unknown" else moment.end(),
        group=intent.group,
        id=intent.id,
        kind=intent.kind,
        cells=intent.cells,
        event_us=event_us,
        verdict=verdict,
        ignored=ignored,
        is_doubtful=moment.was_lossy,
    )


async def read(
    session: aiohttp.ClientSession,
    recorder: Recorder,
    member: Member,
    client: str,
    questions: Sequence[Question],
    *,
    explain: bool = False,
) -> list[Read]:
    """Ask for several rows of several groups; a request that is lost shows nothing."""
    moment = _Moment(recorder, member)
    body = {"reads": [question.body for question in questions], "explain": explain}
    try:
        async with session.post(f"{member.url}/v1/features/read", json=body, timeout=_TIMEOUT) as answer:
            results = (await answer.json(content_type=None)).get("results", [])
    except _LOST:
        results = []
    return [
        _seen(moment, client, question, row)
        for question, result in zip(questions, results, strict=False)
        for row in result.get("rows", [])
    ]


def _seen(moment: _Moment, client: str, question: Question, row: dict[str, Any]) -> Read:
    age_seconds = row.get("age_seconds")
    cells, shown_from = shown(row, question.since)
    return Read(
        client=client,
        via=moment.via,
        start_us=moment.start_us,
        end_us=moment.end(),
        group=question.group,
        id=row["id"],
        status=row["status"],
        cells=cells,
        shown_from=shown_from,
        stale=row.get("stale", False),
        age_us=None if age_seconds is None else round(age_seconds * _SECOND_US),
    )


def shown(row: dict[str, Any], since: int | None = None) -> tuple[dict[str, str], int]:
    """The registers that a row of an answer shows, and from which timestamp on it shows all."""
    if "records" not in row:
        return ({**row["features"], ROW: ROW_THERE} if row["status"] == "found" else {}), 0
    cells = {str(record["timestamp"]): record["features"]["a"] for record in row["records"]}
    lowest = min(map(int, cells), default=0) if row.get("more") else since or 0
    return cells, lowest
