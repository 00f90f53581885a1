"""Entries waiting for L2: one per id, coalesced by merge, bounded in number and bytes. It sends nothing."""

from __future__ import annotations

from typing import NamedTuple

from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey

Entry = Record | Timeline

_OVERHEAD_BYTES = 200
"""Of an entry or register in memory, besides its values."""


class QueueLimits(NamedTuple):
    """How much may wait, of backfills and of writes each."""

    entries: int
    bytes: int


DEFAULT_LIMITS = QueueLimits(10_000, 64 * 1024 * 1024)


class Waiting(NamedTuple):
    """An entry on its way to L2."""

    key: RowKey
    entry: Entry
    size: int
    since_us: int


class BoundedQueue:
    """Entries by address, oldest first, with a bound in entries and bytes."""

    def __init__(self, limits: QueueLimits) -> None:
        self.waiting: dict[str, Waiting] = {}
        self._limits = limits
        self._bytes = 0

    def put(self, address: str, key: RowKey, entry: Entry, now_us: int) -> list[Waiting]:
        """Add to the end, united with what waits under the address; return what had to make room."""
        before = self.take(address)
        united = entry if before is None else merged(before.entry, entry, key.plan)
        waiting = Waiting(key, united, _size(united), now_us)
        self.waiting[address] = waiting
        self._bytes += waiting.size
        surplus = []
        while len(self.waiting) > self._limits.entries or self._bytes > self._limits.bytes:
            oldest = self.take(next(iter(self.waiting)))
            if oldest is not None:
                surplus.append(oldest)
        return surplus

    def take(self, address: str) -> Waiting | None:
        """Remove what waits under the address."""
        waiting = self.waiting.pop(address, None)
        if waiting is not None:
            self._bytes -= waiting.size
        return waiting

    def to_the_end(self, address: str, waiting: Waiting) -> None:
        """Let others go first, unless it has been replaced meanwhile."""
        if self.waiting.get(address) is waiting:
            self.waiting[address] = self.waiting.pop(address)

    def __repr__(self) -> str:
        return f"<BoundedQueue {len(self.waiting)} entries, {self._bytes} bytes, {self._limits}>"


def merged(a: Entry | None, b: Entry, plan: GroupPlan) -> Entry:
    """The newer of two states of one id; where the shape changed (a group declared anew), the later."""
    if isinstance(b, Timeline):
        return timeline.merge(a if isinstance(a, Timeline) else None, b, plan.register_capacity)
    return record.merge(a if isinstance(a, Record) else None, b)


def _size(entry: Entry) -> int:
    records = (entry,) if isinstance(entry, Record) else entry.registers.values()
    return _OVERHEAD_BYTES + sum(_OVERHEAD_BYTES + sum(map(len, one.values.values())) for one in records)
