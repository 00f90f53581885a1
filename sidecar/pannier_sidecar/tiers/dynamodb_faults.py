"""What a call to DynamoDB comes to that brought no answer: every error of its clients in Pannier's words.

Pure: an exception in, a `Fault` out, or one of the two refusals that are an answer. What is done about it
(another try, giving up) is decided in `dynamodb_client`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp
from botocore import exceptions as boto  # type: ignore[import-untyped]

from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled, TierTimeout, TierUnavailable
from pannier_sidecar.tiers.dynamodb_wire import NotDynamoDB

TIER: Final = "l3"
_THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)
_TOO_LARGE: Final = ("Item size", "exceeded the maximum allowed size")
_SERVER_FAULT: Final = 500


class CallFailed(Exception):
    """A call gave no answer. ``maybe_done``: DynamoDB may have acted on it."""

    def __init__(self, error: TierError, *, maybe_done: bool) -> None:
        self.error = error
        self.maybe_done = maybe_done
        super().__init__(str(error))


class ConditionRefused(Exception):
    """The item is not as the condition wants it; ``item`` is what it is, None where there is none.

    ``maybe_done``: an attempt before got no answer, so the item may be as it is because of this very call.
    """

    def __init__(self, item: Mapping[str, Any] | None) -> None:
        self.item = item
        self.maybe_done = False
        super().__init__("the condition was refused")


class ItemTooLarge(Exception):
    """The item would pass the 400 KB that DynamoDB takes."""


class Fault(NamedTuple):
    """A failed attempt: what it is for the reader, and whether DynamoDB may have acted, and to try again."""

    error: type[TierError]
    message: str
    maybe_done: bool
    retry: bool


class NotSent(TimeoutError):
    """The budget ended before a connection was free."""


FAILURES: Final = (boto.BotoCoreError, boto.ClientError, aiohttp.ClientError, TimeoutError, NotDynamoDB)
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.MetadataRetrievalError,
)
_UNREACHED: Final = (
    boto.EndpointConnectionError,
    boto.ProxyConnectionError,
    boto.SSLError,
    aiohttp.ClientConnectorError,
    aiohttp.InvalidURL,
)
_LOST: Final = (boto.HTTPClientError, aiohttp.ClientError)
_UNANSWERED: Final[tuple[tuple[tuple[type[Exception], ...], Fault], ...]] = (
    (
        (NotSent,),
        Fault(TierTimeout, "no connection was free within the budget", maybe_done=False, retry=False),
    ),
    (
        (boto.ReadTimeoutError, aiohttp.SocketTimeoutError),
        Fault(TierTimeout, "no answer", maybe_done=True, retry=True),
    ),
    (
        (boto.ConnectTimeoutError, aiohttp.ConnectionTimeoutError),
        Fault(TierTimeout, "cannot connect", maybe_done=False, retry=True),
    ),
    ((TimeoutError,), Fault(TierTimeout, "no answer within the budget", maybe_done=True, retry=False)),
    (_UNREACHED, Fault(TierUnavailable, "cannot connect", maybe_done=False, retry=False)),
    (_LOST, Fault(TierUnavailable, "connection lost", maybe_done=True, retry=True)),
    (_NO_CREDENTIALS, Fault(TierMisconfigured, "no usable AWS credentials", maybe_done=False, retry=False)),
    ((Exception,), Fault(TierUnavailable, "failed", maybe_done=True, retry=False)),
)
"""What a call comes to that DynamoDB did not answer; the most special kind stands first."""


def fault_of(error: Exception) -> Fault:
    """What a failed attempt comes to; raises what is no failure: a refused condition, a too large item."""
    if isinstance(error, boto.ClientError):
        return _answered(error)
    fault = next(fault for kinds, fault in _UNANSWERED if isinstance(error, kinds))
    return fault._replace(message=f"{fault.message} ({str(error) or type(error).__name__})")


def _answered(error: boto.ClientError) -> Fault:
    """What DynamoDB's own refusal comes to."""
    code = error.response["Error"]["Code"]
    text = error.response["Error"].get("Message", "")
    message = f"{code}: {text}"
    if code == "ConditionalCheckFailedException":
        raise ConditionRefused(error.response.get("Item") or None) from error
    if code == "ValidationException" and any(sign in text for sign in _TOO_LARGE):
        raise ItemTooLarge(text) from error
    if code in _THROTTLED:
        return Fault(TierThrottled, message, maybe_done=False, retry=True)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= _SERVER_FAULT:
        return Fault(TierUnavailable, message, maybe_done=True, retry=True)
    return Fault(TierMisconfigured, message, maybe_done=False, retry=False)
