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

    @property
    def is_served(self) -> bool:
        """Whether answers come from this tier."""
        return self.state == "Enabled"

    @property
    def is_shadow(self) -> bool:
        """Whether the tier is filled and compared, so that one sees what it would do, and never serves."""
        return self.state == "Shadow"

    @property
    def is_filled(self) -> bool:
        """Whether loads and writes leave their values here; their revisions they leave in any state."""
        return self.state != "Disabled"


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
    """What a load may bring into L1; the default is what sidecars do that do not know of it."""
    remote_admission: Admission = "Always"
    """What may enter L2; see ``local_admission``."""
    consistency_checks_per_million: int = 1_000
    """How many reads of L3 a million rows read may pay for, to find out whether served hits were right; 0 =
    never. The default is that of every profile, so that a catalog without the field means the same."""
