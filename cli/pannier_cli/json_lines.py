"""Rows to write from JSON lines, cut into batches that the sidecar takes."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

MAX_WRITES: Final = 500
"""The sidecar's limit of writes per request."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Half of the sidecar's limit of a body, measured on the lines."""


def writes_of_lines(lines: Iterable[str | bytes], group: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each line's write with ``group`` filled in, and the line's size; blank lines are skipped."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            write = msgspec.json.decode(line.removeprefix(BOM_UTF8) if isinstance(line, bytes) else line)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise _bad_line(number, f"is not JSON: {fault}") from fault
        except RecursionError as fault:
            raise _bad_line(number, "nests too deeply") from fault
        if not isinstance(write, dict):
            raise _bad_line(number, "is not a JSON object")
        if write.setdefault("group", group) != group:
            raise _bad_line(number, f"names the group {write['group']!r}, not {group!r}")
        yield write, len(line)


def batches(writes: Iterable[tuple[dict[str, Any], int]]) -> Iterator[list[dict[str, Any]]]:
    """Cut writes into lists within the limits of one request, in their order."""
    batch: list[dict[str, Any]] = []
    size = 0
    for write, length in writes:
        if batch and (len(batch) == MAX_WRITES or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(write)
        size += length
    if batch:
        yield batch


def _bad_line(number: int, what: str) -> CommandFailed:
    return CommandFailed(
        f"line {number} {what}",
        exit_code=ExitCode.REFUSED,
        hint='One write per line: {"id": "1234", "features": {...}}. '
        "What was written before it is counted; of its own batch nothing was sent.",
    )
