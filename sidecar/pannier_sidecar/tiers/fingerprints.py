"""Which ids came by of late, in two bytes each: a table of fingerprints that ages by being overwritten.

It may know an id that never came (about one in 30,000) and forgets one whose place another id took; it never
grows past `MOST_PLACES`, and neither the collector nor a resize holds it up.
"""

from __future__ import annotations

from array import array
from typing import Final

LEAST_PLACES: Final = 1 << 10
MOST_PLACES: Final = 1 << 23
"""16 MiB; doubling up to there takes a few milliseconds."""
_PLACE_BITS_FROM: Final = 17
"""Bits of the hash from here up say where, the lowest sixteen say who."""


class Fingerprints:
    """One fingerprint per place, and an id has one place."""

    __slots__ = ("_mask", "_table")

    def __init__(self) -> None:
        self._table = array("H", bytes(2 * LEAST_PLACES))
        self._mask = LEAST_PLACES - 1

    def fit(self, places: int) -> None:
        """Double once if there are fewer places than this; what is known stays known."""
        if len(self._table) < min(places, MOST_PLACES):
            self._table += self._table  # an id's new place has one more bit, so either half may be it
            self._mask = len(self._table) - 1

    def knows(self, row_id: str) -> bool:
        """Whether the id was added, and its place not taken since."""
        hashed = hash(row_id)
        return self._table[hashed >> _PLACE_BITS_FROM & self._mask] == hashed & 0xFFFF | 1

    def add(self, row_id: str) -> None:
        """Know an id from now on."""
        hashed = hash(row_id)
        self._table[hashed >> _PLACE_BITS_FROM & self._mask] = hashed & 0xFFFF | 1

    def forget(self, row_id: str) -> None:
        """Do not know an id that is known."""
        self._table[hash(row_id) >> _PLACE_BITS_FROM & self._mask] = 0

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<Fingerprints {len(self)} places>"
