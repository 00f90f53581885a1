"""The hot path: whole-hit requests spliced from bytes that L1 holds ready.

Nothing is decoded, encoded or awaited. Per row: one dict lookup, one identity check of what it is held under
(plan and epoch), one comparison with a deadline, one append; and where the same rows are asked for again, the
checks are made once per read and a row costs one lookup of bytes (`pannier_sidecar.tiers.ready_rows`).
Whatever is not plain (a range, an option, a hard deadline that was passed, a key that is not there) makes the
answer None, and the request takes the long way through `pannier_sidecar.read_path`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from typing import Final

from pannier_sidecar.api.read_requests import (
    MAX_IDS_PER_READ,
    MAX_READS,
    MAX_ROWS,
    Read,
    ReadRequest,
    is_timeout,
)
from pannier_sidecar.metrics import GroupCounters, Metrics
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.read_shape import MAX_SHAPES, ReadShape, ShapeMemo
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l1_segment import Segment
from pannier_sidecar.tiers.l1_table import Entries
from pannier_sidecar.tiers.ready_rows import TICK_US

SAMPLE: Final = 16
"""One of so many reads goes through the entries and counts for all of them: eviction and early refresh have
to know what is hot, and counting every read would cost more than answering it. Besides, the first read after
the hand of eviction has passed is noticed always, since the row is not ready then."""
LookAgain = Callable[[GroupPlan, str, int], LocalEntry | None]
"""Looks at an entry whose time to be looked at has come; None = it cannot be served."""
Saw = Callable[[GroupPlan, Sequence[str], Entries, int], None]
"""Hears of a read that caches answered: its group, its ids, entries with theirs among them, and when."""
_Question = tuple[str, tuple[str, ...] | None, int | None]


def _is_plain(read: Read) -> bool:
    """Whether ready bytes answer it."""
    is_ranged = read.since is not None or read.until is not None
    return not is_ranged and read.max_age_seconds is None and read.context is None


class _HotRead:
    """One shape with all that answering it from L1 needs."""

    __slots__ = ("counters", "entries", "head", "ready", "segment", "shape")

    def __init__(self, shape: ReadShape, segment: Segment, counters: GroupCounters) -> None:
        self.shape = shape
        self.segment = segment
        self.entries = segment.entries
        self.counters = counters
        self.head = shape.head + b',"rows":['
        self.ready = segment.keep_ready()
        """None where the group has enough of them."""

    def rows_ready(self, ids: tuple[str, ...], now_us: int) -> list[bytes] | None:
        """The rows, if all of them are ready."""
        ready = self.ready
        if ready is None:
            return None
        if now_us >= ready.until_us:
            ready.let_go(now_us)
        try:
            return list(map(ready.rows.__getitem__, ids))
        except KeyError:
            return None


class HotRows:
    """Answers requests from L1 alone."""

    def __init__(
        self,
        l1: L1Cache,
        metrics: Metrics,
        look_again: LookAgain,
        dice: Callable[[], float] = random,
        saw: Saw | None = None,
    ) -> None:
        self._l1 = l1
        self._metrics = metrics
        self._look_again = look_again
        self._dice = dice
        self._saw = saw
        self._reads: dict[_Question, _HotRead] = {}

    def follow(self, plan: ReadPlan) -> None:
        """Drop what was compiled for groups that have changed since."""
        self._reads = {
            question: hot
            for question, hot in self._reads.items()
            if plan.groups.get(hot.shape.plan.name) is hot.shape.plan
        }

    def answer(self, request: ReadRequest, shapes: ShapeMemo, now_us: int) -> bytes | None:
        """The body of the answer; None = something needs a second look."""
        reads = request.reads
        if request.explain or not 0 < len(reads) <= MAX_READS or not is_timeout(request.timeout_ms):
            return None
        parts: list[bytes] = []
        done: list[tuple[_HotRead, int, int, tuple[str, ...] | None]] = []
        for read in reads:
            if not _is_plain(read):
                return None
            hot = self._reads.get((read.group, read.features, read.limit)) or self._compile(read, shapes)
            if hot is None:
                return None
            rows, negatives, is_sampled = self._rows(hot, read.ids, now_us)
            if not rows:
                return None
            done.append((hot, len(rows), negatives, read.ids if is_sampled else None))
            rows[0] = hot.head + rows[0]
            rows[-1] += b"]}"
            parts += rows
        if len(parts) > MAX_ROWS:
            return None
        _count(done, now_us, self._saw)
        parts[0] = b'{"results":[' + parts[0]
        parts[-1] += b"]}"
        return b",".join(parts)

    def _rows(self, hot: _HotRead, ids: tuple[str, ...], now_us: int) -> tuple[list[bytes] | None, int, bool]:
        """The rows of one read, how many are negative, and whether it is sampled."""
        if len(ids) > MAX_IDS_PER_READ or hot.segment.terms.plan is not hot.shape.plan:
            return None, 0, False
        is_sampled = self._dice() < 1 / SAMPLE
        if not is_sampled:
            rows = hot.rows_ready(ids, now_us)
            if rows is not None:
                return rows, 0, False
        rows, negatives = _rows_of_entries(hot, ids, now_us, self._look_again, is_sampled=is_sampled)
        return rows, negatives, is_sampled

    def _compile(self, read: Read, shapes: ShapeMemo) -> _HotRead | None:
        shape = shapes.shape(read.group, read.features, read.limit)
        if not isinstance(shape, ReadShape) or not shape.plan.policy.local.is_served:
            return None
        if len(self._reads) >= MAX_SHAPES:
            self._reads.clear()
        hot = _HotRead(shape, self._l1.segment(shape.plan), self._metrics.group(read.group))
        self._reads[read.group, read.features, read.limit] = hot
        return hot

    def __repr__(self) -> str:
        return f"<HotRows {len(self._reads)} compiled reads>"


def _rows_of_entries(
    hot: _HotRead, ids: tuple[str, ...], now_us: int, look_again: LookAgain, *, is_sampled: bool
) -> tuple[list[bytes] | None, int]:
    """The rows of one read from their entries, and how many are negative; None at the first snag.

    One loop in one function, since a call per row would cost as much as the rest of it.
    """
    shape, get = hot.shape, hot.entries.get
    plan, is_default = shape.plan, shape.is_default
    terms, ready = hot.segment.terms, hot.ready
    rows: list[bytes] = []
    negatives, counts_for = 0, SAMPLE if is_sampled else 1
    for row_id in ids:
        entry = get(row_id)
        if entry is None:
            return None, 0
        if entry.terms is not terms or now_us >= entry.check_at_us:
            entry = look_again(plan, row_id, now_us)
            if entry is None:
                return None, 0
        elif is_sampled or entry.reads == entry.swept_reads:
            entry.reads += counts_for
        if is_default:
            row = entry.row
        elif entry.shape is shape:
            row = entry.shape_row
        else:
            return None, 0
        rows.append(row)
        if entry.negative:
            negatives += 1
        elif (
            ready is not None
            and row_id not in ready.rows
            and entry.check_at_us - now_us > TICK_US
            and entry.terms is terms  # else it is looked at again as soon as L2 can tell news
        ):
            ready.add(row_id, row, entry.check_at_us)
    return rows, negatives


def _count(
    done: list[tuple[_HotRead, int, int, tuple[str, ...] | None]], now_us: int, saw: Saw | None
) -> None:
    """Count an answered request; the age of a sampled read stands for `SAMPLE` reads like it."""
    for hot, rows, negatives, sampled in done:
        counters = hot.counters
        counters.l1 += rows - negatives
        counters.negative += negatives
        counters.deprecated += hot.shape.deprecated
        if sampled is not None:
            entries = hot.entries
            age_us = max(now_us - entries[sampled[-1]].pack.loaded_at_us, 0)
            counters.served_age.observe(age_us / 1_000_000, rows * SAMPLE)
            if saw is not None:
                saw(hot.shape.plan, sampled, entries, now_us)
