"""The fence of an erased timeline id, and which rows it leaves live. Shared by the stores; pure.

A fence is one item of the id (`FENCE_SORT_KEY`) in the form of a tombstone: it hides every record whose event
time is not above its own. What removes the hidden rows, and when, is the stores' part.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from pannier.errors import KeyRefused
from pannier.keys import FENCE_SORT_KEY, parse_sort_key, sort_key_range
from pannier_sidecar.ordering import is_late
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, Row, TimelinePage, TimelineQuery

NO_FENCE = -1
"""Event time of the fence that is not there: no record lies under it."""
_UNSETTLED_US: Final = 10_000_000
"""Longer than a write takes until it has looked, with what two clocks may differ."""


def fence_put(plan: GroupPlan, row_id: str, stamp_us: int) -> Put:
    """The write that erases an id up to ``stamp_us``; it gets an end when what it hides is gone."""
    return Put(
        plan=plan,
        id=row_id,
        sort_key=FENCE_SORT_KEY,
        mode="replace",
        values={},
        event_time_us=stamp_us,
        expires_at=None,
        tombstone=True,
    )


def closed(plan: GroupPlan, fence: Row, now_us: int) -> Row:
    """The fence once no row is left under it: like every tombstone it now ends.

    A process that dies before leaves a fence that stands for good, and never rows that come back.
    """
    return msgspec.structs.replace(fence, expires_at=now_us // 1_000_000 + plan.retention.tombstone_seconds)


def fence_stamp(fence: Row | None, now_us: int) -> int:
    """Event time up to which a fence hides records; `NO_FENCE` where there is none or its time has passed."""
    return NO_FENCE if fence is None or fence.is_expired(now_us) else fence.event_time_us


def is_unsettled(page: TimelinePage, now_us: int) -> bool:
    """Whether a late record was stored a moment ago: its writer may be about to take it back (ADR 6).

    A timeline's revision never stays behind the clock of its write (ADR 7), so it says when that was.
    """
    return any(
        row.revision > now_us - _UNSETTLED_US and not row.deleted and is_late(row.event_time_us, row.revision)
        for row in page.rows
    )


def still_refuses(row: Row, now_us: int) -> bool:
    """Whether a row under a fence is a delete that may have to refuse a write yet to come.

    The delete of one record takes the time of the delete. Older writes of that record are refused by it alone
    as long as they are live, since only late ones look for the fence (ADR 6).
    """
    return row.deleted and row.revision > now_us - _UNSETTLED_US


def seen_under(page: TimelinePage, query: TimelineQuery, fence: Row | None, now_us: int) -> TimelinePage:
    """The page as it is once a later look has found this fence."""
    newest = Newest(query, now_us)
    newest.take_fence(fence)
    for row in page.rows:
        newest.take(row)
    return newest.page(ended=page.exhausted)


class Newest:
    """The rows of a `TimelineQuery`, taken newest first until nothing older can matter."""

    __slots__ = ("_ended", "_fence", "_hidden_below", "_live", "_now_us", "_query", "_rows")

    def __init__(self, query: TimelineQuery, now_us: int) -> None:
        self._query = query
        self._now_us = now_us
        self._rows: list[Row] = []
        self._live = 0
        self._ended = False
        self._fence: Row | None = None
        self._hidden_below = ""

    @property
    def missing(self) -> int:
        """Live rows still wanted."""
        return self._query.limit - self._live

    @property
    def is_complete(self) -> bool:
        """Whether no further row is of interest."""
        return self._ended or self._live >= self._query.limit

    def take_fence(self, fence: Row | None) -> None:
        """Take the id's fence, before any row; one whose time has passed counts as none."""
        if fence is not None and not fence.is_expired(self._now_us):
            self._fence = fence
            self._hidden_below = hidden_range(self._query.plan, fence)[1]

    def take(self, row: Row) -> None:
        """Take the next older row. All rows below the first hidden one are hidden too."""
        if row.sort_key <= self._hidden_below:
            self._ended = True
        elif not row.is_expired(self._now_us):
            self._rows.append(row)
            self._live += not row.deleted

    def page(self, *, ended: bool) -> TimelinePage:
        """What was taken; ``ended``: the store has no further row in the range."""
        return TimelinePage(rows=tuple(self._rows), fence=self._fence, exhausted=ended or self._ended)

    def __repr__(self) -> str:
        return f"<Newest {self._live} live of {len(self._rows)} for limit {self._query.limit}>"


def hidden_range(plan: GroupPlan, fence: Row) -> tuple[str, str]:
    """Bounds of the sort keys under a fence. A timeline's timestamp is its event time, so the key says it.

    The upper bound is below `FENCE_SORT_KEY` also where the fence lies beyond the width of the group's keys.
    """
    newest = min(fence.event_time_us // plan.unit_us, 10**plan.width - 1)
    return sort_key_range(None, newest, plan.width)


def erase_stamp(plan: GroupPlan, newest_sort_key: str | None, fence: Row | None, now_us: int) -> int:
    """Event time for a new fence: now, or what is stored for the future, never below a standing fence."""
    newest = -1
    if newest_sort_key is not None:
        with contextlib.suppress(KeyRefused):  # another writer's key: no timestamp, nothing to rise above
            newest = parse_sort_key(newest_sort_key, plan.width)[0] * plan.unit_us
    return max(now_us, newest, fence_stamp(fence, now_us))
