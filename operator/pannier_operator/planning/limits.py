"""AWS's limits in time: TTL once an hour, four switches to on-demand in 24 hours, decreases per day.

Each asks "until when not?"; None = now. What AWS counts and does not report is remembered in status.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pannier_operator.planning.observed import ObservedTable, Remembered, Throughput

TTL_PAUSE: Final = timedelta(hours=1)
_SWITCHES: Final = 4
_SWITCH_WINDOW: Final = timedelta(hours=24)
_FREE_DECREASES: Final = 4
_MOST_DECREASES: Final = 27
_DECREASE_PAUSE: Final = timedelta(hours=1)


def ttl_blocked_until(remembered: Remembered, now: datetime) -> datetime | None:
    """UpdateTimeToLive: one change of a table an hour."""
    return _later(remembered.ttl_next_change, now)


def on_demand_blocked_until(table: ObservedTable, remembered: Remembered, now: datetime) -> datetime | None:
    """Provisioned to on-demand: four times in any 24 hours."""
    recent = sorted(recent_switches(table, remembered, now))
    if len(recent) < _SWITCHES:
        return None
    return recent[-_SWITCHES] + _SWITCH_WINDOW


def recent_switches(table: ObservedTable, remembered: Remembered, now: datetime) -> tuple[datetime, ...]:
    """Return the switches to on-demand that still count, newest last, those AWS reports among them."""
    known = {when.replace(microsecond=0) for when in _known(table, remembered)}
    return tuple(sorted(when for when in known if now - when < _SWITCH_WINDOW))[-_SWITCHES:]


def _known(table: ObservedTable, remembered: Remembered) -> Iterable[datetime]:
    yield from remembered.on_demand_switches
    if table.last_on_demand_switch is not None:
        yield table.last_on_demand_switch


def decrease_blocked_until(table: ObservedTable, wanted: Throughput, now: datetime) -> datetime | None:
    """Decreases of capacity: four, then one an hour, 27 per UTC day."""
    decreases = wanted.read < table.throughput.read or wanted.write < table.throughput.write
    if not decreases or table.decreases_today < _FREE_DECREASES:
        return None
    if table.decreases_today >= _MOST_DECREASES:
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return today + timedelta(days=1)
    return _later(table.last_decrease and table.last_decrease + _DECREASE_PAUSE, now)


def _later(until: datetime | None, now: datetime) -> datetime | None:
    return until if until is not None and until > now else None
