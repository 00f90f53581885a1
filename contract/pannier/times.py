"""Points in time as people and programs write them <-> integers.

RFC 3339 text, integers in a group's unit and relative times (``-7d``) become integers. Nothing here reads a
clock: ``now`` is an argument. Stored digits are made in `pannier.keys`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pannier.errors import ValueRefused

EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, what RFC 3339 can say, in microseconds since the epoch."""

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_RELATIVE = re.compile(r"([+-])([0-9]{1,18})([smhdw])")
_INTEGER = re.compile(r"[0-9]{1,18}")
_STEP_US = {
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_UNIT_NAME = {1: "microseconds", 1_000: "milliseconds", 1_000_000: "seconds"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - only for formatting, where the zone is a constant 'Z'
_MICROSECOND = timedelta(microseconds=1)
_FRACTION_DIGITS = 6
_EXAMPLE = "2013-01-01T05:00:00Z"


def parse_rfc3339(text: str, path: str = "") -> tuple[int, bool]:
    """Microseconds since the epoch (rounded down) and whether that is exact; the offset is required."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise _refused(f"wants an RFC 3339 time with an offset, such as {_EXAMPLE}, got {_shown(text)}", path)
    day, clock, fraction, offset = match.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        why = "the offset is a day or more" if "offset" in str(error) else error
        raise _refused(f"{_shown(text)} is no point in time: {why}", path) from error
    micros = int(fraction[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0"))
    epoch_us = (moment - _EPOCH) // _MICROSECOND + micros
    if not EARLIEST_US <= epoch_us <= LATEST_US:
        raise _refused(f"{_shown(text)} lies outside the years 1 to 9999 of UTC", path)
    return epoch_us, not fraction[_FRACTION_DIGITS:].strip("0")


def format_rfc3339(epoch_us: int) -> str:
    """RFC 3339 UTC with microseconds: ``2013-01-01T05:00:00.000000Z``."""
    moment = _EPOCH_NAIVE + timedelta(microseconds=epoch_us)
    return f"{moment.isoformat(timespec='microseconds')}Z"


def bound_in_unit(value: int | str, *, unit_us: int, now_us: int, round_up: bool, path: str = "") -> int:
    """``since`` (rounded up) or ``until`` (rounded down) of a read, as an integer in the group's unit.

    Takes an integer in that unit (also as digits, from a query), RFC 3339, ``now`` and times relative to
    it (``-90s``, ``-12h``, ``-7d``; s, m, h, d, w). Rounding inwards keeps the range inclusive: what lies
    between two ticks of the unit cannot be stored.
    """
    integer = _integer(value, unit_us, path)
    if integer is not None:
        return integer
    text = str(value)
    relative = _RELATIVE.fullmatch(text)
    if text == "now" or relative:
        epoch_us, exact = now_us + (_offset_us(relative) if relative else 0), True
    else:
        try:
            epoch_us, exact = parse_rfc3339(text, path)
        except ValueRefused as refusal:
            hint = f"or an integer in {_UNIT_NAME[unit_us]}, or relative such as -7d, -12h, -90s"
            raise _refused(f"{refusal.message}; {hint}", path) from refusal
    ticks, rest = divmod(epoch_us, unit_us)
    return ticks + 1 if round_up and (rest or not exact) else ticks


def exact_in_unit(value: int | str, *, unit_us: int, path: str = "") -> int:
    """Take the timestamp of a write: an integer in the unit, or RFC 3339 that the unit holds exactly."""
    integer = _integer(value, unit_us, path)
    if integer is not None:
        return integer
    try:
        epoch_us, exact = parse_rfc3339(str(value), path)
    except ValueRefused as refusal:
        raise _refused(f"{refusal.message}; or an integer in {_UNIT_NAME[unit_us]}", path) from refusal
    ticks, rest = divmod(epoch_us, unit_us)
    if rest or not exact:
        raise _refused(
            f"{_shown(value)} is finer than this group's unit, {_UNIT_NAME[unit_us]}; round it", path
        )
    return ticks


def event_time_us(value: int | str, path: str = "") -> int:
    """An event time: integer microseconds since the epoch, or RFC 3339."""
    epoch_us = exact_in_unit(value, unit_us=1, path=path)
    if not 0 <= epoch_us <= LATEST_US:
        raise _refused(f"{_shown(value)} lies outside the years 1970 to 9999; is it in microseconds?", path)
    return epoch_us


def _integer(value: int | str, unit_us: int, path: str) -> int | None:
    """The integer that was given as such; None where the text is of another form."""
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else None
    if type(value) is not int:
        raise _refused(f"wants an integer in {_UNIT_NAME[unit_us]} or a string, got {_shown(value)}", path)
    return value


def _offset_us(relative: re.Match[str]) -> int:
    sign, count, step = relative.groups()
    return int(f"{sign}{count}") * _STEP_US[step]


def _shown(value: object) -> str:
    """The start of what came, as plain ASCII."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}..."  # noqa: PLR2004 - enough to recognise it by


def _refused(message: str, path: str) -> ValueRefused:
    return ValueRefused("InvalidTimestamp", message, path)
