"""A cache entry as L1 holds it: the answer's bytes, and beside them the little that merging needs.

`pack` turns a `Record` or `Timeline` into a pack whose ``row`` is the answer to the group's default question;
other questions are cut out of the same bytes (`row_for`). `unpack` gives the entry back, without features
that the catalog does not serve, so that a newer state can be merged with it. Everything a pack owns is bytes
and integers: fifty records cost their rendered bytes and some 80 each, and nothing the garbage collector
looks at.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY, parse_sort_key
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Answer, Timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import ReadShape, lookback_floor
from pannier_sidecar.render import Splice, Transform, cut_features, missing_row, row_head, stored_values

UNANSWERED: Final = b""
"""``row`` of a pack that knows a revision exists and does not hold the value: load."""
_FOUND = b'"found"'
_RECORDS = b',"records":['
_ENTRY_SPANS = 2
"""Span entries of a timeline record before those of its features: where it begins and ends."""


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """One row of an answer and the event time of the newest thing in it (0 = nothing shown)."""

    row: bytes
    event_time_us: int


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
        return Rendered(row_head(row_id, _FOUND) + b"," + body + b"}", self.event_time_us)

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

    def row_for(
        self, shape: ReadShape, row_id: str, now_us: int, transform: Transform | None = None
    ) -> Rendered | None:
        """Answer another question than the default one; None = outside of what is known: load."""
        skeleton, slots = self._skeleton()
        answer = _answer(skeleton, shape, now_us)
        if answer is None:
            return None
        if not answer.exists:
            return Rendered(missing_row(shape.plan, row_id), 0)
        cut = _Cutter(self, shape, transform)
        records = [cut.record(slots[key], key) for key in answer.sort_keys]
        newest = skeleton.registers[answer.sort_keys[0]].event_time_us if answer.sort_keys else 0
        return Rendered(found_row(row_id, records, more=answer.more), newest)

    def unpack(self, plan: GroupPlan) -> Timeline:
        """The entry, for merging."""
        skeleton, slots = self._skeleton()
        spans, width = array("I", self.spans), _span_width(plan)
        registers = skeleton.registers
        for key, slot in slots.items():
            values = stored_values(plan.served, self._buffer(slot), spans, slot * width + _ENTRY_SPANS)
            registers[key] = msgspec.structs.replace(registers[key], values=values)
        return skeleton

    def _buffer(self, slot: int) -> bytes:
        return self.row if slot < self.shown else self.rest

    def _skeleton(self) -> tuple[Timeline, dict[str, int]]:
        """The entry without values, and the slots of its found registers."""
        meta = _decode_meta(self.meta)
        registers: dict[str, Record] = {}
        slots: dict[str, int] = {}
        for key, kind, revision, loaded_at_us, event_time_us, expires_at in meta.registers:
            if kind == Kind.FOUND:
                slots[key] = len(slots)
            registers[key] = Record(Kind(kind), revision, loaded_at_us, event_time_us, expires_at, _NO_VALUES)
        return Timeline(
            meta.as_of,
            meta.complete_from,
            meta.trimmed_at,
            meta.trimmed_revision,
            meta.loaded_at_us,
            registers,
        ), slots


Pack = RecordPack | TimelinePack


class _Meta(msgspec.Struct, array_like=True, gc=False):
    """A timeline without its values, as it is packed."""

    as_of: int
    complete_from: str
    trimmed_at: str
    trimmed_revision: int
    loaded_at_us: int
    registers: list[tuple[str, int, int, int, int, int | None]]


_NO_VALUES: Final[dict[int, bytes]] = {}
_encode_meta = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(_Meta).decode


def pack_record(plan: GroupPlan, row_id: str, record: Record, now_us: int) -> RecordPack:
    """Render a record for L1; an expired row is packed as the nothing it shows."""
    splice = Splice()
    is_live = record.is_live(now_us)
    if is_live:
        splice.add(row_head(row_id, _FOUND) + b",")
        splice.add_features(plan.served, record.values)
        splice.add(b"}")
    elif record.kind is not Kind.MARKER:
        splice.add(missing_row(plan, row_id))
    return RecordPack(
        row=splice.done(),
        spans=array("I", splice.spans).tobytes(),
        kind=Kind.TOMBSTONE if record.kind is Kind.FOUND and not is_live else record.kind,
        revision=record.revision,
        loaded_at_us=record.loaded_at_us,
        event_time_us=record.event_time_us,
        expires_at=record.expires_at,
        valid_until_us=record.valid_until_us if is_live else None,
    )


def pack_timeline(plan: GroupPlan, row_id: str, timeline: Timeline, now_us: int) -> TimelinePack:
    """Render a timeline for L1: what the default question shows, and every other record beside it."""
    answer = timelines.answer(
        timeline,
        limit=plan.query.default_limit,
        low=lookback_floor(plan, now_us),
        high=HIGHEST_SORT_KEY,
        now_us=now_us,
    )
    shown = answer.sort_keys if answer else ()
    registers = timeline.registers
    others = sorted(registers.keys() - set(shown) - {FENCE_SORT_KEY}, reverse=True)
    rest = [key for key in others if registers[key].kind is Kind.FOUND]
    front, back = Splice(), Splice()
    if answer is not None and answer.exists:
        _add_records(front, plan, timeline, shown, before=row_head(row_id, _FOUND) + _RECORDS)
        front.add(b'],"more":true}' if answer.more else b"]}")
    elif answer is not None:
        front.add(missing_row(plan, row_id))
    _add_records(back, plan, timeline, rest, before=b"")
    return TimelinePack(
        row=front.done(),
        rest=back.done(),
        spans=array("I", front.spans + back.spans).tobytes(),
        meta=_pack_meta(timeline, (*shown, *rest)),
        shown=len(shown),
        is_negative=answer is not None and not answer.exists,
        loaded_at_us=timeline.loaded_at_us,
        event_time_us=registers[shown[0]].event_time_us if shown else 0,
        valid_until_us=_valid_until(plan, answer),
    )


def found_row(row_id: str, records: list[bytes], *, more: bool) -> bytes:
    """Put rendered records, newest first, together as one row."""
    tail = b'],"more":true}' if more else b"]}"
    return row_head(row_id, _FOUND) + _RECORDS + b",".join(records) + tail


def _add_records(
    splice: Splice, plan: GroupPlan, timeline: Timeline, sort_keys: tuple[str, ...] | list[str], before: bytes
) -> None:
    splice.add(before)
    for position, key in enumerate(sort_keys):
        if position:
            splice.add(b",")
        slot = len(splice.spans)
        begin = splice.at
        splice.spans += (begin, 0)
        splice.add(record_head(plan, key))
        splice.add_features(plan.served, timeline.registers[key].values)
        splice.add(b"}")
        splice.spans[slot + 1] = splice.at


def record_head(plan: GroupPlan, sort_key: str) -> bytes:
    """``{"timestamp":987654321,``, without the zeros that make stored digits sortable."""
    return b'{"timestamp":%d,' % parse_sort_key(sort_key, plan.width)[0]


def _pack_meta(timeline: Timeline, slots: tuple[str, ...]) -> bytes:
    held = set(slots)
    ordered = [*slots, *(key for key in timeline.registers if key not in held)]
    registers = [(key, *_facts(timeline.registers[key])) for key in ordered]
    return _encode_meta(
        _Meta(
            timeline.as_of,
            timeline.complete_from,
            timeline.trimmed_at,
            timeline.trimmed_revision,
            timeline.loaded_at_us,
            registers,
        )
    )


def _facts(register: Record) -> tuple[int, int, int, int, int | None]:
    return (
        int(register.kind),
        register.revision,
        register.loaded_at_us,
        register.event_time_us,
        register.expires_at,
    )


def _valid_until(plan: GroupPlan, answer: Answer | None) -> int | None:
    """When the row changes by itself: a record expires, or falls behind the group's lookback."""
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


def _span_width(plan: GroupPlan) -> int:
    return _ENTRY_SPANS + 2 * len(plan.served)


class _Cutter:
    """Cuts the records of one pack for one shape."""

    __slots__ = ("_pack", "_shape", "_spans", "_transform", "_whole", "_width")

    def __init__(self, pack: TimelinePack, shape: ReadShape, transform: Transform | None) -> None:
        self._pack = pack
        self._shape = shape
        self._transform = transform
        self._spans = array("I", pack.spans)
        self._width = _span_width(shape.plan)
        self._whole = shape.features is None and transform is None

    def record(self, slot: int, sort_key: str) -> bytes:
        """One record, whole or with the features asked."""
        buffer = self._pack.row if slot < self._pack.shown else self._pack.rest
        base = slot * self._width
        if self._whole:
            return buffer[self._spans[base] : self._spans[base + 1]]
        body = cut_features(self._shape.columns, buffer, self._spans, base + _ENTRY_SPANS, self._transform)
        return record_head(self._shape.plan, sort_key) + body + b"}"
