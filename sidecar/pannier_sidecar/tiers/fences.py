"""The fence of an erased timeline id, and which rows it leaves live. Shared by the stores; pure.

A fence is one item of the id (`FENCE_SORT_KEY`) in the form of a tombstone: it hides every record whose event
time is not above its own. What removes the hidden rows, and when, is the stores' part.
"""

from __future__ import annotations

import contextlib

from pannier.errors import KeyRefused
from pannier.keys import FENCE_SORT_KEY, parse_sort_key, sort_key_range
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, Row

NO_FENCE = -1
"""Event time of the fence that is not there: no record lies under it."""


def fence_put(plan: GroupPlan, row_id: str, stamp_us: int, now_us: int) -> Put:
    """The write that erases an id up to ``stamp_us``; like every tombstone it ends."""
    return Put(
        plan=plan,
        id=row_id,
        sort_key=FENCE_SORT_KEY,
        mode="replace",
        values={},
        event_time_us=stamp_us,
        expires_at=now_us // 1_000_000 + plan.retention.tombstone_seconds,
        tombstone=True,
    )


def fence_stamp(fence: Row | None, now_us: int) -> int:
    """Event time up to which a fence hides records; `NO_FENCE` where there is none or its time has passed."""
    return NO_FENCE if fence is None or fence.is_expired(now_us) else fence.event_time_us


def is_live(row: Row, fence_us: int, now_us: int) -> bool:
    """Whether readers may see the row."""
    return not row.deleted and not row.is_expired(now_us) and row.newest_stamp_us > fence_us


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
