"""The times of one write: its event time, how far it may run ahead, and when retention ends the row."""

from __future__ import annotations

from typing import Final

from pannier import times
from pannier.keys import UNIT_MICROSECONDS
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_requests import WriteItem
from pannier_sidecar.plan import GroupPlan

MAX_AHEAD_US: Final = 5_000_000
"""How far an event time may run ahead of this sidecar's clock."""
SECOND_US: Final = 1_000_000
_US_OF_1980: Final = 315_532_800_000_000
_US_OF_1990: Final = 631_152_000_000_000
_US_OF_2100: Final = 4_102_444_800_000_000


def timeline_time(plan: GroupPlan, write: WriteItem, path: str) -> tuple[int, int]:
    """Timestamp in the group's unit and the event time that it is."""
    where = at(path, "timestamp")
    if write.timestamp is None:
        raise RequestRefused.because(
            "TimestampRequired", f"{plan.name} is a timeline: each of its records needs a timestamp", where
        )
    ticks = times.exact_in_unit(write.timestamp, unit_us=plan.unit_us, path=where)
    event_time_us = ticks * plan.unit_us
    if event_time_us > times.LATEST_US:
        raise RequestRefused.because(
            "TimestampOutOfRange", f"{ticks} lies beyond the year 9999; is it in the right unit?", where
        )
    if write.event_time is not None:  # an echoed one is fine: it makes repeating a write simple
        where = at(path, "event_time")
        if times.event_time_us(write.event_time, where) != event_time_us:
            raise RequestRefused.because(
                "UnexpectedEventTime", "a timeline record's event time is its timestamp; leave it out", where
            )
    return ticks, event_time_us


def unit_hint(plan: GroupPlan, ticks: int) -> str:
    """Ask about the unit of an unlikely timestamp that another unit would make a likely one, else nothing.

    Only a hint: records of 1970 are rare, and allowed.
    """
    sort_key, epoch_us = plan.group.key.sort_key, ticks * plan.unit_us
    if sort_key is None or _US_OF_1980 <= epoch_us < _US_OF_2100:
        return ""
    for unit, unit_us in UNIT_MICROSECONDS.items():
        if _US_OF_1990 <= ticks * unit_us < _US_OF_2100:
            return f"{times.format_rfc3339(epoch_us)[:10]} in {sort_key.unit}; did you send {unit}?"
    return ""


def record_time(write: WriteItem, now_us: int, path: str) -> int | None:
    """Event time of a record's write; None = after everything stored."""
    if write.timestamp is not None:
        raise RequestRefused.because(
            "UnexpectedTimestamp",
            f"{write.group} keeps one row per id without a timestamp; did you mean event_time?",
            at(path, "timestamp"),
        )
    if write.event_time is None:
        return None
    where = at(path, "event_time")
    event_time_us = times.event_time_us(write.event_time, where)
    if event_time_us > now_us + MAX_AHEAD_US:
        raise RequestRefused.because(
            "EventTimeInFuture",
            f"{times.format_rfc3339(event_time_us)} is more than {MAX_AHEAD_US // SECOND_US} s ahead of "
            f"{times.format_rfc3339(now_us)}; is it in microseconds?",
            where,
        )
    return event_time_us


def expires_at(plan: GroupPlan, event_time_us: int | None, now_us: int) -> int | None:
    """End of the row by retention, in epoch seconds, rounded up so that no row ends early."""
    retention = plan.retention
    if retention.seconds is None:
        return None
    start_us = event_time_us if retention.basis == "EventTime" and event_time_us is not None else now_us
    return seconds_up(start_us) + retention.seconds


def seconds_up(epoch_us: int) -> int:
    """Epoch seconds, rounded up."""
    return -(-epoch_us // SECOND_US)


def at(path: str, name: str) -> str:
    """Path of a field below ``path``."""
    return f"{path}.{name}" if path else name
