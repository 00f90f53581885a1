"""What the Redis client raises and Redis answers -> our errors; the texts name no credentials."""

from __future__ import annotations

from typing import Final

from redis import exceptions as redis_errors

from pannier_sidecar.errors import TierError, TierMisconfigured, TierTimeout, TierUnavailable

TIER: Final = "l2"
_WRONG_CREDENTIALS = (
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
    redis_errors.NoPermissionError,
)
_NOT_SERVING = (redis_errors.ReadOnlyError, redis_errors.ClusterDownError)


def fault_of(problem: object) -> TierError:
    """Translate an exception or a reply that is none of those expected."""
    if isinstance(problem, _WRONG_CREDENTIALS):
        return TierMisconfigured(TIER, f"Redis refuses the credentials: {problem}")
    if isinstance(problem, (TimeoutError, redis_errors.TimeoutError)):
        return TierTimeout(TIER, "Redis did not answer in time")
    if isinstance(problem, BaseException):
        return TierUnavailable(TIER, f"{type(problem).__name__}: {problem}")
    return TierUnavailable(TIER, f"Redis answered nonsense: {problem!r:.80}")


def is_unserved(reply: object) -> bool:
    """Whether the server as a whole does not serve: a replica since a failover, or a cluster that is down."""
    return isinstance(reply, _NOT_SERVING)


def is_unknown_script(reply: object) -> bool:
    """Whether Redis has not seen the script yet."""
    return isinstance(reply, redis_errors.NoScriptError)


def is_wrong_type(reply: object) -> bool:
    """Whether another Redis type lies under the key."""
    return isinstance(reply, redis_errors.ResponseError) and str(reply).startswith("WRONGTYPE")
