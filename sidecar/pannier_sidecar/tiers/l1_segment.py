"""One group's part of L1: its entries, their bytes, and the two rings that say who has to leave.

It counts and drops what it is told to; when there is too much of it is decided in
`pannier_sidecar.tiers.l1_local`.
"""

from __future__ import annotations

from typing import Final

from pannier_sidecar.tiers.eviction import SecondChance
from pannier_sidecar.tiers.l1_entry import LocalEntry, weight_of
from pannier_sidecar.tiers.ready_rows import ReadyRows

MAX_READY: Final = 4
"""Shapes of one group whose rows wait ready."""


class Segment:
    """One group's part of L1."""

    __slots__ = (
        "_ready",
        "bytes",
        "entries",
        "evictions",
        "found",
        "limit_bytes",
        "missing",
        "name",
        "negative_bytes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: dict[str, LocalEntry] = {}
        self.found = SecondChance()
        self.missing = SecondChance()
        self.limit_bytes = 0
        self.bytes = 0
        self.negative_bytes = 0
        self.evictions = 0
        self._ready: list[ReadyRows] = []

    def keep_ready(self) -> ReadyRows | None:
        """Give out a place for ready rows; what is replaced or dropped here goes out of it too.

        There are few of them, since each costs a little at every change; None = there are enough.
        """
        if len(self._ready) >= MAX_READY:
            return None
        self._ready.append(ReadyRows())
        return self._ready[-1]

    def forget_ready(self) -> None:
        """The places given out are not used any more."""
        self._ready.clear()

    def put(self, row_id: str, entry: LocalEntry) -> None:
        """Hold an entry in place of what is there."""
        old = self.entries.get(row_id)
        if old is not None:
            self._weigh(row_id, old, -1)
            if old.reads > old.swept_reads:
                entry.swept_reads = -1  # what was read of the old entry speaks for the new one
            self._unready(row_id)
        self.entries[row_id] = entry
        self._weigh(row_id, entry, 1)
        if old is None or old.negative != entry.negative:
            (self.missing if entry.negative else self.found).add(row_id, self.entries, entry.negative)

    def drop(self, row_id: str) -> None:
        """Hold nothing of this id; its place in the ring goes with the next sweep."""
        old = self.entries.pop(row_id, None)
        if old is not None:
            self._weigh(row_id, old, -1)
            self._unready(row_id)

    def grow(self, entry: LocalEntry, by: int) -> None:
        """Count bytes that a held entry took on after it was put (the row of another shape)."""
        entry.weight += by
        self.bytes += by
        if entry.negative:
            self.negative_bytes += by

    def evict(self, ring: SecondChance, now_us: int) -> bool:
        """Drop one entry; False if the ring is empty."""
        victim = ring.victim(self.entries, int(ring is self.missing), now_us)
        if victim is None:
            return False
        self.drop(victim)
        self.evictions += 1
        return True

    def clear(self) -> None:
        """Hold nothing."""
        self.entries.clear()
        for ready in self._ready:
            ready.clear()
        self.found, self.missing = SecondChance(), SecondChance()
        self.bytes = self.negative_bytes = 0

    def _unready(self, row_id: str) -> None:
        for ready in self._ready:
            ready.drop(row_id)

    def _weigh(self, row_id: str, entry: LocalEntry, sign: int) -> None:
        if sign > 0:
            entry.weight = weight_of(row_id, entry)
        self.bytes += sign * entry.weight
        if entry.negative:
            self.negative_bytes += sign * entry.weight

    def __repr__(self) -> str:
        return f"<Segment {self.name} {len(self.entries)} entries, {self.bytes}/{self.limit_bytes} bytes>"
