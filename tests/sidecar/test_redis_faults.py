"""Whatever the Redis client raises or Redis answers becomes one of our errors."""

from __future__ import annotations

import pytest
from redis import exceptions as redis_errors

from pannier_sidecar.errors import TierError, TierMisconfigured, TierTimeout, TierUnavailable
from pannier_sidecar.tiers import redis_faults


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (TimeoutError(), TierTimeout),
        (redis_errors.TimeoutError(), TierTimeout),
        (redis_errors.AuthenticationError("WRONGPASS"), TierMisconfigured),
        (redis_errors.NoPermissionError("NOPERM"), TierMisconfigured),
        (ConnectionRefusedError(), TierUnavailable),
        (redis_errors.OutOfMemoryError("OOM"), TierUnavailable),
        (b"what", TierUnavailable),
        (None, TierUnavailable),
    ],
)
def test_faults_are_told_apart_by_what_helps(problem: object, kind: type[TierError]) -> None:
    """Wait, try again later, or call a person."""
    assert type(redis_faults.fault_of(problem)) is kind


def test_replies_are_told_apart_by_what_follows() -> None:
    """A script to send again, a key to replace, a server to leave."""
    wrong_type = redis_errors.ResponseError("WRONGTYPE Operation against a key")
    assert redis_faults.is_wrong_type(wrong_type)
    assert not redis_faults.is_wrong_type(redis_errors.ResponseError("ERR"))
    assert redis_faults.is_unknown_script(redis_errors.NoScriptError("NOSCRIPT"))
    assert redis_faults.is_unserved(redis_errors.ReadOnlyError("READONLY"))
    assert not redis_faults.is_unserved(b"READONLY")
