"""Entries -> packs: what the default question shows is rendered in front, every other record beside it.

The only maker of `pannier_sidecar.packs`; done once, when L1 takes an entry in.
"""

from __future__ import annotations

from array import array

import msgspec

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Answer, Timeline
from pannier_sidecar.packs import Meta, Pack, RecordPack, TimelinePack, valid_until
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import lookback_floor
from pannier_sidecar.render import FOUND, RECORDS, Splice, missing_row, record_head, row_head

_encode_meta = msgspec.msgpack.Encoder().encode


def pack_state(plan: GroupPlan, row_id: str, state: Record | Timeline, now_us: int) -> Pack:
    """Render a record or timeline for L1."""
    if isinstance(state, Timeline):
        return pack_timeline(plan, row_id, state, now_us)
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


def pack_timeline(plan: GroupPlan, row_id: str, timeline: Timeline, now_us: int) -> TimelinePack:
    """Render a timeline for L1: what the default question shows, and every other record beside it."""
    answer = _default_answer(plan, timeline, now_us)
    shown = answer.sort_keys if answer else ()
    registers = timeline.registers
    others = sorted(registers.keys() - set(shown) - {FENCE_SORT_KEY}, reverse=True)
    rest = [key for key in others if registers[key].kind is Kind.FOUND]
    front, back = _row(plan, row_id, timeline, answer), Splice()
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


def _row(plan: GroupPlan, row_id: str, timeline: Timeline, answer: Answer | None) -> Splice:
    """The row that answers the default question; nothing where that needs a load."""
    splice = Splice()
    if answer is not None and answer.exists:
        _add_records(splice, plan, timeline, answer.sort_keys, before=row_head(row_id, FOUND) + RECORDS)
        splice.add(b'],"more":true}' if answer.more else b"]}")
    elif answer is not None:
        splice.add(missing_row(plan, row_id))
    return splice


def _newest_revision(timeline: Timeline) -> int:
    revisions = [register.revision for register in timeline.registers.values()]
    return max([timeline.as_of, timeline.trimmed_revision, *revisions])


def _add_records(
    splice: Splice, plan: GroupPlan, timeline: Timeline, sort_keys: tuple[str, ...] | list[str], before: bytes
) -> None:
    splice.add(before)
    separator = b""
    for key in sort_keys:
        slot = len(splice.spans)
        splice.spans += (splice.at + len(separator), 0)
        splice.add(separator + record_head(plan, key))
        splice.add_features(plan.served, timeline.registers[key].values)
        splice.spans[slot + 1] = splice.at
        separator = b","


def _pack_meta(timeline: Timeline, slots: tuple[str, ...]) -> bytes:
    held = set(slots)
    ordered = [*slots, *(key for key in timeline.registers if key not in held)]
    registers = [(key, *_facts(timeline.registers[key])) for key in ordered]
    return _encode_meta(
        Meta(
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
