"""A cache entry as L1 holds it: the answer's bytes, and beside them the little that merging needs.

A pack's ``row`` is the answer to the group's default question (empty where a revision is known and its value
is not: load); other questions are cut out of the same bytes (`row_for`). `unpack` gives the entry back,
without features that the catalog does not serve, so that a newer state can be merged with it. Everything a
pack owns is bytes and integers: fifty records cost their rendered bytes and some 80 each, and nothing the
garbage collector looks at.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec

from pannier.keys import parse_sort_key
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Answer, Timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import ReadShape, lookback_floor
from pannier_sidecar.render import (
    FOUND,
    Transform,
    cut_features,
    found_row,
    missing_row,
    record_head,
    row_head,
    stored_values,
)

ENTRY_SPANS: Final = 2
"""Span entries of a timeline record before those of its features: where it begins and ends."""


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """One row of an answer and the event time of the newest thing in it (0 = nothing shown)."""

    row: bytes
    event_time_us: int
    valid_until_us: int | None = None
    """When the row stops being true by itself."""


class RecordPack(msgspec.Struct, frozen=True, gc=False):
    """A packed `Record`."""

    row: bytes
    spans: bytes
    kind: Kind
    revision: int
    loaded_at_us: int
    event_time_us: int
    expires_at: int | None
    valid_until_us: int | None
    """When ``row`` stops being true by itself."""

    @property
    def is_negative(self) -> bool:
        """Whether it says that there is nothing to show."""
        return self.kind is Kind.MISSING or self.kind is Kind.TOMBSTONE

    def row_for(
        self, shape: ReadShape, row_id: str, _now_us: int, transform: Transform | None = None
    ) -> Rendered | None:
        """Answer another question than the default one; None = load."""
        if self.kind is not Kind.FOUND:
            return Rendered(self.row, 0) if self.row else None
        body = cut_features(shape.columns, self.row, array("I", self.spans), 0, transform)
        return Rendered(row_head(row_id, FOUND) + b"," + body + b"}", self.event_time_us, self.valid_until_us)

    def is_superseded_by(self, state: Record | Timeline) -> bool:
        """Whether merging with this state would give just that state."""
        return (
            isinstance(state, Record)
            and state.kind is not Kind.MARKER
            and (state.revision, state.loaded_at_us) > (self.revision, self.loaded_at_us)
        )

    def unpack(self, plan: GroupPlan) -> Record:
        """The entry, for merging."""
        is_found = self.kind is Kind.FOUND
        values = stored_values(plan.served, self.row, array("I", self.spans), 0) if is_found else {}
        return Record(
            self.kind, self.revision, self.loaded_at_us, self.event_time_us, self.expires_at, values
        )


class TimelinePack(msgspec.Struct, frozen=True, gc=False):
    """A packed `Timeline`: found registers are *slots*, first those of ``row``, then those of ``rest``."""

    row: bytes
    rest: bytes
    spans: bytes
    """Per slot: begin and end of the record, then begin and end of each feature, in ``row`` or ``rest``."""
    meta: bytes
    shown: int
    is_negative: bool
    loaded_at_us: int
    event_time_us: int
    """Of the newest record shown."""
    valid_until_us: int | None
    newest_revision: int
    """The highest that anything in it has; a snapshot as of later knows all of it."""

    def row_for(
        self, shape: ReadShape, row_id: str, now_us: int, transform: Transform | None = None
    ) -> Rendered | None:
        """Answer another question than the default one; None = outside of what is known: load."""
        skeleton, slots = self.skeleton()
        answer = _answer(skeleton, shape, now_us)
        if answer is None:
            return None
        if not answer.exists:
            return Rendered(missing_row(shape.plan, row_id), 0)
        cut = _Cutter(self, shape, transform)
        records = [cut.record(slots[key], key) for key in answer.sort_keys]
        newest = skeleton.registers[answer.sort_keys[0]].event_time_us if answer.sort_keys else 0
        row = found_row(row_id, records, more=answer.more)
        return Rendered(row, newest, valid_until(shape.plan, answer))

    def is_superseded_by(self, state: Record | Timeline) -> bool:
        """Whether merging with this state would give just that state."""
        return isinstance(state, Timeline) and state.as_of > self.newest_revision

    def unpack(self, plan: GroupPlan) -> Timeline:
        """The entry, for merging."""
        skeleton, slots = self.skeleton()
        spans, width = array("I", self.spans), span_width(plan)
        registers = skeleton.registers
        for key, slot in slots.items():
            values = stored_values(plan.served, self.buffer(slot), spans, slot * width + ENTRY_SPANS)
            registers[key].values.update(values)  # the dictionary is this register's own
        return skeleton

    def buffer(self, slot: int) -> bytes:
        """The bytes that hold the record of a slot."""
        return self.row if slot < self.shown else self.rest

    def skeleton(self) -> tuple[Timeline, dict[str, int]]:
        """The entry without values, and the slots of its found registers."""
        timeline = _decode_meta(self.meta)
        found = Kind.FOUND
        keys = [key for key, register in timeline.registers.items() if register.kind is found]
        return timeline, dict(zip(keys, range(len(keys)), strict=True))


Pack = RecordPack | TimelinePack


_decode_meta: Final = msgspec.msgpack.Decoder(Timeline).decode


def valid_until(plan: GroupPlan, answer: Answer | None) -> int | None:
    """When a timeline's row changes by itself: a record expires, or falls behind the group's lookback."""
    if answer is None:
        return None
    lookback = plan.query.max_lookback_seconds
    if lookback is None or not answer.sort_keys:
        return answer.valid_until_us
    oldest_us = parse_sort_key(answer.sort_keys[-1], plan.width)[0] * plan.unit_us
    falls_behind_us = oldest_us + lookback * 1_000_000 + 1
    return falls_behind_us if answer.valid_until_us is None else min(answer.valid_until_us, falls_behind_us)


def _answer(timeline: Timeline, shape: ReadShape, now_us: int) -> Answer | None:
    low = shape.low if shape.is_ranged else lookback_floor(shape.plan, now_us)
    return timelines.answer(timeline, limit=shape.limit, low=low, high=shape.high, now_us=now_us)


def span_width(plan: GroupPlan) -> int:
    """Span entries of one record."""
    return ENTRY_SPANS + 2 * len(plan.served)


class _Cutter:
    """Cuts the records of one pack for one shape."""

    __slots__ = ("_pack", "_shape", "_spans", "_transform", "_whole", "_width")

    def __init__(self, pack: TimelinePack, shape: ReadShape, transform: Transform | None) -> None:
        self._pack = pack
        self._shape = shape
        self._transform = transform
        self._spans = array("I", pack.spans)
        self._width = span_width(shape.plan)
        self._whole = shape.features is None and transform is None

    def record(self, slot: int, sort_key: str) -> bytes:
        """One record, whole or with the features asked."""
        buffer = self._pack.buffer(slot)
        base = slot * self._width
        if self._whole:
            return buffer[self._spans[base] : self._spans[base + 1]]
        body = cut_features(self._shape.columns, buffer, self._spans, base + ENTRY_SPANS, self._transform)
        return record_head(self._shape.plan, sort_key) + body + b"}"
