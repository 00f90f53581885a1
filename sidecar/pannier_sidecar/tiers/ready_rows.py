"""Rows that are spliced without a look at their entries: bytes by id, each until its entry is due for one.

The hot path asks `until_us` once per read and then takes rows by plain lookups. Whatever L1 replaces or drops
goes out of here first. It holds found rows only, so that what counts as negative is never among them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

NEVER_US: Final = 1 << 62


class ReadyRows:
    """The rows of one shape of one group."""

    __slots__ = ("_due", "rows", "until_us")

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._due: list[tuple[int, str]] = []
        """When each row was due as it came in, the next one first; some have left or come anew since."""
        self.until_us = NEVER_US
        """Until then every row in here is good."""

    def add(self, row_id: str, row: bytes, due_us: int) -> None:
        """Take in a row that is good until its entry is due for a look."""
        self.rows[row_id] = row
        heappush(self._due, (due_us, row_id))
        self.until_us = self._due[0][0]

    def drop(self, row_id: str) -> None:
        """Its entry changed or left."""
        self.rows.pop(row_id, None)

    def let_go(self, now_us: int) -> None:
        """Give up every row that is due."""
        due = self._due
        while due and due[0][0] <= now_us:
            self.rows.pop(heappop(due)[1], None)
        self.until_us = due[0][0] if due else NEVER_US

    def clear(self) -> None:
        """Hold nothing."""
        self.rows.clear()
        self._due.clear()
        self.until_us = NEVER_US

    def __repr__(self) -> str:
        return f"<ReadyRows {len(self.rows)} rows until {self.until_us}>"
