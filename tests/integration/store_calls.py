"""Calls to an L3 store in one line each, for tests: fresh plans, puts, and reads that must answer.

`store_suite` and the other tests of stores are written in these words.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

from tests.builders import a_plan

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY, tie_breaker_text
from pannier.keys import sort_key as stored_sort_key
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import (
    Erasure,
    Fragments,
    Mode,
    Put,
    PutOutcome,
    Row,
    RowKey,
    TimelinePage,
    TimelineQuery,
)
from pannier_sidecar.tiers.l3 import Store

NOW = 4_000_000_000_000_000
"""Ahead of every real clock: an emulator that removes expired rows must not meddle."""
SECOND = 1_000_000
TABLE = "conformance"
BUDGET_SECONDS = 30.0
"""Far more than any call needs: emulators on a busy machine stall."""

_names = itertools.count()


def a_stored_plan(**fields: Any) -> GroupPlan:
    """Make a plan of a group nobody used before, in the table that the suite shares."""
    return a_plan(f"g{os.getpid()}_{next(_names)}", **{"table": TABLE, **fields})


def a_timeline(**fields: Any) -> GroupPlan:
    """Make a timeline plan with ten-digit seconds."""
    return a_stored_plan(timeline=True, **fields)


def at(second: int, tie_breaker: str | int | None = None) -> str:
    """Compose the sort key of a timeline record."""
    return stored_sort_key(f"{second:010d}", None if tie_breaker is None else tie_breaker_text(tie_breaker))


def a_put(plan: GroupPlan, row_id: str = "1", values: Fragments | None = None, **fields: Any) -> Put:
    """Make a put; of a timeline, the event time is that of its sort key."""
    sort_key = fields.pop("sort_key", "null")
    mode: Mode = "replace" if plan.is_timeline else "merge"
    if plan.is_timeline:
        fields.setdefault("event_time_us", int(sort_key[:10]) * SECOND)
    known: dict[str, Any] = {"mode": mode, "event_time_us": None, "expires_at": None, **fields}
    return Put(plan=plan, id=row_id, sort_key=sort_key, values=values or {}, **known)


def a_delete(plan: GroupPlan, row_id: str = "1", *, now: int = NOW, **fields: Any) -> Put:
    """Make the tombstone put of a row."""
    known: dict[str, Any] = {
        "mode": "replace",
        "tombstone": True,
        "expires_at": now // SECOND + plan.retention.tombstone_seconds,
        **fields,
    }
    return a_put(plan, row_id, {}, **known)


async def write(store: Store, *puts: Put, now: int = NOW) -> list[PutOutcome]:
    """Write puts in one call."""
    return await store.write(puts, timeout_seconds=BUDGET_SECONDS, now_us=now)


async def write_one(store: Store, put: Put, now: int = NOW) -> PutOutcome:
    """Write one put."""
    (outcome,) = await write(store, put, now=now)
    return outcome


async def written(store: Store, put: Put, now: int = NOW) -> Row:
    """Write one put, which must be accepted, and return the row it left."""
    outcome = await write_one(store, put, now)
    assert outcome.verdict == "written", outcome
    assert outcome.row is not None
    return outcome.row


async def read(store: Store, plan: GroupPlan, row_id: str = "1") -> Row | None:
    """Read one record, strongly."""
    (row,) = await store.read_records([RowKey(plan, row_id)], strong=True, timeout_seconds=BUDGET_SECONDS)
    assert not isinstance(row, TierError), row
    return row


async def page(
    store: Store,
    plan: GroupPlan,
    row_id: str = "1",
    *,
    limit: int = 50,
    low: str = LOWEST_SORT_KEY,
    high: str = HIGHEST_SORT_KEY,
    now: int = NOW,
) -> TimelinePage:
    """Read one timeline, strongly."""
    query = TimelineQuery(plan, row_id, limit, low, high)
    (answer,) = await store.read_timelines([query], strong=True, timeout_seconds=BUDGET_SECONDS, now_us=now)
    assert not isinstance(answer, TierError), answer
    return answer


async def erase(store: Store, plan: GroupPlan, row_id: str = "1", **fields: Any) -> Erasure:
    """Erase one id."""
    known: dict[str, Any] = {"timeout_seconds": BUDGET_SECONDS, "now_us": NOW, **fields}
    return await store.erase(plan, row_id, **known)


def live(answer: TimelinePage) -> list[str]:
    """Sort keys of the rows that readers would see."""
    fence = answer.fence.event_time_us if answer.fence else -1
    return [row.sort_key for row in answer.rows if not row.deleted and row.newest_stamp_us > fence]
