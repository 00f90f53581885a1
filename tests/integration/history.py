"""What clients did and saw, and whether that can be: the checker of `test_history_one_sidecar`.

Each key has one writer, so its history is a list of contents. A read may show any of them from the last that
had to be known when it began up to the last that was under way when it ended, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SECOND = 1_000_000
MAX_LIMIT = 6
DEFAULT_LIMIT = 3
RETENTION_SECONDS = 900

Record = tuple[int, str]
"""Timestamp and tie-breaker."""
NOTES = {"stale", "outdated", "source", "age_seconds", "event_time"}


@dataclass
class Question:
    """One read of one key."""

    limit: int | None = None
    since: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """As the request says it."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class History:
    """One key: what it held after each write."""

    group: str
    id: str
    is_timeline: bool
    contents: list[dict[Any, Any] | None] = field(default_factory=lambda: [None])
    acknowledged: list[int] = field(default_factory=lambda: [0])
    """When each write was acknowledged; shorter than ``contents`` while one is under way."""
    fence_us: int = -1

    @property
    def now(self) -> dict[Any, Any]:
        """What it holds, as far as acknowledged."""
        return dict(self.contents[len(self.acknowledged) - 1] or {})

    def begin(self, content: dict[Any, Any] | None) -> None:
        """A write that would leave this is under way."""
        assert len(self.contents) == len(self.acknowledged), "one writer per key"
        self.contents.append(content)

    def end(self, now_us: int, *, written: bool) -> None:
        """The write was acknowledged, as done or as refused."""
        if not written:
            self.contents[-1] = self.contents[-2]
        self.acknowledged.append(now_us)

    @property
    def last_acknowledged(self) -> int:
        """What a client that reads its own writes must see at least."""
        return len(self.acknowledged) - 1

    def acknowledged_by(self, now_us: int) -> int:
        """The last content that was acknowledged at this time."""
        return max(i for i, at_us in enumerate(self.acknowledged) if at_us <= now_us)

    def possible(self, floor: int, question: Question, times_us: list[int]) -> list[dict[str, Any]]:
        """Every row that a read may give."""
        return [
            self._row(content, question, now_us) for content in self.contents[floor:] for now_us in times_us
        ]

    def _row(self, content: dict[Any, Any] | None, question: Question, now_us: int) -> dict[str, Any]:
        if self.is_timeline:
            return self._timeline_row(content or {}, question, now_us)
        if content is None:
            return {"id": self.id, "status": "missing"}
        return {"id": self.id, "status": "found", "features": content}

    def _timeline_row(self, content: dict[Record, int], question: Question, now_us: int) -> dict[str, Any]:
        live = sorted(
            (key for key in content if (key[0] + RETENTION_SECONDS) * SECOND > now_us), reverse=True
        )
        if not live:
            return {"id": self.id, "status": "missing", "records": []}
        shown = [key for key in live if question.since is None or key[0] >= question.since]
        limit = question.limit or DEFAULT_LIMIT
        records = [
            {"timestamp": key[0], "features": {"item": key[1], "count": content[key]}}
            for key in shown[:limit]
        ]
        row = {"id": self.id, "status": "found", "records": records}
        return {**row, "more": True} if len(shown) > limit else row


@dataclass
class Seen:
    """One read as it happened."""

    history: History
    question: Question
    floor: int
    times_us: list[int]
    row: dict[str, Any]
    may_be_unknown: bool

    def fault(self) -> str | None:
        """Why this cannot be, or None."""
        if self.row["status"] == "unknown":
            excused = self.may_be_unknown or "overtaken" in self.row["message"]
            return None if excused else f"unknown though L3 answered: {self.row}"
        bare = {name: value for name, value in self.row.items() if name not in NOTES}
        possible = self.history.possible(self.floor, self.question, self.times_us)
        if bare in possible:
            return None
        older = self.history.possible(0, self.question, self.times_us)
        kind = "older than what was acknowledged" if bare in older else "never the state"
        return f"{kind}: {self.row}\n  asked {self.question} at {self.times_us}\n  possible: {possible[:3]}"
