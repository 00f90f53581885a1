"""Keys of the stored rows and of the shared cache: built and parsed here, nowhere else.

L3: ``pk`` = ``<groupName>#<id>``, ``sk`` = ``null`` for records, zero-padded digits for timelines, then
``#<tie-breaker>``. Redis: ``pn<format>:<namespace>/<groupName>:{<id>}``, its lease with ``:lease`` behind.
"""

from __future__ import annotations

import hashlib

from pannier.errors import KeyRefused

RECORD_SORT_KEY = "null"
FENCE_SORT_KEY = "~"
"""Sorts above every digit, so the newest-first query of a load returns it for nothing."""
LOWEST_SORT_KEY = "0"
HIGHEST_SORT_KEY = "~"
EMPTY_RANGE = ("!", "!")
"""Bounds below every digit: a range that every store takes and that holds nothing."""
TIE_BREAKER_MAX_BYTES = 512
CACHE_FORMAT = 1
"""Changes with the envelope of cached entries, so that releases with different envelopes never meet."""

_INT64_OFFSET = 1 << 63
_INT64_DIGITS = 20
_TABLE_NAME_MAX = 255
_TABLE_HASH_DIGITS = 16
_LEASE_SUFFIX = ":lease"
UNIT_MICROSECONDS = {"Seconds": 1_000_000, "Milliseconds": 1_000, "Microseconds": 1}
"""Microseconds in one tick of a group's unit."""
DEFAULT_WIDTH = {"Seconds": 10, "Milliseconds": 13, "Microseconds": 16}
"""Digits of a stored timestamp where the spec names none: enough until the year 2286."""


def partition_key(group_name: str, row_id: str) -> str:
    """``<groupName>#<id>``; a group name holds no ``#``, an id may."""
    return f"{group_name}#{row_id}"


def parse_partition_key(stored: str) -> tuple[str, str]:
    """Split at the first ``#`` into group name and id."""
    group_name, separator, row_id = stored.partition("#")
    if not separator:
        raise KeyRefused("NotAPartitionKey", f"{stored!r} has no '#' between group name and id")
    return group_name, row_id


def check_id(row_id: str, max_bytes: int, path: str = "id") -> str:
    """Accept an id as bytes: any Unicode but lone surrogates, not empty, at most ``max_bytes`` of UTF-8."""
    try:
        size = len(row_id) if row_id.isascii() else len(row_id.encode())
    except UnicodeEncodeError as error:
        raise KeyRefused("InvalidId", "holds a lone surrogate, which is no Unicode text", path) from error
    if not size:
        raise KeyRefused("InvalidId", "is empty; an id needs at least one character", path)
    if size > max_bytes:
        raise KeyRefused("IdTooLong", f"is {size} bytes long; this group takes at most {max_bytes}", path)
    return row_id


def timestamp_digits(timestamp: int, width: int, path: str = "timestamp") -> str:
    """Zero-padded digits, so that the order of strings is the order of times."""
    if timestamp < 0:
        raise KeyRefused(
            "TimestampOutOfRange", f"{timestamp} lies before 1970; stored keys cannot be negative", path
        )
    digits = f"{timestamp:0{width}d}"
    if len(digits) > width:
        raise KeyRefused(
            "TimestampOutOfRange",
            f"{timestamp} does not fit the {width} digits of this group's sort key; is it in the right unit?",
            path,
        )
    return digits


def tie_breaker_text(value: str | int, path: str = "tieBreaker") -> str:
    """The order-preserving text of a tie-breaker: Int64 as 20 digits offset by 2^63, String as it is."""
    if isinstance(value, int):
        if not -_INT64_OFFSET <= value < _INT64_OFFSET:
            raise KeyRefused("Int64OutOfRange", f"{value} is no 64-bit integer", path)
        return f"{value + _INT64_OFFSET:0{_INT64_DIGITS}d}"
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise KeyRefused(
            "InvalidTieBreaker", "holds a lone surrogate, which is no Unicode text", path
        ) from error
    if size > TIE_BREAKER_MAX_BYTES:
        raise KeyRefused(
            "TieBreakerTooLong",
            f"is {size} bytes long; a tie-breaker takes at most {TIE_BREAKER_MAX_BYTES}",
            path,
        )
    return value


def sort_key(digits: str, tie_breaker: str | None = None) -> str:
    """The stored sort key of a timeline record from `timestamp_digits` and `tie_breaker_text`."""
    return digits if tie_breaker is None else f"{digits}#{tie_breaker}"


def parse_sort_key(stored: str, width: int) -> tuple[int, str | None]:
    """Timestamp and tie-breaker text of a sort key; the fixed width makes a ``#`` in the text harmless."""
    digits, rest = stored[:width], stored[width:]
    if not (digits.isascii() and digits.isdigit()) or len(digits) != width or (rest and rest[0] != "#"):
        raise KeyRefused("NotASortKey", f"{stored!r} is not {width} digits with an optional '#<tie-breaker>'")
    return int(digits), rest[1:] if rest else None


def sort_key_range(since: int | None, until: int | None, width: int) -> tuple[str, str]:
    """Inclusive bounds of stored sort keys for ``since <= timestamp <= until``; None = open on that side.

    ``$`` follows ``#``, so ``<until>$`` lies above every tie-breaker of that instant and below the next one.
    What the width cannot hold is clamped; a range without any storable timestamp is `EMPTY_RANGE`.
    """
    largest = 10**width - 1
    first = 0 if since is None else max(since, 0)
    last = largest if until is None else min(until, largest)
    if first > last:
        return EMPTY_RANGE
    low = LOWEST_SORT_KEY if first == 0 else f"{first:0{width}d}"
    high = HIGHEST_SORT_KEY if last == largest else f"{last:0{width}d}$"
    return low, high


def cache_key_prefix(namespace: str, group_name: str) -> str:
    """Everything of a group's Redis keys before the id; what a Redis ACL can separate tenants by."""
    return f"pn{CACHE_FORMAT}:{namespace}/{group_name}:"


def cache_key(prefix: str, row_id: str) -> str:
    """The Redis key of one id. The braces make the id the cluster's hash tag (ADR 0004)."""
    return f"{prefix}{{{row_id}}}"


def lease_key(prefix: str, row_id: str) -> str:
    """The Redis key of the lease on loading one id: no id's own key, since those end with the brace.

    Both have one hash tag, and so one slot in a cluster, unless the id begins with a closing brace.
    """
    return f"{cache_key(prefix, row_id)}{_LEASE_SUFFIX}"


def default_table_name(prefix: str, namespace: str, group_name: str) -> str:
    """``<prefix>.<namespace>.<groupName>``; over 255 characters the tail becomes a hash.

    A namespace holds no dot, so the names of two groups cannot meet.
    """
    name = f"{prefix}.{namespace}.{group_name}"
    if len(name) <= _TABLE_NAME_MAX:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:_TABLE_HASH_DIGITS]
    return f"{name[: _TABLE_NAME_MAX - _TABLE_HASH_DIGITS - 1]}.{tail}"
