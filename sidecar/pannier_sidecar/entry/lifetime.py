"""How long Redis keeps an entry: long enough to be served stale, and to stand against slower, older ones.

Not how long it is served: that is `pannier_sidecar.entry.freshness`, from the policy of whoever reads it.
"""

from __future__ import annotations

from pannier.policy import CachePolicy
from pannier_sidecar.entry.ghost import is_ghost
from pannier_sidecar.entry.record import MICROSECONDS, Kind, Record
from pannier_sidecar.entry.timeline import NEVER, Timeline
from pannier_sidecar.policy_past import SKEW_US, PolicyPast

GUARD_SECONDS = 60
"""What a write leaves behind outlives every load that began before it."""


def longest_kept_seconds(policy: CachePolicy) -> int:
    """Seconds after which Redis keeps no entry of a group that was merged before."""
    return max(policy.remote.hard_ttl_seconds + policy.stale_if_error_seconds, GUARD_SECONDS)


def kept_seconds(entry: Record | Timeline, policy: CachePolicy) -> int:
    """Seconds that Redis keeps the entry; a ghost as long as the value would be served that it stands for."""
    if is_ghost(entry):
        return policy.remote.hard_ttl_seconds
    held = longest_kept_seconds(policy)
    if isinstance(entry, Record):
        if entry.kind is Kind.FOUND:
            return held
        return _negative(policy, is_guard=entry.kind is not Kind.MISSING)
    if entry.as_of == NEVER:
        return GUARD_SECONDS
    if any(register.kind is Kind.FOUND for register in entry.registers.values()):
        return held
    return _negative(policy, is_guard=bool(entry.registers))


def is_kept_too_short(entry: Record | Timeline, policy: CachePolicy, past: PolicyPast, now_us: int) -> bool:
    """Whether Redis was told to keep the entry by a shorter policy, and has to be told again.

    The entry may have been merged by a sidecar that got the edit later.
    """
    if past.policy is None or entry.loaded_at_us > past.edited_at_us + SKEW_US:
        return False
    told = kept_seconds(entry, past.policy)
    return told < kept_seconds(entry, policy) and now_us < entry.loaded_at_us + told * MICROSECONDS + SKEW_US


def _negative(policy: CachePolicy, *, is_guard: bool) -> int:
    return max(policy.remote.negative_ttl_seconds, GUARD_SECONDS if is_guard else 1)
