"""Entries -> packs: what the default question shows is rendered in front, every other record beside it.

The only maker of `pannier_sidecar.packs`; done once, when L1 takes an entry in.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import msgspec

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Answer, Timeline
from pannier_sidecar.packs import Pack, RecordPack, TimelinePack, span_width, valid_until
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import lookback_floor
from pannier_sidecar.render import FOUND, RECORDS, Splice, missing_row, row_head

_encode = msgspec.msgpack.Encoder().encode


class Opened:
    """A packed timeline that is about to be renewed: its entry without values, and records to be copied.

    Merging chooses among registers and changes none, so a register that is still this entry's own has the
    bytes that were rendered for it.
    """

    __slots__ = ("_pack", "_slots", "_spans", "_width", "timeline")

    def __init__(self, plan: GroupPlan, pack: TimelinePack) -> None:
        self.timeline, self._slots = pack.skeleton()
        self._pack = pack
        self._spans = array("I", pack.spans)
        self._width = span_width(plan)

    def add_run(
        self, splice: Splice, sort_keys: Sequence[str], at: int, registers: Mapping[str, Record]
    ) -> int:
        """Go on with the records from ``at`` on that stand next to each other; returns how many."""
        held, slots, shown = self.timeline.registers, self._slots, self._pack.shown
        first = slots.get(sort_keys[at], 0)
        end = shown if first < shown else len(slots)
        count = 0
        for key in sort_keys[at : at + end - first]:
            register = registers[key]
            if held.get(key) is not register or slots[key] != first + count:
                break
            count += 1
        if count:
            spans = self._spans[first * self._width : (first + count) * self._width]
            splice.add_copy(self._pack.buffer(first), spans, (count - 1) * self._width)
        return count

    def __repr__(self) -> str:
        return f"<Opened {len(self._slots)} records>"


def pack_state(
    plan: GroupPlan, row_id: str, state: Record | Timeline, now_us: int, opened: Opened | None = None
) -> Pack:
    """Render a record or timeline for L1. ``opened``: what ``state`` was merged with, by the same plan."""
    if isinstance(state, Timeline):
        return pack_timeline(plan, row_id, state, now_us, opened)
    return pack_record(plan, row_id, state, now_us)


def pack_record(plan: GroupPlan, row_id: str, record: Record, now_us: int) -> RecordPack:
    """Render a record for L1; an expired row is packed as the nothing it shows."""
    splice = Splice()
    is_live = record.is_live(now_us)
    if is_live:
        splice.add(row_head(row_id, FOUND) + b",")
        splice.add_features(plan.served, record.values)
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


def pack_timeline(
    plan: GroupPlan, row_id: str, timeline: Timeline, now_us: int, opened: Opened | None = None
) -> TimelinePack:
    """Render a timeline for L1: what the default question shows, and every other record beside it."""
    answer = _default_answer(plan, timeline, now_us)
    shown = answer.sort_keys if answer else ()
    registers = timeline.registers
    rest = sorted(
        [key for key in registers.keys() - set(shown) if registers[key].kind is Kind.FOUND], reverse=True
    )
    if rest and rest[0] == FENCE_SORT_KEY:
        del rest[0]
    front, back = _row(plan, row_id, answer, registers, opened), Splice()
    _add_records(back, plan, rest, registers, opened)
    return TimelinePack(
        row=front.done(),
        rest=back.done(),
        spans=array("I", front.spans + back.spans).tobytes(),
        meta=_pack_meta(timeline, [*shown, *rest]),
        shown=len(shown),
        is_negative=answer is not None and not answer.exists,
        loaded_at_us=timeline.loaded_at_us,
        event_time_us=registers[shown[0]].event_time_us if shown else 0,
        valid_until_us=valid_until(plan, answer),
        newest_revision=_newest_revision(timeline),
    )


def _default_answer(plan: GroupPlan, timeline: Timeline, now_us: int) -> Answer | None:
    return timelines.answer(
        timeline,
        limit=plan.query.default_limit,
        low=lookback_floor(plan, now_us),
        high=HIGHEST_SORT_KEY,
        now_us=now_us,
    )


def _add_records(
    splice: Splice,
    plan: GroupPlan,
    sort_keys: Sequence[str],
    registers: Mapping[str, Record],
    opened: Opened | None,
) -> None:
    """Go on with these records, comma between them; what was rendered before is copied."""
    at, separator = 0, b""
    while at < len(sort_keys):
        splice.add(separator)
        copied = 0 if opened is None else opened.add_run(splice, sort_keys, at, registers)
        if not copied:
            splice.add_record(plan, sort_keys[at], registers[sort_keys[at]].values)
        at += copied or 1
        separator = b","


def _row(
    plan: GroupPlan,
    row_id: str,
    answer: Answer | None,
    registers: Mapping[str, Record],
    opened: Opened | None,
) -> Splice:
    """The row that answers the default question; nothing where that needs a load."""
    splice = Splice()
    if answer is not None and answer.exists:
        splice.add(row_head(row_id, FOUND) + RECORDS)
        _add_records(splice, plan, answer.sort_keys, registers, opened)
        splice.add(b'],"more":true}' if answer.more else b"]}")
    elif answer is not None:
        splice.add(missing_row(plan, row_id))
    return splice


def _newest_revision(timeline: Timeline) -> int:
    newest = max([register.revision for register in timeline.registers.values()], default=0)
    return max(timeline.as_of, timeline.trimmed_revision, newest)


def _pack_meta(timeline: Timeline, slots: Sequence[str]) -> bytes:
    """Encode the timeline without its values, the slots in front: what a `Timeline` is decoded from."""
    registers = timeline.registers
    ordered = slots
    if len(slots) < len(registers):
        held = set(slots)
        ordered = [*slots, *(key for key in registers if key not in held)]
    facts = {}
    for key in ordered:
        one = registers[key]
        facts[key] = (one.kind, one.revision, one.loaded_at_us, one.event_time_us, one.expires_at)
    return _encode(
        (
            timeline.as_of,
            timeline.complete_from,
            timeline.trimmed_at,
            timeline.trimmed_revision,
            timeline.loaded_at_us,
            facts,
        )
    )
