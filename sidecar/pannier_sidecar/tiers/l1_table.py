"""A group's entries by id. Growing holds nobody up: one dict while it is small, then many small ones.

A dict that grows moves all it holds at once, some 40 ms at a million entries. So past `FEW` entries new ones
go into one of `SHARDS` dicts, and each change moves a few of the old ones there, until the one dict is empty.
Small groups pay nothing for this: their `get` is the dict's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from pannier_sidecar.tiers.l1_entry import LocalEntry

FEW: Final = 40_000
"""Entries in one dict: the next doubling would move them in a few milliseconds."""
SHARDS: Final = 64
MOVES: Final = 8
"""Entries moved per change while the one dict is being emptied."""
_SHARD_BITS_FROM: Final = 24
"""The lowest bits of a hash say where in a dict; those that say which dict must be others."""


class Entries(Protocol):
    """Entries by id, for who only looks."""

    def __getitem__(self, row_id: str, /) -> LocalEntry:
        """Give the entry of an id that is held."""
        ...


class EntryTable:
    """Entries by id; ``get`` is what the hot path calls."""

    __slots__ = ("_count", "_few", "_shards", "get")

    get: Callable[[str], LocalEntry | None]

    def __init__(self) -> None:
        self._few: dict[str, LocalEntry] = {}
        self._shards: tuple[dict[str, LocalEntry], ...] = ()
        self._count = 0
        self.get = self._few.get

    def put(self, row_id: str, entry: LocalEntry) -> None:
        """Hold an entry in place of what is there."""
        if not self._shards:
            self._few[row_id] = entry
            self._count = len(self._few)
            if self._count > FEW:
                self._shards = tuple({} for _ in range(SHARDS))
                self.get = self._get_of_many
            return
        moved = self._few.pop(row_id, None)
        self._count += self._place(row_id, entry) - (moved is not None)
        self._move()

    def pop(self, row_id: str) -> LocalEntry | None:
        """Hold nothing of this id; gives what was held."""
        entry = self._few.pop(row_id, None)
        if entry is None and self._shards:
            entry = self._shard(row_id).pop(row_id, None)
        self._count -= entry is not None
        return entry

    def dicts(self) -> list[dict[str, LocalEntry]]:
        """All that is held, to be freed by the caller; this table is empty from now on."""
        held = [self._few, *self._shards]
        self._few, self._shards, self._count = {}, (), 0
        self.get = self._few.get
        return held

    def _get_of_many(self, row_id: str) -> LocalEntry | None:
        entry = self._shards[hash(row_id) >> _SHARD_BITS_FROM & SHARDS - 1].get(row_id)
        return entry if entry is not None or not self._few else self._few.get(row_id)

    def _shard(self, row_id: str) -> dict[str, LocalEntry]:
        return self._shards[hash(row_id) >> _SHARD_BITS_FROM & SHARDS - 1]

    def _place(self, row_id: str, entry: LocalEntry) -> int:
        """Put into the id's shard; gives how many entries it has more than before."""
        shard = self._shard(row_id)
        before = len(shard)
        shard[row_id] = entry
        return len(shard) - before

    def _move(self) -> None:
        for _ in range(min(MOVES, len(self._few))):
            self._place(*self._few.popitem())

    def __getitem__(self, row_id: str) -> LocalEntry:
        entry = self.get(row_id)
        if entry is None:
            raise KeyError(row_id)
        return entry

    def __contains__(self, row_id: str) -> bool:
        return self.get(row_id) is not None

    def __iter__(self) -> Iterator[str]:
        yield from self._few
        for shard in self._shards:
            yield from shard

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<EntryTable {self._count} entries in {1 + len(self._shards)} dicts>"
