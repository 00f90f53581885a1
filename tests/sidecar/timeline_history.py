"""A history of one timeline in L3, played step by step, and the entries it hands to the caches.

The model for the law of timeline entries: an answer is the newest snapshot plus every newer write, or "load".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from pannier.keys import FENCE_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.entry.timeline import Answer, Timeline, delta_from_row, marker_from_row, snapshot
from pannier_sidecar.row import Row, TimelinePage

START_US = 1_700_000_000_000_000
KEYS = 9
SECOND_US = 1_000_000
LAG_US = 20 * SECOND_US
"""How far an eventually consistent read may be behind; less than the margin of a read."""


def key_of(event: int) -> str:
    """Sort key of the event at second ``event``."""
    return f"{event:03d}"


@dataclass(frozen=True)
class Handed:
    """An entry on its way to the caches, and what it says in full."""

    entry: Timeline
    rows: tuple[Row, ...]
    """Every row it names: the one written, or those of the page, the fence too."""
    look: dict[str, Row] | None = None
    """The whole id as the read saw it, for a snapshot."""


@dataclass
class History:
    """One id in L3. Every step takes time; `handed` collects what caches may see, in any order and subset."""

    capacity: int
    now_us: int = START_US
    rows: dict[str, Row] = field(default_factory=dict)
    past: list[tuple[int, dict[str, Row]]] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)

    def step(self, dice: random.Random) -> None:
        """Let a random thing happen after a random while."""
        self.now_us += dice.choice((1, SECOND_US, 15 * SECOND_US, 45 * SECOND_US, 90 * SECOND_US))
        event = dice.randrange(KEYS)
        kind = dice.choices(
            ("write", "delete", "read", "short read", "ranged read", "sweep", "erase"), (9, 3, 4, 1, 1, 2, 1)
        )[0]
        if kind == "write":
            expires = self.now_us // SECOND_US + dice.choice((30, 120, 600)) if dice.random() < 0.4 else None
            self._put(event, deleted=False, expires_at=expires, hold=dice.random() < 0.8)
        elif kind == "delete":
            self._put(
                event, deleted=True, expires_at=self.now_us // SECOND_US + 600, hold=dice.random() < 0.8
            )
        elif kind == "sweep":
            self._sweep(event)
        elif kind == "erase":
            self._erase(dice)
        else:
            low = key_of(event) if kind == "ranged read" else LOWEST_SORT_KEY
            limit = dice.randrange(1, 3) if kind == "short read" else self.capacity
            self._read(limit, low, behind_us=dice.choice((0, 0, LAG_US)))
        self.past.append((self.now_us, dict(self.rows)))

    def _put(self, event: int, *, deleted: bool, expires_at: int | None, hold: bool) -> None:
        fence = self.rows.get(FENCE_SORT_KEY)
        is_fenced = fence is not None and not fence.is_expired(self.now_us)
        if fence is not None and is_fenced and event * SECOND_US <= fence.event_time_us:
            return  # ignored_deleted
        values = {} if deleted else {0: str(self.now_us).encode()}
        row = Row(key_of(event), self.now_us, event * SECOND_US, {}, values, deleted, expires_at)
        self.rows[row.sort_key] = row
        entry = (
            delta_from_row(row, loaded_at_us=self.now_us)
            if hold
            else marker_from_row(row, now_us=self.now_us)
        )
        self.handed.append(Handed(entry, (row,)))

    def _sweep(self, event: int) -> None:
        """Remove a row without a trace, as a TTL or another tool does; an expired fence goes too."""
        fence = self.rows.get(FENCE_SORT_KEY)
        if fence is not None and fence.is_expired(self.now_us):
            del self.rows[FENCE_SORT_KEY]
        self.rows.pop(key_of(event), None)

    def _erase(self, dice: random.Random) -> None:
        """Delete the id up to its newest event; the rows under the fence go sooner or later, some at once."""
        newest = max((row.event_time_us for row in self.rows.values()), default=0)
        fence = Row(
            FENCE_SORT_KEY,
            self.now_us,
            newest,
            {},
            {},
            deleted=True,
            expires_at=self.now_us // SECOND_US + 300,
        )
        self.rows = {key: row for key, row in self.rows.items() if dice.random() < 0.5}
        self.rows[FENCE_SORT_KEY] = fence
        self.handed.append(Handed(delta_from_row(fence, loaded_at_us=self.now_us), (fence,)))

    def _read(self, limit: int, low: str, *, behind_us: int) -> None:
        seen: dict[str, Row] = {}
        for at_us, rows in self.past:
            if at_us <= self.now_us - behind_us:
                seen = rows
        seen = {key: row for key, row in seen.items() if not row.is_expired(self.now_us)}
        page = a_page(seen, limit, low)
        entry = snapshot(page, read_start_us=self.now_us, capacity=self.capacity, low=low)
        named = page.rows if page.fence is None else (*page.rows, page.fence)
        self.handed.append(Handed(entry, named, look=seen))


def a_page(rows: dict[str, Row], limit: int, low: str) -> TimelinePage:
    """What a store says of ``rows``: newest first, until ``limit`` live ones or the end of the range."""
    fence = rows.get(FENCE_SORT_KEY)
    fence_us = -1 if fence is None else fence.event_time_us
    newest_first = [rows[key] for key in sorted(rows, reverse=True) if key != FENCE_SORT_KEY and key >= low]
    given: list[Row] = []
    live = 0
    for row in newest_first:
        if live == limit:
            break
        given.append(row)
        live += not row.deleted and row.event_time_us > fence_us
    return TimelinePage(tuple(given), fence, exhausted=len(given) == len(newest_first))


def expected(merged: Sequence[Handed], *, limit: int, low: str, high: str, now_us: int) -> Answer | None:
    """What the entries say together, from their full meaning: the newest snapshot plus every newer write."""
    looks = [handed for handed in merged if handed.look is not None]
    if not looks:
        return None
    newest = max(looks, key=lambda handed: handed.entry.as_of)
    rows = dict(newest.look or {})
    for row in (row for handed in merged for row in handed.rows if row.revision > newest.entry.as_of):
        held = rows.get(row.sort_key)
        rows[row.sort_key] = row if held is None or row.revision > held.revision else held
    fence = rows.pop(FENCE_SORT_KEY, None)
    live = [row for _, row in sorted(rows.items(), reverse=True) if _is_live(row, fence, now_us)]
    in_range = [row for row in live if low <= row.sort_key <= high]
    resting_on = in_range[: limit + 1] or live[:1]
    expiries = [row.expires_at * SECOND_US for row in resting_on if row.expires_at is not None]
    shown = tuple(row.sort_key for row in in_range[:limit])
    return Answer(shown, len(in_range) > limit, bool(live), min(expiries, default=None))


def _is_live(row: Row, fence: Row | None, now_us: int) -> bool:
    if row.deleted or row.is_expired(now_us):
        return False
    if fence is None or row.event_time_us > fence.event_time_us:
        return True
    return row.revision > fence.revision and fence.is_expired(now_us)
