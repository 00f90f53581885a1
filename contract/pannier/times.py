"""Points in time as people and programs write them <-> integers.

RFC 3339 text, integers in a group's unit and relative times (``-7d``) become integers. Nothing here reads a
clock: ``now`` is an argument. Stored digits are made in `pannier.keys`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pannier.errors import ValueRefused

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - only for formatting, where the zone is a constant 'Z'
_MICROSECOND = timedelta(microseconds=1)
_FRACTION_DIGITS = 6
_EXAMPLE = "such as 2013-01-01T05:00:00Z"


def parse_rfc3339(text: str) -> tuple[int, bool]:
    """Microseconds since the epoch (rounded down) and whether that is exact; the offset is required."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueRefused("InvalidTimestamp", f"is no RFC 3339 time with an offset, {_EXAMPLE}")
    day, clock, fraction, offset = match.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
        seconds_us = (moment - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise ValueRefused("InvalidTimestamp", f"is no point in time: {error}") from error
    micros = int(fraction[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0"))
    return seconds_us + micros, not fraction[_FRACTION_DIGITS:].strip("0")


def format_rfc3339(epoch_us: int) -> str:
    """RFC 3339 UTC with microseconds: ``2013-01-01T05:00:00.000000Z``."""
    moment = _EPOCH_NAIVE + timedelta(microseconds=epoch_us)
    return f"{moment.isoformat(timespec='microseconds')}Z"
