"""Where output goes: rich consoles for people, plain JSON for programs.

Colours appear on terminals only, and never with ``NO_COLOR``. Consoles are made when used, so that they
follow a redirected standard output.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import IO, Any, Final

import msgspec
from rich.console import Console

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PIPED_WIDTH = 160
"""Columns of a table that goes to a file or a pipe; ``COLUMNS`` overrides it."""


def console() -> Console:
    """Return a console on standard output."""
    return _console(sys.stdout)


def error_console(file: IO[Any] | None = None) -> Console:
    """Return a console on standard error."""
    return _console(file or sys.stderr)


def visible(text: str) -> str:
    """Text with its control characters escaped: what came from elsewhere must not steer the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def print_json(document: Any) -> None:
    """Print one JSON document on standard output, indented, ending in a newline."""
    sys.stdout.write(json_text(document, indent=2) + "\n")


def json_text(document: Any, indent: int | None = None) -> str:
    """One JSON document as text that standard output can hold: escaped where its encoding is not UTF-8."""
    encoded = msgspec.json.encode(document)
    text = (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return text if text.isascii() or encoding == "utf-8" else json.dumps(document, indent=indent)


def _console(file: IO[Any]) -> Console:
    width = PIPED_WIDTH if not file.isatty() and "COLUMNS" not in os.environ else None
    return Console(file=file, width=width, highlight=False, soft_wrap=False)
