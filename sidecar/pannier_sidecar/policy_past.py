"""What a group's policy was before an edit, as far as it still matters to what was cached under it.

A changed policy holds for entries that are cached already, since deadlines come from the policy of now. Two
things cannot be had from that policy alone: that an entry which had died stays dead when TTLs are lengthened
(the writes that superseded it may be forgotten by then), and that Redis was told to drop an entry by a
shorter policy. Values only; `pannier_sidecar.plan` carries them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pannier.policy import CachePolicy

SKEW_US: Final = 120_000_000
"""How much later other sidecars may get a catalog: a kubelet takes up to 80 s to project an edit."""


class PolicyPast(NamedTuple):
    """The trace of earlier policies in one sidecar; times are this sidecar's."""

    dead_loaded_us: int = 0
    """What L3 said by then was past its remote hard deadline when an edit came, and stays so."""
    edited_at_us: int = 0
    policy: CachePolicy | None = None
    """What Redis was told to keep entries by; None = nothing other than the policy of now."""


NO_PAST: Final = PolicyPast()


def past_of(policy: CachePolicy, past: PolicyPast, now_us: int) -> PolicyPast:
    """The past of the policy that takes over from this one now."""
    dead_loaded_us = max(past.dead_loaded_us, now_us - policy.remote.hard_ttl_seconds * 1_000_000)
    before = past.policy
    if before is not None and _told_us(before) < _told_us(policy):
        is_over = now_us >= past.edited_at_us + SKEW_US + _told_us(before)
        policy = policy if is_over else before
    return PolicyPast(dead_loaded_us, now_us, policy)


def _told_us(policy: CachePolicy) -> int:
    return (policy.remote.hard_ttl_seconds + policy.stale_if_error_seconds) * 1_000_000
