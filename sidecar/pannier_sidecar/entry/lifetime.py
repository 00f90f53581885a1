"""How long Redis keeps an entry: long enough to be served stale, and to stand against slower, older ones.

Not how long it is served: that is `pannier_sidecar.entry.freshness`, from the policy of whoever reads it.
"""

from __future__ import annotations

from pannier.policy import CachePolicy
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import NEVER, Timeline

GUARD_SECONDS = 60
"""What a write leaves behind outlives every load that began before it."""


def kept_seconds(entry: Record | Timeline, policy: CachePolicy) -> int:
    """Seconds that Redis keeps the entry."""
    held = max(policy.remote.hard_ttl_seconds + policy.stale_if_error_seconds, GUARD_SECONDS)
    if isinstance(entry, Record):
        if entry.kind is Kind.FOUND:
            return held
        return _negative(policy, is_guard=entry.kind is not Kind.MISSING)
    if entry.as_of == NEVER:
        return GUARD_SECONDS
    if any(register.kind is Kind.FOUND for register in entry.registers.values()):
        return held
    return _negative(policy, is_guard=bool(entry.registers))


def _negative(policy: CachePolicy, *, is_guard: bool) -> int:
    return max(policy.remote.negative_ttl_seconds, GUARD_SECONDS if is_guard else 1)
