"""The body of a read request, decoded once; what it means for a group is `pannier_sidecar.read_shape`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pannier.errors import Problem

MAX_READS: Final = 100
MAX_IDS_PER_READ: Final = 1_000
MAX_ROWS: Final = 5_000
MAX_TIMEOUT_MS: Final = 60_000
MAX_CONTEXT_BYTES: Final = 16 * 1024

Moment = int | str
"""A point in time as a request may say it: integer in the group's unit, RFC 3339, or relative (``-7d``)."""


class Read(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One group's part of a read request."""

    group: str
    ids: tuple[str, ...]
    features: tuple[str, ...] | None = None
    """None = all that are served."""
    limit: int | None = None
    since: Moment | None = None
    until: Moment | None = None
    max_age_seconds: float | None = None
    """Rows whose event time is older are marked ``outdated``."""
    context: dict[str, Any] | None = None
    """What a feature server may compute with beside the id; only groups that are computed take one."""


class ReadRequest(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The body of ``POST /v1/features/read``."""

    reads: tuple[Read, ...]
    timeout_ms: int | None = None
    """Budget of the whole request; what is not back in time is answered ``unknown``."""
    explain: bool = False


read_decoder: Final = msgspec.json.Decoder(ReadRequest)
"""Decode a body; raises `msgspec.DecodeError` (no JSON) or `msgspec.ValidationError` (wrong shape)."""


def is_timeout(timeout_ms: int | None) -> bool:
    """Whether a request may ask for this budget; None = the sidecar's own."""
    return timeout_ms is None or 0 < timeout_ms <= MAX_TIMEOUT_MS


def request_fault(request: ReadRequest) -> Problem | None:
    """What makes a whole request unanswerable, whatever its reads say."""
    if not request.reads:
        return Problem("reads", "NoReads", "is empty; a request needs at least one read")
    if len(request.reads) > MAX_READS:
        return Problem("reads", "TooManyReads", f"are {len(request.reads)}; at most {MAX_READS} are taken")
    rows = sum(len(read.ids) for read in request.reads)
    if rows > MAX_ROWS:
        return Problem(
            "reads", "TooManyRows", f"ask for {rows} rows; at most {MAX_ROWS} are answered at once"
        )
    if not is_timeout(request.timeout_ms):
        return Problem(
            "timeout_ms", "OutOfRange", f"is {request.timeout_ms}; it must be 1 to {MAX_TIMEOUT_MS}"
        )
    return None
