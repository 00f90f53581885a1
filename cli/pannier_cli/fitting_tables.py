"""Tables that never cut or split a name: rows below each other where they fit, else a block for each row.

A block is one ``name  value`` line per cell. What is longer than the terminal is left to it to wrap,
so that it can still be copied whole; print with ``soft_wrap=True``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
_PROSE_WIDTH: Final = 28
"""Columns that sentences need to be read with pleasure."""


class FittingTable:
    """Rows of console markup. Columns of ``prose`` may wrap between words; all others stay on one line.

    ``narrow`` is printed instead of blocks where the caller knows a better form for a narrow terminal.
    """

    def __init__(
        self, *columns: str, prose: Collection[str] = (), narrow: Sequence[RenderableType] | None = None
    ) -> None:
        self._columns = columns
        self._prose = frozenset(prose)
        self._narrow = narrow
        self._rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row with a cell for each column."""
        self._rows.append(tuple(map(Text.from_markup, cells)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [index for index in range(len(self._columns)) if self._is_used(index)]
        if self._width(shown) <= options.max_width:
            yield self._table(shown)
        elif self._narrow is not None:
            yield from self._narrow
        else:
            for number, row in enumerate(self._rows):
                if number:
                    yield ""
                yield from block((self._columns[index], row[index]) for index in shown if row[index].plain)

    def _is_used(self, index: int) -> bool:
        """Whether a column says anything; one that is empty in every row only takes room."""
        return not self._rows or any(row[index].plain for row in self._rows)

    def _width(self, shown: Sequence[int]) -> int:
        widths = [self._width_of(index) for index in shown]
        return sum(widths) + _GAP * (len(widths) - 1)

    def _width_of(self, index: int) -> int:
        """What a column needs: its longest cell, of prose a readable part that splits no word."""
        texts = [self._columns[index], *(row[index].plain for row in self._rows)]
        widest = max(map(cell_len, texts))
        if self._columns[index] not in self._prose:
            return widest
        longest_word = max(cell_len(word) for text in texts for word in [*text.split(), ""])
        return min(widest, max(_PROSE_WIDTH, longest_word))

    def _table(self, shown: Sequence[int]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for index in shown:
            name = self._columns[index]
            table.add_column(Text(name), no_wrap=name not in self._prose, overflow="fold")
        for row in self._rows:
            table.add_row(*(row[index] for index in shown))
        return table

    def __repr__(self) -> str:
        return f"<FittingTable {', '.join(self._columns)}: {len(self._rows)} rows>"


def block(cells: Iterable[tuple[str, Text]]) -> list[RenderableType]:
    """One ``name  value`` line per cell, values below each other."""
    pairs = list(cells)
    widest = max((cell_len(name) for name, _ in pairs), default=0) + _GAP
    return [one_line(Text(name.ljust(widest), style="bold"), value) for name, value in pairs]


def one_line(*parts: Text) -> Text:
    """Join texts to a line that is neither wrapped nor cut."""
    line = Text(no_wrap=True, overflow="ignore")
    for part in parts:
        line.append_text(part)
    return line
