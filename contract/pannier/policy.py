"""The resolved cache policy: what a profile and the explicit fields of ``spec.cache`` come to.

Every number is filled in here, so that neither the sidecar nor ``kubectl get fg`` ever guesses. The types
carry no defaults on purpose: an unresolved policy must not exist. `pannier.profiles.resolve` is the only
maker.
"""

from __future__ import annotations

from typing import Literal

import msgspec

TierState = Literal["Enabled", "Shadow", "Disabled"]
Profile = Literal["Hot", "Warm", "Cold", "Realtime"]
WritePolicy = Literal["Invalidate", "WriteThrough"]
ReadConsistency = Literal["Eventual", "Strong"]
Admission = Literal["Always", "OnSecondHit"]


class TierPolicy(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One cache tier of one group. ``soft <= hard`` and ``negative <= hard`` hold by construction."""

    state: TierState
    soft_ttl_seconds: int = msgspec.field(name="softTTLSeconds")
    hard_ttl_seconds: int = msgspec.field(name="hardTTLSeconds")
    negative_ttl_seconds: int = msgspec.field(name="negativeTTLSeconds")
    max_bytes: int | None = None
    """Upper bound of the group's share of this tier; None where the tier has no such bound (remote)."""


class CachePolicy(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The whole policy of a group. ``local.hard <= remote.hard`` where both tiers are enabled."""

    profile: Profile
    local: TierPolicy
    remote: TierPolicy
    stale_if_error_seconds: int
    write_policy: WritePolicy
    read_consistency: ReadConsistency
    jitter_percent: int
    """How much of a TTL the jitter may take away, 0..50."""
    early_expiration_factor: float
    """Scales the early-refresh window; 0 switches early expiration off."""
    local_admission: Admission = "Always"
    """What may enter L1. Carried for sidecars that act on it; the default is what those do that do not."""
    remote_admission: Admission = "Always"
    """What may enter L2; see ``local_admission``."""
