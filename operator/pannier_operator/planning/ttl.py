"""The table's own removal of expired rows: one attribute for the life of the project, switched on once.

A retention edit never comes here: it changes what writers stamp. AWS takes one change an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pannier_operator.planning.actions import DisableTtl, EnableTtl
from pannier_operator.planning.findings import Difference, Finding, moment
from pannier_operator.planning.limits import ttl_blocked_until
from pannier_operator.planning.observed import TTL_ATTRIBUTE, ObservedTtl, Remembered
from pannier_operator.planning.table_settings import Change

_FIELD: Final = "timeToLive"
_SETTLED: Final[Mapping[str, Finding]] = MappingProxyType(
    {
        "ENABLED": Finding("True", "Enabled", f"DynamoDB removes rows past {TTL_ATTRIBUTE}"),
        "ENABLING": Finding("True", "Enabling", f"accepted; readers hide rows past {TTL_ATTRIBUTE} already"),
    }
)


def ttl_finding(ttl: ObservedTtl | None, remembered: Remembered, now: datetime) -> Finding:
    """Say whether the TTL is as it has to be."""
    if ttl is None:
        return Finding("Unknown", "Waiting", "the table is not usable yet")
    if ttl.attribute == TTL_ATTRIBUTE and ttl.status in _SETTLED:
        return _SETTLED[ttl.status]
    if ttl.status == "DISABLING":
        return Finding("False", "Disabling", "DynamoDB is switching the TTL off")
    until = ttl_blocked_until(remembered, now)
    if until is not None:
        message = f"AWS takes the next change at {moment(until)}; readers hide expired rows meanwhile"
        return Finding("False", "RateLimitedUntil", message)
    return Finding("False", "Applying", f"TTL is {_found(ttl)}; it is being put on {TTL_ATTRIBUTE}")


def ttl_change(ttl: ObservedTtl, remembered: Remembered, now: datetime) -> Change | None:
    """Return the next step towards an enabled TTL; None where it is enabled, or DynamoDB is busy with it."""
    if ttl.status == "DISABLING" or (ttl.attribute == TTL_ATTRIBUTE and ttl.status in _SETTLED):
        return None
    difference = Difference(_FIELD, f"ENABLED on {TTL_ATTRIBUTE}", _found(ttl))
    on_other = ttl.status in _SETTLED and ttl.attribute is not None
    action = DisableTtl(ttl.attribute) if on_other and ttl.attribute else EnableTtl()
    return Change(difference, action, ttl_blocked_until(remembered, now))


def _found(ttl: ObservedTtl) -> str:
    return f"{ttl.status} on {ttl.attribute}" if ttl.attribute else ttl.status
