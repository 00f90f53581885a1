"""From ``spec.cache`` to a `CachePolicy`: profile, then explicit fields, then the clamps that keep it sound.

The profiles follow the founding document's classes of serving:

========  ======================  ==================  ====================  =======  ============  =====
profile   for                     L1 soft/hard/neg.   L2 soft/hard/neg.     L1 size  writes        stale
========  ======================  ==================  ====================  =======  ============  =====
Hot       small and frequent      15 / 60 / 5 s       300 / 3600 / 30 s     32 MiB   WriteThrough  300 s
Warm      medium                  off (15 / 60 / 5)   600 / 3600 / 30 s     8 MiB    Invalidate    300 s
Cold      large or rare           off (15 / 60 / 5)   off (600/3600/30)     8 MiB    Invalidate    0
Realtime  must be seen at once    1 / 5 / 1 s         10 / 60 / 5 s         32 MiB   WriteThrough  0
========  ======================  ==================  ====================  =======  ============  =====

Figures in brackets hold once the tier is enabled explicitly. Jitter 10 %, early expiration 100 %, Eventual
reads, admission Always and 1000 consistency checks per million rows in every profile. Without storage both
tiers are off unless enabled explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from pannier.catalog import StorageMode
from pannier.policy import CachePolicy, Profile, TierPolicy, TierState, WritePolicy
from pannier.spec_cache import AdmissionSpec, AdvancedCacheSpec, CacheSpec, LocalTierSpec, RemoteTierSpec

DEFAULT_PROFILE: Final[Profile] = "Hot"
T = TypeVar("T")
MEBIBYTE: Final = 1024 * 1024


def _profile(  # noqa: PLR0913, PLR0917 - a row of the table above
    name: Profile,
    local: tuple[TierState, int, int, int],
    remote: tuple[TierState, int, int, int],
    max_bytes: int,
    write_policy: WritePolicy,
    stale_if_error_seconds: int,
) -> CachePolicy:
    return CachePolicy(
        profile=name,
        local=_tier(*local, max_bytes),
        remote=_tier(*remote, None),
        stale_if_error_seconds=stale_if_error_seconds,
        write_policy=write_policy,
        read_consistency="Eventual",
        jitter_percent=10,
        early_expiration_factor=1.0,
    )


def _tier(state: TierState, soft: int, hard: int, negative: int, max_bytes: int | None) -> TierPolicy:
    return TierPolicy(
        state=state,
        soft_ttl_seconds=soft,
        hard_ttl_seconds=hard,
        negative_ttl_seconds=negative,
        max_bytes=max_bytes,
    )


PROFILES: Final[Mapping[Profile, CachePolicy]] = {
    policy.profile: policy
    for policy in (
        _profile(
            "Hot", ("Enabled", 15, 60, 5), ("Enabled", 300, 3600, 30), 32 * MEBIBYTE, "WriteThrough", 300
        ),
        _profile(
            "Warm", ("Disabled", 15, 60, 5), ("Enabled", 600, 3600, 30), 8 * MEBIBYTE, "Invalidate", 300
        ),
        _profile("Cold", ("Disabled", 15, 60, 5), ("Disabled", 600, 3600, 30), 8 * MEBIBYTE, "Invalidate", 0),
        _profile("Realtime", ("Enabled", 1, 5, 1), ("Enabled", 10, 60, 5), 32 * MEBIBYTE, "WriteThrough", 0),
    )
}


def resolve(cache: CacheSpec | None, storage_mode: StorageMode) -> CachePolicy:
    """Fill in every number. Explicit fields win; what is not set follows the explicit hard TTLs.

    An explicit figure also lifts an unset bound above it (soft 120 under profile Hot makes the hard TTL 120),
    since the alternative is to serve by a figure other than the one that was written.
    """
    cache = cache or CacheSpec()
    base = PROFILES[cache.profile or DEFAULT_PROFILE]
    local_spec, remote_spec = cache.local or LocalTierSpec(), cache.remote or RemoteTierSpec()
    local_state = _state(local_spec, base.local, storage_mode)
    remote_state = _state(remote_spec, base.remote, storage_mode)
    bounded = "Disabled" not in (local_state, remote_state)
    local_least = _least_hard(local_spec)
    remote_hard = remote_spec.hard_ttl_seconds or max(
        base.remote.hard_ttl_seconds, _least_hard(remote_spec), local_least if bounded else 0
    )
    local_hard = max(base.local.hard_ttl_seconds, local_least)
    if bounded:
        local_hard = min(local_hard, remote_hard)
    policy = _resolve_rest(cache, base)
    return msgspec.structs.replace(
        policy,
        local=_resolve_tier(local_spec, base.local, local_state, local_spec.hard_ttl_seconds or local_hard),
        remote=_resolve_tier(remote_spec, base.remote, remote_state, remote_hard),
    )


def _state(spec: RemoteTierSpec, base: TierPolicy, storage_mode: StorageMode) -> TierState:
    """Without storage a tier holds what may not be stored, so it has to be asked for."""
    return spec.state or ("Disabled" if storage_mode == "None" else base.state)


def _least_hard(spec: RemoteTierSpec) -> int:
    """Return the least hard TTL that the explicit figures of a tier allow."""
    return spec.hard_ttl_seconds or max(spec.soft_ttl_seconds or 0, spec.negative_ttl_seconds or 0)


def _resolve_tier(spec: RemoteTierSpec, base: TierPolicy, state: TierState, hard: int) -> TierPolicy:
    max_bytes = spec.max_bytes if isinstance(spec, LocalTierSpec) else None
    return TierPolicy(
        state=state,
        soft_ttl_seconds=_explicit(spec.soft_ttl_seconds, min(base.soft_ttl_seconds, hard)),
        hard_ttl_seconds=hard,
        negative_ttl_seconds=_explicit(spec.negative_ttl_seconds, min(base.negative_ttl_seconds, hard)),
        max_bytes=_explicit(max_bytes, base.max_bytes),
    )


def _resolve_rest(cache: CacheSpec, base: CachePolicy) -> CachePolicy:
    advanced = cache.advanced or AdvancedCacheSpec()
    admission = advanced.admission or AdmissionSpec()
    early_percent = advanced.early_expiration_percent
    return msgspec.structs.replace(
        base,
        stale_if_error_seconds=_explicit(cache.stale_if_error_seconds, base.stale_if_error_seconds),
        write_policy=cache.write_policy or base.write_policy,
        read_consistency=cache.read_consistency or base.read_consistency,
        jitter_percent=_explicit(advanced.jitter_percent, base.jitter_percent),
        early_expiration_factor=base.early_expiration_factor
        if early_percent is None
        else early_percent / 100,
        local_admission=admission.local or base.local_admission,
        remote_admission=admission.remote or base.remote_admission,
        consistency_checks_per_million=_explicit(
            advanced.consistency_checks_per_million, base.consistency_checks_per_million
        ),
    )


def _explicit(value: T | None, otherwise: T) -> T:
    """Return what was written, zero included."""
    return otherwise if value is None else value
