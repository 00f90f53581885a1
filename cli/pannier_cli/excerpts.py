"""The line of a manifest that a problem means, with a caret under the field or its value. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_LONGEST_LINE: Final = 240
_STEP: Final = re.compile(r"\[\d+\]|[^.\[\]]+")
_VALUE: Final = re.compile(r"[^\s#{\[|>&,}\]](?:[^#,}\]]|(?<=\S)#)*")
"""A scalar on one line; `` #`` begins a comment, ``a#b`` does not."""


def excerpt(lines: Sequence[str], line: int, path: str) -> list[str]:
    """Return the source line with its number, and a line with the caret; nothing if the line is unknown."""
    if not 1 <= line <= len(lines):
        return []
    # a tab is shown one column wide, or the caret would miss; a line may hold megabytes
    text = lines[line - 1].rstrip("\n").replace("\t", " ")
    start, length = span(text, path)
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}…"
        start, length = min(start, _LONGEST_LINE), min(length, max(_LONGEST_LINE - start, 1))
    gutter = f"{line:>5} | "
    return [f"{gutter}{text}", f"{' ' * (len(gutter) - 2)}| {' ' * start}{'^' * length}"]


def span(text: str, path: str) -> tuple[int, int]:
    """Where in a line the problem lies: a field's value, else its name, else the whole text."""
    names = [step for step in _STEP.findall(path) if not step.startswith("[")]
    name = re.escape(names[-1]) if names else None
    key = re.search(rf"(?<![\w-])[\"']?{name}[\"']?\s*:\s*", text) if name else None
    if key is None:
        bare = text.strip()
        return text.index(bare) if bare else 0, max(len(bare), 1)
    value = _VALUE.match(text, key.end())
    if value is not None:
        return key.end(), len(value.group().rstrip())
    return key.start(), len(key.group().rstrip())
