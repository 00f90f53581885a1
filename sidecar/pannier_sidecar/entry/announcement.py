"""What sidecars tell each other of writes: which id, and the delta that tells older states from newer ones.

Never a value: who needs it finds it, or a marker, in L2, where it was merged before this was sent. The deltas
are entries in the bytes of `pannier_sidecar.entry.envelope`. Pure: it knows no channel and no connection.

::

    msgpack [format, sender, [[id, acknowledged at us, delta], ...]]
    delta   record | ["meta", coverage, sort key, register, sort key, register, ...]
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pannier.errors import PannierError
from pannier_sidecar.entry import envelope
from pannier_sidecar.entry.envelope import META_FIELD, EnvelopeUnreadable
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline

FORMAT = 1


class AnnouncementUnreadable(PannierError):
    """A message that is no announcement, or of another release: what it says cannot be known."""


class Change(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One id that was written."""

    id: str
    acknowledged_at_us: int
    """When L3 acknowledged the latest write in it, by the clock of the sidecar that wrote."""
    delta: bytes | list[bytes]

    def entry(self, now_us: int) -> Record | Timeline:
        """The delta, for merging; raises `AnnouncementUnreadable`."""
        try:
            if isinstance(self.delta, bytes):
                return envelope.decode_record(self.delta, now_us=now_us)
            fields = dict(zip(self.delta[::2], self.delta[1::2], strict=True))
            return envelope.decode_timeline(fields, now_us=now_us)
        except (EnvelopeUnreadable, ValueError) as error:
            raise AnnouncementUnreadable(f"the delta of an id: {error}") from error


class Announcement(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one sidecar tells all others of the writes of one group."""

    format: int
    sender: bytes
    changes: list[Change]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Announcement).decode


def encode(sender: bytes, writes: Sequence[tuple[str, int, Record | Timeline]]) -> bytes:
    """Make a message of ids, when their writes were acknowledged, and what they left."""
    changes = [Change(row_id, at_us, _delta_bytes(without_values(entry))) for row_id, at_us, entry in writes]
    return _encode(Announcement(FORMAT, sender, changes))


def decode(message: bytes) -> Announcement:
    """Read a message; raises `AnnouncementUnreadable`."""
    try:
        announcement = _decode(message)
    except msgspec.MsgspecError as error:
        raise AnnouncementUnreadable(f"{len(message)} bytes: {error}") from error
    if announcement.format != FORMAT:
        raise AnnouncementUnreadable(f"format {announcement.format}, not {FORMAT}")
    return announcement


def without_values(entry: Record | Timeline) -> Record | Timeline:
    """The entry with a marker in the place of each value."""
    if isinstance(entry, Record):
        return _without_value(entry)
    registers = {sort_key: _without_value(register) for sort_key, register in entry.registers.items()}
    return msgspec.structs.replace(entry, registers=registers)


def _without_value(record: Record) -> Record:
    if record.kind is not Kind.FOUND:
        return record
    return Record(Kind.MARKER, record.revision, record.loaded_at_us, record.event_time_us, None, {})


def _delta_bytes(entry: Record | Timeline) -> bytes | list[bytes]:
    if isinstance(entry, Record):
        return envelope.encode_record(entry)
    return [META_FIELD, envelope.encode_coverage(entry), *envelope.encode_registers(entry)]
