"""Rules of ``cache``: TTLs that contradict each other, as far as they are set."""

from __future__ import annotations

from typing import Final

from pannier.catalog import CatalogRetention
from pannier.cel import Rule
from pannier.spec import Spec
from pannier.spec_cache import CacheSpec, RemoteTierSpec

_TTLS: Final = ("softTTLSeconds", "hardTTLSeconds", "negativeTTLSeconds")
_WITHIN_REMOTE: Final = "(!has(self.local.{0}) || self.local.{0} <= self.remote.hardTTLSeconds)"
DEFAULT_TOMBSTONE_SECONDS: Final = CatalogRetention().tombstone_seconds


def _tombstones_outlive_caches(spec: Spec) -> bool:
    remote = spec.cache.remote if spec.cache else None
    hard = remote.hard_ttl_seconds if remote else None
    tombstone = spec.retention.tombstone_seconds if spec.retention else DEFAULT_TOMBSTONE_SECONDS
    return hard is None or hard <= tombstone


def _local_within_remote(cache: CacheSpec) -> bool:
    local, remote = cache.local, cache.remote
    if local is None or remote is None or remote.hard_ttl_seconds is None:
        return True
    if "Disabled" in {local.state, remote.state}:
        return True
    explicit = (local.soft_ttl_seconds, local.hard_ttl_seconds, local.negative_ttl_seconds)
    return all(ttl is None or ttl <= remote.hard_ttl_seconds for ttl in explicit)


def _within_hard(tier: RemoteTierSpec, ttl: int | None) -> bool:
    return ttl is None or tier.hard_ttl_seconds is None or ttl <= tier.hard_ttl_seconds


def _tier_rules(tier: str) -> tuple[Rule, ...]:
    return (
        Rule(
            at=f"spec.cache.{tier}",
            reason="SoftOverHard",
            message="softTTLSeconds must not exceed hardTTLSeconds",
            cel="!has(self.softTTLSeconds) || !has(self.hardTTLSeconds)"
            " || self.softTTLSeconds <= self.hardTTLSeconds",
            holds=lambda spec: _within_hard(spec, spec.soft_ttl_seconds),
            field="softTTLSeconds",
        ),
        Rule(
            at=f"spec.cache.{tier}",
            reason="NegativeOverHard",
            message="negativeTTLSeconds must not exceed hardTTLSeconds",
            cel="!has(self.negativeTTLSeconds) || !has(self.hardTTLSeconds)"
            " || self.negativeTTLSeconds <= self.hardTTLSeconds",
            holds=lambda spec: _within_hard(spec, spec.negative_ttl_seconds),
            field="negativeTTLSeconds",
        ),
    )


CACHE_RULES: Final = (
    *_tier_rules("local"),
    *_tier_rules("remote"),
    Rule(
        at="spec.cache",
        reason="LocalOverRemote",
        message="no local TTL may exceed remote.hardTTLSeconds while both tiers are in use",
        cel="!has(self.local) || !has(self.remote) || !has(self.remote.hardTTLSeconds)"
        " || (has(self.local.state) && self.local.state == 'Disabled')"
        " || (has(self.remote.state) && self.remote.state == 'Disabled')"
        f" || ({' && '.join(map(_WITHIN_REMOTE.format, _TTLS))})",
        holds=_local_within_remote,
        field="local",
    ),
    Rule(
        at="spec",
        reason="TombstonesTooShort",
        message="retention.tombstoneSeconds (default 604800) must be at least cache.remote.hardTTLSeconds,"
        " or a deleted row could be forgotten while a cache still holds it",
        cel="!has(self.cache) || !has(self.cache.remote) || !has(self.cache.remote.hardTTLSeconds)"
        " || self.cache.remote.hardTTLSeconds <="
        f" (has(self.retention) ? self.retention.tombstoneSeconds : {DEFAULT_TOMBSTONE_SECONDS})",
        holds=_tombstones_outlive_caches,
        field="cache.remote.hardTTLSeconds",
    ),
)
