"""The hot path: whole-hit requests spliced from bytes that L1 holds ready.

Per row: one dict lookup, one identity check of the plan, one comparison with a deadline, one append. Nothing
is decoded, encoded or awaited. Whatever is not plain (a range, an option, a deadline that was passed, a key
that is not there) makes the answer None, and the request takes the long way through
`pannier_sidecar.read_path`.
"""

from __future__ import annotations

from collections.abc import Callable
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
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import MAX_SHAPES, ReadShape, ShapeMemo
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_local import L1Cache

SAMPLE: Final = 8
"""Counting every read in its entry would cost a third of the loop; one of eight reads counts for eight."""
LookAgain = Callable[[GroupPlan, str, int], LocalEntry | None]
"""Looks at an entry whose time to be looked at has come; None = it cannot be served."""
_Question = tuple[str, tuple[str, ...] | None, int | None]


class _HotRead:
    """One shape with all that answering it from L1 needs."""

    __slots__ = ("_turn", "counters", "entries", "head", "shape")

    def __init__(self, shape: ReadShape, entries: dict[str, LocalEntry], counters: GroupCounters) -> None:
        self.shape = shape
        self.entries = entries
        self.counters = counters
        self.head = shape.head + b',"rows":['
        self._turn = 0

    def is_sampled(self) -> bool:
        """Whether this is the one of `SAMPLE` reads that counts, for all of them."""
        self._turn = (self._turn + 1) % SAMPLE
        return not self._turn


class HotRows:
    """Answers requests from L1 alone."""

    def __init__(self, l1: L1Cache, metrics: Metrics, look_again: LookAgain) -> None:
        self._l1 = l1
        self._metrics = metrics
        self._look_again = look_again
        self._reads: dict[_Question, _HotRead] = {}

    def forget(self) -> None:
        """Drop what was compiled for another plan."""
        self._reads.clear()

    def answer(self, request: ReadRequest, shapes: ShapeMemo, now_us: int) -> bytes | None:
        """The body of the answer; None = something needs a second look."""
        reads = request.reads
        if request.explain or not 0 < len(reads) <= MAX_READS or not is_timeout(request.timeout_ms):
            return None
        parts: list[bytes] = []
        done: list[tuple[_HotRead, int, int, int]] = []
        for read in reads:
            if read.since is not None or read.until is not None or read.max_age_seconds is not None:
                return None
            hot = self._reads.get((read.group, read.features, read.limit)) or self._compile(read, shapes)
            if hot is None:
                return None
            before = len(parts)
            last, negatives = _rows(hot, read.ids, now_us, parts, self._look_again)
            if last is None:
                return None
            parts[before] = hot.head + parts[before]
            parts[-1] += b"]}"
            done.append((hot, len(parts) - before, negatives, last.pack.loaded_at_us))
        if len(parts) > MAX_ROWS:
            return None
        _count(done, now_us)
        parts[0] = b'{"results":[' + parts[0]
        parts[-1] += b"]}"
        return b",".join(parts)

    def _compile(self, read: Read, shapes: ShapeMemo) -> _HotRead | None:
        shape = shapes.shape(read.group, read.features, read.limit)
        if not isinstance(shape, ReadShape) or shape.plan.policy.local.state != "Enabled":
            return None
        if len(self._reads) >= MAX_SHAPES:
            self._reads.clear()
        hot = _HotRead(shape, self._l1.segment(shape.plan).entries, self._metrics.group(read.group))
        self._reads[read.group, read.features, read.limit] = hot
        return hot

    def __repr__(self) -> str:
        return f"<HotRows {len(self._reads)} compiled reads>"


def _rows(
    hot: _HotRead, ids: tuple[str, ...], now_us: int, parts: list[bytes], look_again: LookAgain
) -> tuple[LocalEntry | None, int]:
    """Append the rows of one read; gives its last entry and how many were negative, or None at a snag.

    One loop in one function, since a call per row would cost as much as the rest of it.
    """
    shape = hot.shape
    plan, is_default = shape.plan, shape.is_default
    get, append, is_sampled = hot.entries.get, parts.append, hot.is_sampled()
    entry, negatives = None, 0
    if len(ids) > MAX_IDS_PER_READ:
        return None, 0
    for row_id in ids:
        entry = get(row_id)
        if entry is None or entry.plan is not plan:
            return None, 0
        if now_us >= entry.check_at_us:
            entry = look_again(plan, row_id, now_us)
            if entry is None:
                return None, 0
        elif is_sampled:
            entry.reads += SAMPLE
        elif not entry.reads:
            entry.reads = 1
        if is_default:
            append(entry.row)
        elif entry.shape is shape:
            append(entry.shape_row)
        else:
            return None, 0
        negatives += entry.negative
    return entry, negatives


def _count(done: list[tuple[_HotRead, int, int, int]], now_us: int) -> None:
    """Count an answered request; the age of each read's last row stands for all of them."""
    for hot, rows, negatives, loaded_at_us in done:
        counters = hot.counters
        counters.l1 += rows - negatives
        counters.negative += negatives
        counters.deprecated += hot.shape.deprecated
        counters.served_age.observe(max(now_us - loaded_at_us, 0) / 1_000_000, rows)
