"""Groups that had to forget writes: what L2 says of their ids without knowing a revision is a miss.

The background writer of L2 remembers writes by id until L2 has them (`pannier_sidecar.backfill`). Where there
are too many of them, one revision for the whole group stands in for those that went.
"""

from __future__ import annotations

from typing import NamedTuple

from pannier_sidecar.entry.record import READ_MARGIN_US, Record
from pannier_sidecar.entry.timeline import Timeline


class _Floor(NamedTuple):
    revision: int
    since_us: int


class Floors:
    """The floors of one sidecar, by cache prefix."""

    def __init__(self) -> None:
        self._floors: dict[str, _Floor] = {}

    def lift(self, prefix: str, revision: int, since_us: int) -> None:
        """Forget a write of this revision, remembered ``since_us``; a floor ends as a write would."""
        held = self._floors.get(prefix, _Floor(0, 0))
        self._floors[prefix] = _Floor(max(held.revision, revision), max(held.since_us, since_us))

    def hides(self, prefix: str, entry: Record | Timeline, now_us: int, kept_us: int) -> bool:
        """Whether an entry of L2 may lack what was forgotten; a write is remembered for ``kept_us``."""
        floor = self._floors.get(prefix)
        if floor is None:
            return False
        if now_us >= floor.since_us + kept_us:
            del self._floors[prefix]
            return False
        return _knows_until(entry) < floor.revision

    def __len__(self) -> int:
        return len(self._floors)

    def __repr__(self) -> str:
        return f"<Floors {self._floors}>"


def _knows_until(entry: Record | Timeline) -> int:
    """The revision up to which the entry is sure to know of every write of its id."""
    if isinstance(entry, Record):
        return max(entry.revision, entry.loaded_at_us - READ_MARGIN_US)
    return entry.as_of
