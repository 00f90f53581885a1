"""``spec.cache`` as people write it: a profile and the fields that differ from it.

No field here has a schema default: the API server would fill it in and nothing could tell it from an explicit
choice. `pannier.profiles.resolve` turns this into numbers.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pannier.policy import Admission, Profile, ReadConsistency, TierState, WritePolicy
from pannier.spec_base import HardTtl, SpecModel, Ttl


class RemoteTierSpec(SpecModel):
    """L2: the Redis that all sidecars share."""

    state: TierState | None = None
    """Enabled; Shadow = reads through, compares and counts, never serves; Disabled = skips the tier."""
    soft_ttl_seconds: Ttl | None = None
    """After this a hit is still served, and refreshed once in the background."""
    hard_ttl_seconds: HardTtl | None = None
    """After this an entry is loaded anew before it is served (but see staleIfErrorSeconds)."""
    negative_ttl_seconds: Ttl | None = None
    """How long "no such row" is remembered; 0 = never."""


class LocalTierSpec(RemoteTierSpec):
    """L1: the memory of each sidecar."""

    max_bytes: (
        Annotated[int, Field(ge=65_536, le=17_179_869_184, json_schema_extra={"format": "int64"})] | None
    ) = None
    """Upper bound of the group's share of a sidecar's memory."""


class AdmissionSpec(SpecModel):
    """What may enter a tier."""

    local: Admission | None = None
    """Always, or OnSecondHit: a key seen once does not take the room of a hot one."""
    remote: Admission | None = None
    """Always, or OnSecondHit: one-off scans stay out of Redis."""


class AdvancedCacheSpec(SpecModel):
    """Settings that few need to touch."""

    jitter_percent: Annotated[int, Field(ge=0, le=50)] | None = None
    """How much of a TTL the jitter may take away, so that entries made together do not expire together."""
    early_expiration_percent: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Scales the window in which a hot key is refreshed before its soft TTL: 100 = as designed, 0 = off."""
    consistency_checks_per_million: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many strongly consistent reads of DynamoDB a million rows read may pay for, to count served hits
    that it contradicts: default 1000, 0 = never."""
    admission: AdmissionSpec | None = None
    """What may enter a tier."""


class CacheSpec(SpecModel):
    """How reads of the group are cached; edits are live and hold for entries already cached."""

    profile: Profile | None = None
    """Serving strategy that fills in what is not set: Hot = L1 and L2, Warm = L2, Cold = no cache, Realtime =
    short TTLs and write-through. Default Hot."""
    local: LocalTierSpec | None = None
    """L1: the memory of each sidecar."""
    remote: RemoteTierSpec | None = None
    """L2: the Redis that all sidecars share."""
    stale_if_error_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """How long past its hard TTL an entry may be served, marked stale, while lower tiers fail; 0 = never."""
    write_policy: WritePolicy | None = None
    """WriteThrough = a write also fills the caches; Invalidate = it leaves only a marker that the value is
    newer."""
    read_consistency: ReadConsistency | None = None
    """Eventual, or Strong = every read goes to DynamoDB, strongly consistent; caches then serve stale
    answers only."""
    advanced: AdvancedCacheSpec | None = None
    """Settings that few need to touch."""
