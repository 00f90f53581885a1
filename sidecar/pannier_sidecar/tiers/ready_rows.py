"""Rows that are spliced without a look at their entries: bytes by id, each until its entry is due for one.

The hot path asks `until_us` once per read and then takes rows by plain lookups. Whatever L1 replaces, drops
or passes over when it makes room goes out of here first, so that the next read of it is noticed. It holds
found rows only, so that what counts as negative is never among them.

No step of it takes long: it holds `MOST_ROWS` at most, and what is due together leaves together.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

NEVER_US: Final = 1 << 62
MOST_ROWS: Final = 1 << 16
"""When there are as many, all of them go: those that are asked for are back at once."""
_TICK_BITS: Final = 18
TICK_US: Final = 1 << _TICK_BITS
"""Rows are due in ticks of a quarter of a second, rounded down: what is due within one need not come in."""


class ReadyRows:
    """The rows of one shape of one group."""

    __slots__ = ("_due", "_places", "_ticks", "rows", "until_us")

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._due: dict[int, dict[str, None]] = {}
        """By tick: what was due then as it came in; some have left or come anew since. The collector would
        walk through lists or sets of ids again and again; dicts of plain values it does not see."""
        self._ticks: list[int] = []
        """The ticks of it, as a heap."""
        self._places = 0
        self.until_us = NEVER_US
        """Until then every row in here is good."""

    def add(self, row_id: str, row: bytes, due_us: int) -> None:
        """Take in a row that is good until its entry is due for a look."""
        if self._places >= MOST_ROWS:
            self.clear()
        tick = due_us >> _TICK_BITS
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = {}
            heappush(self._ticks, tick)
            self.until_us = self._ticks[0] << _TICK_BITS
        self._places -= len(due)
        due[row_id] = None
        self._places += len(due)
        self.rows[row_id] = row

    def drop(self, row_id: str) -> None:
        """Its entry changed or left."""
        self.rows.pop(row_id, None)

    def let_go(self, now_us: int) -> None:
        """Give up every row that is due."""
        now_tick = now_us >> _TICK_BITS
        while self._ticks and self._ticks[0] <= now_tick:
            due = self._due.pop(heappop(self._ticks))
            self._places -= len(due)
            for row_id in due:
                self.rows.pop(row_id, None)
        self.until_us = self._ticks[0] << _TICK_BITS if self._ticks else NEVER_US

    def clear(self) -> None:
        """Hold nothing."""
        self.rows.clear()
        self._due.clear()
        self._ticks.clear()
        self._places = 0
        self.until_us = NEVER_US

    def hand_over(self) -> dict[str, bytes]:
        """Hold nothing; gives what was held, to be freed by the caller as slowly as it likes."""
        rows, self.rows = self.rows, {}
        self.clear()
        return rows

    def __repr__(self) -> str:
        return f"<ReadyRows {len(self.rows)} rows until {self.until_us}>"
