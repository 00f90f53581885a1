"""One observed state of one item, and which of two observed states is newer.

A `Record` is what the caches hold for an id of a record group and, under its sort key, for each row of a
timeline (`pannier_sidecar.entry.timeline`). It is not a `Row`: stamps of single features stay in L3, where
writes are decided. The order here is the revision's, never the event time's.
"""

from __future__ import annotations

import enum

import msgspec

from pannier_sidecar.row import Fragments, Row

MICROSECONDS = 1_000_000
READ_MARGIN_US = 60 * MICROSECONDS
"""A read is trusted to know every write up to this long before it began: room for clock skew and replica
lag."""
UNVERSIONED = 1
"""The revision of a row that another writer stored without one."""


class Kind(enum.IntEnum):
    """What is known of an item. The numbers are stored in L2."""

    MISSING = 1
    """L3 said that there is no such row."""
    MARKER = 2
    """A state of this revision exists and is not held here: load it."""
    TOMBSTONE = 3
    """Deleted by a write of this revision."""
    FOUND = 4


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One state of one item. ``loaded_at_us`` is when the L3 read or write that saw it began."""

    kind: Kind
    revision: int
    loaded_at_us: int
    event_time_us: int
    expires_at: int | None
    """Epoch seconds after which a found row counts as absent; None = never."""
    values: Fragments = msgspec.field(default_factory=dict)
    """Features by id, including ids this catalog does not know; empty unless found."""

    def is_expired(self, now_us: int) -> bool:
        """Whether the row's own time has passed (stores remove such rows late)."""
        return self.expires_at is not None and self.expires_at * MICROSECONDS <= now_us

    def is_live(self, now_us: int) -> bool:
        """Whether there is a row to show."""
        return self.kind is Kind.FOUND and not self.is_expired(now_us)

    @property
    def valid_until_us(self) -> int | None:
        """When what is shown stops being true by itself; no deadline may pass it."""
        if self.kind is not Kind.FOUND or self.expires_at is None:
            return None
        return self.expires_at * MICROSECONDS


def from_row(row: Row | None, *, read_start_us: int) -> Record:
    """Take what L3 said to a read or write begun at ``read_start_us``; None is its "no such row".

    Missing has no revision of its own, so it takes the newest one the read is sure to know of: it replaces
    any earlier life of the row and loses to any write since. A row that another writer stored without a
    revision is ordered the same way, else it could not replace a Missing seen before it was put there.
    """
    known_us = max(read_start_us - READ_MARGIN_US, UNVERSIONED)
    if row is None:
        return Record(Kind.MISSING, known_us, read_start_us, 0, None, {})
    return Record(
        kind=Kind.TOMBSTONE if row.deleted else Kind.FOUND,
        revision=row.revision if row.revision > UNVERSIONED else known_us,
        loaded_at_us=read_start_us,
        event_time_us=row.newest_stamp_us,
        expires_at=row.expires_at,
        values={} if row.deleted else row.values,
    )


def marker(revision: int, now_us: int, *, event_time_us: int = 0) -> Record:
    """Make the sign that ``revision`` exists and its value is not held here; it beats every older state."""
    return Record(Kind.MARKER, revision, now_us, event_time_us, None, {})


def is_newer(a: Record, b: Record) -> bool:
    """Whether ``a`` replaces ``b``: higher revision, a held state over a marker, then the later look.

    The later look at an unchanged revision wins with its payload, so that its deadline is renewed. Two states
    equal in all of this are the same state.
    """
    if a.revision != b.revision:
        return a.revision > b.revision
    if (a.kind is Kind.MARKER) != (b.kind is Kind.MARKER):
        return b.kind is Kind.MARKER
    if a.loaded_at_us != b.loaded_at_us:
        return a.loaded_at_us > b.loaded_at_us
    return a.kind > b.kind


def merge(a: Record | None, b: Record) -> Record:
    """The newer of two states, in whatever order they arrived."""
    return b if a is None or is_newer(b, a) else a
