"""Policy resolution: profile, then explicit fields, then the clamps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.manifests import a_manifest

from pannier.catalog import StorageMode
from pannier.errors import SpecInvalid
from pannier.policy import CachePolicy, Profile, TierState
from pannier.profiles import PROFILES, resolve
from pannier.spec_cache import CacheSpec
from pannier.spec_parsing import parse_feature_group


def _resolved(cache: dict[str, Any], mode: StorageMode = "Dedicated") -> CachePolicy:
    return resolve(CacheSpec.model_validate(cache), mode)


def test_without_a_word_the_profile_is_hot() -> None:
    """A group that says nothing about caches is served from L1 and L2."""
    policy = resolve(None, "Dedicated")
    assert policy == PROFILES["Hot"]
    assert (policy.local.state, policy.remote.state) == ("Enabled", "Enabled")


@pytest.mark.parametrize(
    ("profile", "local", "remote", "write_policy"),
    [
        ("Hot", "Enabled", "Enabled", "WriteThrough"),
        ("Warm", "Disabled", "Enabled", "Invalidate"),
        ("Cold", "Disabled", "Disabled", "Invalidate"),
        ("Realtime", "Enabled", "Enabled", "WriteThrough"),
    ],
)
def test_profiles_choose_the_tiers(profile: Profile, local: str, remote: str, write_policy: str) -> None:
    """Small and frequent: both tiers; medium: L2; large or rare: none; real-time: both, written through."""
    policy = _resolved({"profile": profile})
    assert (policy.profile, policy.local.state, policy.remote.state) == (profile, local, remote)
    assert policy.write_policy == write_policy
    assert policy.read_consistency == "Eventual"


def test_explicit_fields_win_over_the_profile() -> None:
    """Whatever is written is what is served by, zero included."""
    policy = _resolved(
        {
            "profile": "Cold",
            "local": {
                "state": "Shadow",
                "softTTLSeconds": 0,
                "hardTTLSeconds": 9,
                "negativeTTLSeconds": 0,
                "maxBytes": 65536,
            },
            "remote": {"state": "Enabled", "hardTTLSeconds": 90},
            "staleIfErrorSeconds": 0,
            "writePolicy": "WriteThrough",
            "readConsistency": "Strong",
            "advanced": {
                "jitterPercent": 0,
                "earlyExpirationPercent": 50,
                "consistencyChecksPerMillion": 0,
                "admission": {"local": "OnSecondHit"},
            },
        }
    )
    local = policy.local
    assert (local.state, local.soft_ttl_seconds, local.hard_ttl_seconds) == ("Shadow", 0, 9)
    assert (local.negative_ttl_seconds, local.max_bytes) == (0, 65536)
    assert (policy.remote.state, policy.remote.hard_ttl_seconds) == ("Enabled", 90)
    assert (policy.stale_if_error_seconds, policy.jitter_percent) == (0, 0)
    assert (policy.write_policy, policy.read_consistency) == ("WriteThrough", "Strong")
    assert policy.early_expiration_factor == 0.5
    assert (policy.local_admission, policy.remote_admission) == ("OnSecondHit", "Always")
    assert policy.consistency_checks_per_million == 0


def test_a_tier_is_filled_and_served_by_its_state() -> None:
    """Enabled fills and serves, Shadow fills and never serves, Disabled does neither."""
    states: tuple[TierState, ...] = ("Enabled", "Shadow", "Disabled")
    tiers = [_resolved({"local": {"state": state}}).local for state in states]
    assert [tier.is_filled for tier in tiers] == [True, True, False]
    assert [tier.is_served for tier in tiers] == [True, False, False]
    assert [tier.is_shadow for tier in tiers] == [False, True, False]


def test_a_catalog_of_an_older_operator_means_the_profiles_own_checks() -> None:
    """The format is additive: without the field served hits are checked at the default rate."""
    catalog = msgspec.json.decode(msgspec.json.encode(PROFILES["Hot"]))
    del catalog["consistencyChecksPerMillion"]
    assert msgspec.convert(catalog, CachePolicy) == PROFILES["Hot"]


def test_a_hard_ttl_alone_clamps_what_is_not_set() -> None:
    """``hardTTLSeconds: 10`` is all one needs to write; soft and negative follow."""
    local = _resolved({"local": {"hardTTLSeconds": 2}}).local
    assert (local.soft_ttl_seconds, local.hard_ttl_seconds, local.negative_ttl_seconds) == (2, 2, 2)


def test_an_explicit_remote_hard_ttl_clamps_the_local_one() -> None:
    """L1 never keeps longer than L2, down to its soft TTL."""
    policy = _resolved({"remote": {"hardTTLSeconds": 7}})
    assert (policy.remote.soft_ttl_seconds, policy.remote.hard_ttl_seconds) == (7, 7)
    assert (policy.local.soft_ttl_seconds, policy.local.hard_ttl_seconds) == (7, 7)


def test_an_explicit_local_ttl_lifts_the_remote_one_of_the_profile() -> None:
    """Two hours in L1 under profile Hot mean that L2 keeps two hours as well."""
    policy = _resolved({"local": {"hardTTLSeconds": 7200}})
    assert (policy.local.hard_ttl_seconds, policy.remote.hard_ttl_seconds) == (7200, 7200)


def test_a_soft_ttl_alone_lifts_the_hard_one_of_the_profile() -> None:
    """An explicit figure is never served by another one."""
    local = _resolved({"local": {"softTTLSeconds": 120}}).local
    assert (local.soft_ttl_seconds, local.hard_ttl_seconds) == (120, 120)


def test_without_l2_the_local_ttl_is_free() -> None:
    """The local hard TTL is only bound by a remote one that is in use."""
    policy = _resolved({"local": {"hardTTLSeconds": 7200}, "remote": {"state": "Disabled"}})
    assert (policy.local.hard_ttl_seconds, policy.remote.hard_ttl_seconds) == (7200, 3600)


@pytest.mark.parametrize("profile", [*PROFILES, None])
def test_without_storage_both_tiers_are_off(profile: Profile | None) -> None:
    """What may not be stored is cached only where that is asked for."""
    policy = _resolved({"profile": profile} if profile else {}, "None")
    assert (policy.local.state, policy.remote.state) == ("Disabled", "Disabled")
    asked = _resolved({"local": {"state": "Enabled"}}, "None")
    assert (asked.local.state, asked.remote.state) == ("Enabled", "Disabled")


_ttl = st.integers(1, 100_000)
_tier = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["Enabled", "Shadow", "Disabled"]),
        "softTTLSeconds": _ttl,
        "hardTTLSeconds": _ttl,
        "negativeTTLSeconds": _ttl,
    },
)
_caches = st.fixed_dictionaries(
    {}, optional={"profile": st.sampled_from(list(PROFILES)), "local": _tier, "remote": _tier}
)
_FIELDS = {
    "softTTLSeconds": "soft_ttl_seconds",
    "hardTTLSeconds": "hard_ttl_seconds",
    "negativeTTLSeconds": "negative_ttl_seconds",
}


@given(_caches)
@settings(deadline=None, max_examples=300)
def test_what_the_rules_accept_resolves_to_a_sound_policy_that_keeps_every_explicit_figure(
    cache: dict[str, Any],
) -> None:
    """Law: soft and negative never exceed hard, local never remote, and nothing written is overruled."""
    try:
        spec = parse_feature_group(a_manifest({"cache": cache})).spec
    except SpecInvalid:
        return
    policy = resolve(spec.cache, "Dedicated")
    for name, tier in (("local", policy.local), ("remote", policy.remote)):
        assert tier.soft_ttl_seconds <= tier.hard_ttl_seconds
        assert tier.negative_ttl_seconds <= tier.hard_ttl_seconds
        for field, attribute in _FIELDS.items():
            if field in cache.get(name, {}):
                assert getattr(tier, attribute) == cache[name][field]
    if "Disabled" not in {policy.local.state, policy.remote.state}:
        assert policy.local.hard_ttl_seconds <= policy.remote.hard_ttl_seconds
