"""Who has to leave L1 when room is needed: CLOCK, the second-chance policy, over the ids of one group.

The cache asks for a victim and drops it; nothing here holds entries or counts bytes. Reads are counted by the
hit path in the entry itself, so a hit never touches the ring (Corbato, "A Paging Experiment with the Multics
System", 1968).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from pannier_sidecar.tiers.l1_entry import LocalEntry

_SLACK: Final = 1024
"""Places that may be out of date before the ring is made anew."""


class SecondChance:
    """A ring of ids; the hand passes those that were read since it last came by."""

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring: deque[str] = deque()

    def add(self, row_id: str, entries: Mapping[str, LocalEntry], negative: int) -> None:
        """Give a new id its place, the last that the hand reaches."""
        self._ring.append(row_id)
        if len(self._ring) > 2 * len(entries) + _SLACK:
            self._ring = deque(key for key, entry in entries.items() if entry.negative == negative)

    def victim(self, entries: Mapping[str, LocalEntry], negative: int, now_us: int) -> str | None:
        """The id to drop; None if the ring holds none. Outdated places are given up on the way."""
        ring = self._ring
        while ring:
            row_id = ring.popleft()
            entry = entries.get(row_id)
            if entry is None or entry.negative != negative:
                continue
            if entry.reads == entry.swept_reads or now_us >= entry.stale_until_us:
                return row_id
            entry.swept_reads = entry.reads
            ring.append(row_id)
        return None

    def __len__(self) -> int:
        return len(self._ring)

    def __repr__(self) -> str:
        return f"<SecondChance {len(self._ring)} places>"
