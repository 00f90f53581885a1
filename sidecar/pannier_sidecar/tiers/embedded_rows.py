"""What the embedded store does to rows inside a transaction: read, decide, write, erase. Synchronous.

Every function takes the connection it works on. Transactions and threads are the callers' part; the rules
of a write are those of `ordering`.
"""

from __future__ import annotations

import sqlite3

from pannier.errors import KeyRefused
from pannier.keys import FENCE_SORT_KEY, parse_sort_key
from pannier_sidecar import ordering
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Put, PutOutcome, Row, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.embedded_file import from_stored, partition, to_body
from pannier_sidecar.tiers.fences import Newest, closed, erase_stamp, fence_put, fence_stamp, hidden_range
from pannier_sidecar.tiers.items import too_large

_ONE = "SELECT sk, revision, expires_at, body FROM item WHERE pk = ? AND sk = ?"
_RANGE = (
    "SELECT sk, revision, expires_at, body FROM item WHERE pk = ? AND sk >= ? AND sk <= ? AND sk <> '~'"
    " ORDER BY sk DESC"
)
_PUT = (
    "INSERT INTO item (pk, sk, revision, expires_at, body) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (pk, sk) DO UPDATE"
    " SET revision = excluded.revision, expires_at = excluded.expires_at, body = excluded.body"
)
_REMOVE_RANGE = (
    "DELETE FROM item WHERE rowid IN"
    " (SELECT rowid FROM item WHERE pk = ? AND sk >= ? AND sk <= ? AND sk <> '~' LIMIT ?)"
)
_REMOVE_EXPIRED = (
    "DELETE FROM item WHERE rowid IN"
    " (SELECT rowid FROM item WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)


def row_at(connection: sqlite3.Connection, plan: GroupPlan, row_id: str, sort_key: str) -> Row | None:
    """One row as it is stored, expired or not."""
    stored = connection.execute(_ONE, (partition(plan, row_id), sort_key)).fetchone()
    return None if stored is None else from_stored(stored)


def page(connection: sqlite3.Connection, query: TimelineQuery, now_us: int) -> TimelinePage:
    """The newest live rows of a range, tombstones between them included."""
    # one snapshot for fence and rows: an erase between two statements would show half of its work
    connection.execute("BEGIN")
    try:
        newest = Newest(query, now_us)
        newest.take_fence(row_at(connection, query.plan, query.id, FENCE_SORT_KEY))
        for stored in connection.execute(_RANGE, (partition(query.plan, query.id), query.low, query.high)):
            if newest.is_complete:
                return newest.page(ended=False)
            if _is_record_of(query.plan, stored[0]):
                newest.take(from_stored(stored))
    finally:
        connection.execute("COMMIT")
    return newest.page(ended=True)


def _is_record_of(plan: GroupPlan, sort_key: str) -> bool:
    """Whether the row is one of the timeline: a group that was declared with another key left others."""
    try:
        parse_sort_key(sort_key, plan.width)
    except KeyRefused:
        return False
    return True


def apply(connection: sqlite3.Connection, put: Put, now_us: int) -> PutOutcome:
    """Decide one write on what is stored, and store what was decided."""
    refusal = ordering.refused_outright(put, now_us)
    if refusal is not None:
        return refusal
    if put.plan.is_timeline and put.event_time_us is not None:
        fence = row_at(connection, put.plan, put.id, FENCE_SORT_KEY)
        if fence is not None and fence_stamp(fence, now_us) >= put.event_time_us:
            return ordering.under_fence(fence, put)
    outcome = ordering.decide(row_at(connection, put.plan, put.id, put.sort_key), put, now_us)
    row = outcome.row
    if outcome.verdict != "written" or row is None:
        return outcome
    refusal = too_large(put, row)
    if refusal is not None:
        return refusal
    _store(connection, put.plan, put.id, row)
    return outcome


def write_fence(connection: sqlite3.Connection, plan: GroupPlan, row_id: str, now_us: int) -> Row:
    """Put a fence above now, above every stored record and above the fence that may stand already."""
    standing = row_at(connection, plan, row_id, FENCE_SORT_KEY)
    newest = connection.execute(f"{_RANGE} LIMIT 1", (partition(plan, row_id), "", FENCE_SORT_KEY)).fetchone()
    stamp = erase_stamp(plan, newest[0] if newest else None, standing, now_us)
    fence = ordering.decide(standing, fence_put(plan, row_id, stamp), now_us).row
    if fence is None:
        raise AssertionError("a fence at or above the standing one is always accepted")
    _store(connection, plan, row_id, fence)
    return fence


def remove_hidden(  # noqa: PLR0913, PLR0917 (a statement and all its parameters)
    connection: sqlite3.Connection, plan: GroupPlan, row_id: str, fence: Row, max_rows: int, now_us: int
) -> Erasure:
    """Remove up to ``max_rows`` rows under the fence, which ends once none is left."""
    where = (partition(plan, row_id), *hidden_range(plan, fence))
    removed = connection.execute(_REMOVE_RANGE, (*where, max_rows)).rowcount
    left = connection.execute(f"{_RANGE} LIMIT 1", where).fetchone()
    if left is None:
        fence = closed(plan, fence, now_us)
        standing = row_at(connection, plan, row_id, FENCE_SORT_KEY)
        if standing is not None and standing.revision == fence.revision:
            _store(connection, plan, row_id, fence)
    return Erasure(fence=fence, removed=removed, finished=left is None)


def remove_expired(connection: sqlite3.Connection, now_seconds: int, max_rows: int) -> int:
    """Remove up to ``max_rows`` rows whose time has passed, the longest expired first."""
    return connection.execute(_REMOVE_EXPIRED, (now_seconds, max_rows)).rowcount


def _store(connection: sqlite3.Connection, plan: GroupPlan, row_id: str, row: Row) -> None:
    connection.execute(
        _PUT, (partition(plan, row_id), row.sort_key, row.revision, row.expires_at, to_body(row))
    )
