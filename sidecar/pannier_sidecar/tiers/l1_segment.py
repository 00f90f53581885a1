"""One group's part of L1: its entries, their bytes, the two orders in which they leave, and the group's door.

It counts and drops what it is told to; when there is too much of it is decided in
`pannier_sidecar.tiers.l1_local`.
"""

from __future__ import annotations

from typing import Final

from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.tiers.eviction import S3Fifo
from pannier_sidecar.tiers.fingerprints import Fingerprints
from pannier_sidecar.tiers.l1_entry import LOOK_NOW, LocalEntry, weight_of
from pannier_sidecar.tiers.l1_table import EntryTable
from pannier_sidecar.tiers.ready_rows import ReadyRows
from pannier_sidecar.tiers.terms import Terms

MAX_READY: Final = 4
"""Shapes of one group whose rows wait ready."""
DOOR_PLACES: Final = 4
"""Of the door, per entry that the group has room for."""
_MISSING_FROM: Final = 1 << 50


class HeldBytes:
    """What all segments hold together."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<HeldBytes {self.bytes}>"


class Segment:
    """One group's part of L1."""

    __slots__ = (
        "_all_held",
        "_door",
        "_ready",
        "bytes",
        "entries",
        "evictions",
        "found",
        "limit_bytes",
        "missing",
        "name",
        "stores",
        "terms",
        "turned_away",
    )

    def __init__(self, name: str, terms: Terms, all_held: HeldBytes | None = None) -> None:
        self.name = name
        self.terms = terms
        """What entries are served under without a second look; changed by `renew`."""
        self.entries = EntryTable()
        self.found = S3Fifo()
        self.missing = S3Fifo(_MISSING_FROM)
        self.limit_bytes = 0
        self.bytes = 0
        self.stores = 0
        self.evictions = 0
        self.turned_away = 0
        self._all_held = all_held or HeldBytes()
        self._door: Fingerprints | None = None
        self._ready: list[ReadyRows] = []

    @property
    def negative_bytes(self) -> int:
        """Bytes of entries that say there is nothing."""
        return self.missing.bytes

    @property
    def fullness(self) -> float:
        """How much of its share the group takes."""
        return self.bytes / max(self.limit_bytes, 1)

    def keep_ready(self) -> ReadyRows | None:
        """Give out a place for ready rows; what is replaced or dropped here goes out of it too.

        There are few of them, since each costs a little at every change; None = there are enough.
        """
        if len(self._ready) >= MAX_READY:
            return None
        self._ready.append(ReadyRows())
        return self._ready[-1]

    def forget_ready(self) -> list[dict[str, bytes]]:
        """The places given out are not used any more; gives what is left in them, to be freed."""
        left = [ready.rows for ready in self._ready]
        self._ready = []
        return left

    def admits(self, row_id: str, entry: LocalEntry) -> bool:
        """Whether a loaded entry comes in where a key is admitted on its second load.

        The first one is remembered in two bytes, for about as many other loads as the door has places
        (Carlsson and Eager, "Worst-case Bounds and Optimized Cache on M-th Request Cache Insertion Policies",
        2018, on why the second request is the one to wait for).
        """
        if row_id in self.entries:
            return True
        door = self._door = self._door or Fingerprints()
        if door.knows(row_id):
            return True
        held = len(self.entries)
        mean_bytes = self.bytes // held if held else weight_of(row_id, entry)
        door.fit(DOOR_PLACES * self.limit_bytes // max(mean_bytes, 1))
        door.add(row_id)
        self.turned_away += 1
        return False

    def renew(self, terms: Terms) -> list[dict[str, bytes]]:
        """Look at every entry once more before it is served; nothing is dropped. Gives what waited ready."""
        self.terms = terms
        return [ready.hand_over() for ready in self._ready]

    def terms_of(self, plan: GroupPlan, epoch: int) -> Terms:
        """The terms of an entry that was rendered under a plan, and whose load began in an epoch."""
        now = self.terms
        return now if now.plan is plan and epoch >= now.epoch else Terms(plan, min(epoch, now.epoch))

    def reconsider(self, entry: LocalEntry, now_us: int, *, can_refresh: bool) -> None:
        """Let an entry of an older epoch count as soft-expired, once there is where to refresh it from."""
        if entry.terms.epoch < self.terms.epoch:
            if not can_refresh:
                return
            entry.soft_us = min(entry.soft_us, now_us)
            entry.check_at_us = LOOK_NOW
        entry.terms = self.terms_of(entry.plan, self.terms.epoch)

    def put(self, row_id: str, entry: LocalEntry) -> None:
        """Hold an entry in place of what is there."""
        entry.weight = weight_of(row_id, entry)
        order = self._order(entry)
        old = self.entries.get(row_id)
        before = 0 if old is None else old.weight
        if old is not None and old.negative == entry.negative:
            order.replace(old, entry)
        else:
            if old is not None:
                self._order(old).leave(old)
            order.enter(row_id, entry)
            self.stores += 1
        self.entries.put(row_id, entry)
        self._count_bytes(entry.weight - before)
        self._unready(row_id)
        order.tidy(self.entries)

    def drop(self, row_id: str) -> None:
        """Hold nothing of this id; its place in the order goes when the hand finds it."""
        old = self.entries.pop(row_id)
        if old is not None:
            self._order(old).leave(old)
            self._count_bytes(-old.weight)
            self._unready(row_id)

    def grow(self, entry: LocalEntry, by: int) -> None:
        """Count bytes that a held entry took on after it was put (the row of another shape)."""
        entry.weight += by
        self._order(entry).weigh(entry, by)
        self._count_bytes(by)

    def evict(self, order: S3Fifo, now_us: int) -> bool:
        """Drop one entry; False if there is none to be found in this order now."""
        victim = order.victim(self.entries, now_us, self._unready)
        if victim is None:
            return False
        self.drop(victim)
        self.evictions += 1
        return True

    def clear(self) -> list[dict[str, LocalEntry]]:
        """Hold nothing; gives what was held, to be freed by the caller as slowly as it likes."""
        for ready in self._ready:
            ready.clear()
        self._count_bytes(-self.bytes)
        self.found, self.missing = S3Fifo(), S3Fifo(_MISSING_FROM)
        return self.entries.dicts()

    def _order(self, entry: LocalEntry) -> S3Fifo:
        return self.missing if entry.negative else self.found

    def _unready(self, row_id: str) -> None:
        for ready in self._ready:
            ready.drop(row_id)

    def _count_bytes(self, by: int) -> None:
        self.bytes += by
        self._all_held.bytes += by

    def __repr__(self) -> str:
        return f"<Segment {self.name} {len(self.entries)} entries, {self.bytes}/{self.limit_bytes} bytes>"
