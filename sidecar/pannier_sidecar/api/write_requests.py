"""The bodies of write requests, decoded once. What a write means for its group is decided by `intake`.

Every write of a batch is decoded for itself, so that one of a wrong shape does not refuse the others.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pannier_sidecar.row import Mode

MAX_WRITES: Final = 500

Moment = int | str
"""A point in time: an integer in the unit that the field asks for, or RFC 3339."""


class WriteItem(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """One row to write."""

    group: str
    id: str
    features: dict[str, msgspec.Raw]
    timestamp: Moment | None = None
    """Of timelines: which record, in the group's unit. It is the record's event time."""
    unset: tuple[str, ...] = ()
    """Features that a merge takes away."""
    event_time: Moment | None = None
    """Of records: when this became true, in microseconds; None = after everything stored."""
    mode: Mode | None = None
    """None = ``merge`` for records, ``replace`` for timelines."""


class WriteRequest(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The body of ``POST /v1/features/write``."""

    writes: tuple[msgspec.Raw, ...]


class RowBody(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PUT /v1/groups/{group}/rows/{id}``: a `WriteItem` whose address is in the path."""

    features: dict[str, msgspec.Raw]
    timestamp: Moment | None = None
    unset: tuple[str, ...] = ()
    event_time: Moment | None = None
    mode: Mode | None = None

    def at(self, group: str, row_id: str) -> WriteItem:
        """Address the row."""
        return WriteItem(
            group=group,
            id=row_id,
            features=self.features,
            timestamp=self.timestamp,
            unset=self.unset,
            event_time=self.event_time,
            mode=self.mode,
        )


request_decoder: Final = msgspec.json.Decoder(WriteRequest)
item_decoder: Final = msgspec.json.Decoder(WriteItem)
row_decoder: Final = msgspec.json.Decoder(RowBody)
