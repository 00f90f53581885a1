"""One row of an answer from what a load or L1 gave: its bytes, notes about it, its place in the counts.

The slow twin of the hot path in `pannier_sidecar.read_path`: it handles every shape, source and option.
"""

from __future__ import annotations

import msgspec

from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierUnavailable
from pannier_sidecar.known import Loaded
from pannier_sidecar.metrics import GroupCounters, Metrics
from pannier_sidecar.packing import pack_timeline
from pannier_sidecar.packs import Rendered
from pannier_sidecar.read_shape import ReadShape, ResolvedRead, lookback_floor
from pannier_sidecar.render import Transform, found_row, unknown_row, with_notes
from pannier_sidecar.row import TimelineQuery
from pannier_sidecar.tiers.l1_local import L1Cache

_EMPTY_RANGE = 0


class Options(msgspec.Struct, frozen=True, gc=False):
    """How the rows of one request are to be answered."""

    now_us: int
    explain: bool
    transform: Transform | None


class Answers:
    """Renders rows and counts them."""

    def __init__(self, l1: L1Cache, metrics: Metrics) -> None:
        self._l1 = l1
        self._metrics = metrics

    def row(self, read: ResolvedRead, row_id: str, loaded: Loaded, options: Options) -> bytes | None:
        """The row, or None where only a range read of L3 knows it."""
        if loaded.entry is None:
            error = loaded.error or TierUnavailable(loaded.source, "gave no answer")
            return self.unknown(read, row_id, error)
        rendered = self._render(read.shape, row_id, loaded, options)
        return None if rendered is None else self._noted(read, loaded, rendered, options)

    def ranged_row(
        self, read: ResolvedRead, row_id: str, loaded: Loaded, said: Timeline | TierError, options: Options
    ) -> bytes:
        """The row from a range read. That the id exists is known from its entry; here it may be empty."""
        if isinstance(said, TierError):
            return self.unknown(read, row_id, said)
        plan = read.shape.plan
        pack = pack_timeline(plan, row_id, said, options.now_us)
        rendered = pack.row_for(read.shape, row_id, options.now_us, options.transform)
        if rendered is None:
            rendered = Rendered(found_row(row_id, [], more=False), _EMPTY_RANGE)
        entry = self._l1.make(plan, pack, options.now_us)
        return self._noted(read, Loaded(entry, "l3", stale=loaded.stale), rendered, options)

    def unknown(self, read: ResolvedRead, row_id: str, error: TierError) -> bytes:
        """No tier said anything: neither found nor missing."""
        self._metrics.group(read.shape.plan.name).unknown += 1
        return unknown_row(row_id, error.reason, str(error))

    def _render(self, shape: ReadShape, row_id: str, loaded: Loaded, options: Options) -> Rendered | None:
        entry = loaded.entry
        if entry is None:
            return None
        if options.transform is None:
            if shape.is_default and entry.row:
                return Rendered(entry.row, entry.pack.event_time_us)
            if entry.shape is shape and not _is_over(entry.shape_until_us, options.now_us):
                return Rendered(entry.shape_row, entry.pack.event_time_us)
        rendered = entry.pack.row_for(shape, row_id, options.now_us, options.transform)
        if rendered is not None and options.transform is None and not shape.is_ranged:
            self._l1.remember(entry, row_id, shape, rendered)
        return rendered

    def _noted(self, read: ResolvedRead, loaded: Loaded, rendered: Rendered, options: Options) -> bytes:
        entry = loaded.entry
        if entry is None:
            return rendered.row
        counters = self._metrics.group(read.shape.plan.name)
        age_us = options.now_us - entry.pack.loaded_at_us
        _count(counters, loaded, is_negative=bool(entry.negative))
        counters.served_age.observe(max(age_us, 0) / 1_000_000)
        event_time_us = rendered.event_time_us
        outdated = (
            read.max_age_us is not None
            and event_time_us > 0
            and event_time_us < options.now_us - read.max_age_us
        )
        counters.outdated += outdated
        if not (options.explain or outdated or loaded.stale):
            return rendered.row
        return with_notes(
            rendered.row,
            stale=loaded.stale,
            outdated=outdated,
            source=loaded.source if options.explain else None,
            age_us=age_us if options.explain else None,
            event_time_us=event_time_us if options.explain else None,
        )

    def __repr__(self) -> str:
        return f"<Answers from {self._l1!r}>"


def range_query(shape: ReadShape, row_id: str, now_us: int) -> TimelineQuery:
    """What to ask L3 for a shape that no entry covers; one row more than shown, so that `more` is known."""
    low = shape.low if shape.is_ranged else lookback_floor(shape.plan, now_us)
    return TimelineQuery(shape.plan, row_id, shape.limit + 1, low, shape.high)


def _is_over(until_us: int | None, now_us: int) -> bool:
    return until_us is not None and now_us >= until_us


def _count(counters: GroupCounters, loaded: Loaded, *, is_negative: bool) -> None:
    """Each row counts once, under where it came from or what it was."""
    if loaded.stale:
        counters.stale += 1
    elif is_negative:
        if loaded.source in {"l3", "on_demand"}:
            counters.missing += 1
        else:
            counters.negative += 1
    elif loaded.source == "l1":
        counters.l1 += 1
    elif loaded.source == "l2":
        counters.l2 += 1
    elif loaded.source == "on_demand":
        counters.on_demand += 1
    else:
        counters.l3 += 1
