"""Who has to leave L1 when room is needed: S3-FIFO, by bytes and with an eye on expiry, over one group's ids.

A new id waits in *small*, a tenth of the room. Read again before the hand reaches it, it moves to *main*,
where each read buys another round, up to `MOST_CHANCES`; else it leaves, and a *ghost* of it is kept, by
which it comes straight to main when it is loaded again. So a scan passes through small and pushes out nobody
(Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023).

The cache asks for a victim and drops it; nothing here holds entries. Reads are counted by the hot path in the
entry, so a hit never touches a queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pannier_sidecar.tiers.fingerprints import Fingerprints
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_table import EntryTable

SMALL_SHARE: Final = 0.1
MOST_CHANCES: Final = 3
PATIENCE: Final = 64
"""Steps of the hand after which the next one leaves however much it was read: where all are hot, one is as
good as another, and to pass a million of them at once would hold up everyone."""
MOST_STEPS: Final = 1_024
"""Steps of the hand, outdated places counted, after which the search goes on at the next need."""
SLACK: Final = 1_024
"""Outdated places that need no tidying."""
_CHUNK: Final = 512
_MAIN: Final = 1 << 40
"""Places of main are numbered from here, so that a number says which queue it is of."""


class S3Fifo:
    """The order of one group's ids; ``numbered_from`` tells its places from those of another order."""

    __slots__ = ("_ghost", "_main", "_main_from", "_small", "bytes", "count", "small_bytes")

    def __init__(self, numbered_from: int = 0) -> None:
        self._main_from = numbered_from + _MAIN
        self._small = Places(numbered_from)
        self._main = Places(self._main_from)
        self._ghost = Fingerprints()
        self.bytes = 0
        self.small_bytes = 0
        self.count = 0

    def enter(self, row_id: str, entry: LocalEntry) -> None:
        """Give a new id its place."""
        if self._ghost.knows(row_id):
            self._ghost.forget(row_id)
            entry.place = self._main.append(row_id)
        else:
            entry.place = self._small.append(row_id)
        self.count += 1
        self.weigh(entry, entry.weight)

    def replace(self, old: LocalEntry, new: LocalEntry) -> None:
        """Let an entry take over the place of another of the same id, and what that one's reads bought."""
        new.place, new.chances, new.swept_reads = old.place, _chances(old), new.reads
        self.weigh(old, new.weight - old.weight)

    def leave(self, entry: LocalEntry) -> None:
        """An entry is dropped; its place goes when the hand finds it."""
        self.count -= 1
        self.weigh(entry, -entry.weight)

    def weigh(self, entry: LocalEntry, by: int) -> None:
        """Count bytes that an entry took on."""
        self.bytes += by
        if entry.place < self._main_from:
            self.small_bytes += by

    def victim(self, entries: EntryTable, now_us: int, passed: Callable[[str], None]) -> str | None:
        """The id to drop; None where there is none, or not within the steps of one search.

        Whoever is passed over is told to ``passed``. Expired entries go whatever was read of them.
        """
        for step in range(MOST_STEPS):
            is_small = len(self._small) > 0 and (
                self.small_bytes >= SMALL_SHARE * self.bytes or not len(self._main)
            )
            queue = self._small if is_small else self._main
            if not len(queue):
                return None
            number, row_id = queue.pop()
            entry = entries.get(row_id)
            if entry is None or entry.place != number:
                continue
            if now_us >= entry.stale_until_us:
                return row_id
            chances = _chances(entry)
            if not chances or step >= PATIENCE:
                if is_small:
                    self._ghost.fit(self.count)
                    self._ghost.add(row_id)
                return row_id
            self._pass(row_id, entry, chances, is_small=is_small)
            passed(row_id)
        return None

    def tidy(self, entries: EntryTable) -> None:
        """Give up some outdated places, where there are more of them than of others."""
        if len(self) <= 2 * self.count + SLACK:
            return
        queue = max(self._small, self._main, key=len)
        for _ in range(2):
            number, row_id = queue.pop()
            entry = entries.get(row_id)
            if entry is not None and entry.place == number:
                entry.place = queue.append(row_id)

    def _pass(self, row_id: str, entry: LocalEntry, chances: int, *, is_small: bool) -> None:
        if is_small:
            self.small_bytes -= entry.weight
            entry.chances = 0
        else:
            entry.chances = chances - 1
        entry.swept_reads = entry.reads
        entry.place = self._main.append(row_id)

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __repr__(self) -> str:
        return f"<S3Fifo {self.count} ids, {self.small_bytes}/{self.bytes} bytes in small>"


def _chances(entry: LocalEntry) -> int:
    """What the reads since the hand last passed, and those before, have bought an entry."""
    return min(entry.chances + entry.reads - entry.swept_reads, MOST_CHANCES)


class Places:
    """A queue of ids with numbered places.

    In chunks, as tuples: the collector gives up tuples of strings at first sight, while it would walk through
    a deque of a million ids again and again.
    """

    __slots__ = ("_front", "_middle", "_next", "_rear", "_taken")

    def __init__(self, numbered_from: int) -> None:
        self._front: list[str] = []
        """The ids to come next, the very next one last."""
        self._middle: deque[tuple[str, ...]] = deque()
        self._rear: list[str] = []
        self._taken = self._next = numbered_from

    def append(self, row_id: str) -> int:
        """Take in an id; gives the number of its place."""
        self._rear.append(row_id)
        if len(self._rear) == _CHUNK:
            self._middle.append(tuple(self._rear))
            self._rear.clear()
        self._next += 1
        return self._next - 1

    def pop(self) -> tuple[int, str]:
        """Take out the oldest place."""
        if not self._front:
            if self._middle:
                self._front.extend(reversed(self._middle.popleft()))
            else:
                self._front, self._rear = self._rear[::-1], []
        self._taken += 1
        return self._taken - 1, self._front.pop()

    def __len__(self) -> int:
        return self._next - self._taken

    def __repr__(self) -> str:
        return f"<Places {self._taken} to {self._next}>"
