"""Cached entries as bytes, as Redis holds them: a record is one string, a timeline a hash of registers.

All big-endian, the fields that decide which state is newer in front, so that the merge script finds them at
fixed offsets without unpacking the payload. The layout is told in ADR 0005 and read by ``tiers/l2_merge.lua``
too: a change here is a change there and of `pannier.keys.CACHE_FORMAT`, which keeps releases apart by key.
The format byte inside only tells foreign bytes under our keys from ours.

::

    record, register   revision u64 | loaded_at_us u64 | format u8 | kind u8 | event_time_us i64 | expires_at
    i64 | msgpack {feature id: fragment} (found only) timeline's meta    as_of i64 | loaded_at_us u64 |
    trimmed_revision u64 | format u8 | length of complete_from u16 | complete_from | trimmed_at

It does not decide what to do about bytes that cannot be read; that is the tier's (a miss and a metric).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from pannier.errors import PannierError
from pannier.keys import CACHE_FORMAT
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.row import Fragments

META_FIELD = b"meta"
"""Field of the hash that holds the coverage; a sort key is digits or the fence's ``~``, so it cannot be
one."""

_RECORD = struct.Struct(">QQBBqq")
_META = struct.Struct(">qQQBH")
_FOREVER = -1
_KINDS = {int(kind): kind for kind in Kind}
_payload_encoder = msgspec.msgpack.Encoder()
_payload_decoder = msgspec.msgpack.Decoder(Fragments)


class EnvelopeUnreadable(PannierError):
    """The bytes under a cache key are not an entry: foreign, cut short or of another format."""


def encode_record(record: Record) -> bytes:
    """Write a record or a timeline's register."""
    head = _RECORD.pack(
        record.revision,
        record.loaded_at_us,
        CACHE_FORMAT,
        record.kind,
        record.event_time_us,
        _FOREVER if record.expires_at is None else record.expires_at,
    )
    return head + _payload_encoder.encode(record.values) if record.kind is Kind.FOUND else head


def decode_record(data: bytes, *, now_us: int) -> Record:
    """Read a record or register. A ``loaded_at`` ahead of this sidecar's clock is taken as now."""
    try:
        revision, loaded_at_us, version, kind, event_time_us, expires_at = _RECORD.unpack_from(data)
        if version != CACHE_FORMAT:
            raise EnvelopeUnreadable(f"format {version}, not {CACHE_FORMAT}")
        known = _KINDS[kind]
        values = _payload_decoder.decode(data[_RECORD.size :]) if known is Kind.FOUND else {}
    except (struct.error, KeyError, ValueError, msgspec.MsgspecError) as error:
        raise EnvelopeUnreadable(f"{len(data)} bytes are not a cached record: {error!r}") from error
    return Record(
        known,
        revision,
        min(loaded_at_us, now_us),
        event_time_us,
        None if expires_at == _FOREVER else expires_at,
        values,
    )


def encode_coverage(timeline: Timeline) -> bytes:
    """Write what a timeline covers: the meta field."""
    complete_from = timeline.complete_from.encode()
    head = _META.pack(
        timeline.as_of, timeline.loaded_at_us, timeline.trimmed_revision, CACHE_FORMAT, len(complete_from)
    )
    return head + complete_from + timeline.trimmed_at.encode()


def encode_registers(timeline: Timeline) -> list[bytes]:
    """Write the registers: field, value, field, value."""
    flat: list[bytes] = []
    for sort_key, register in timeline.registers.items():
        flat += (sort_key.encode(), encode_record(register))
    return flat


def decode_timeline(fields: Mapping[bytes, bytes], *, now_us: int) -> Timeline:
    """Read a whole hash. One unreadable field makes all of it unreadable: what it hid cannot be known."""
    try:
        meta = fields[META_FIELD]
        as_of, loaded_at_us, trimmed_revision, version, length = _META.unpack_from(meta)
        if version != CACHE_FORMAT:
            raise EnvelopeUnreadable(f"format {version}, not {CACHE_FORMAT}")
        if len(meta) < _META.size + length:
            raise EnvelopeUnreadable("the coverage is cut short")
        complete_from = meta[_META.size : _META.size + length].decode()
        trimmed_at = meta[_META.size + length :].decode()
        registers = {
            sort_key.decode(): decode_record(value, now_us=now_us)
            for sort_key, value in fields.items()
            if sort_key != META_FIELD
        }
    except (KeyError, struct.error, UnicodeDecodeError) as error:
        raise EnvelopeUnreadable(f"{len(fields)} fields are not a cached timeline: {error!r}") from error
    return Timeline(as_of, complete_from, trimmed_at, trimmed_revision, min(loaded_at_us, now_us), registers)
