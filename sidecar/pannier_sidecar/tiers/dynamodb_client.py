"""The module that knows boto: calls to DynamoDB with a deadline, retries, and errors in Pannier's words.

What a caller sees of a failed call is a `CallFailed`: the `TierError` it comes to, and whether DynamoDB
may have acted on it all the same. Retries are made here and nowhere else (botocore's are off), with full
jitter (Brooker, "Exponential Backoff and Jitter", 2015), and never past the deadline. Not here: what is
asked (`dynamodb_reads`, `dynamodb_writes`, `dynamodb_tables`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aioboto3  # type: ignore[import-untyped]
import aiohttp
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore import exceptions as boto  # type: ignore[import-untyped]

from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled, TierTimeout, TierUnavailable
from pannier_sidecar.tiers.dynamodb_parser import session_with_attribute_parser

TIER: Final = "l3"
_BACKOFF_SECONDS: Final = 0.02
_BACKOFF_MAX_SECONDS: Final = 1.0
_WRITE_SECONDS: Final = 0.1
"""Room that another attempt to write must have: cut off, it would only make a refused write doubtful."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoDBSettings:
    """Where DynamoDB is, and how many calls at once. Credentials: AWS's chain, unless both keys are given."""

    endpoint_url: str | None = None
    region_name: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    concurrency: int = 64
    """Calls in flight at once, and connections kept for them."""
    connect_timeout_seconds: float = 1.0
    read_timeout_seconds: float = 5.0
    """Backstop below which the deadline of each call lies in practice."""


class CallFailed(Exception):
    """A call gave no answer. ``maybe_done``: DynamoDB may have acted on it."""

    def __init__(self, error: TierError, *, maybe_done: bool) -> None:
        self.error = error
        self.maybe_done = maybe_done
        super().__init__(str(error))


class ConditionRefused(Exception):
    """The item is not as the condition wants it; ``item`` is what it is, None where there is none."""

    def __init__(self, item: Mapping[str, Any] | None) -> None:
        self.item = item
        super().__init__("the condition was refused")


class ItemTooLarge(Exception):
    """The item would pass the 400 KB that DynamoDB takes."""


class _Fault(NamedTuple):
    error: type[TierError]
    message: str
    maybe_done: bool
    retry: bool


class DynamoDBClient:
    """One client with its pool of connections, owned through ``async with``; needs no DynamoDB to start."""

    def __init__(self, settings: DynamoDBSettings, dice: random.Random | None = None) -> None:
        self._settings = settings
        self._dice = dice or random.Random()
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._owned = contextlib.AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        session = aioboto3.Session(
            botocore_session=session_with_attribute_parser(),
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            region_name=settings.region_name,
        )
        region = session.region_name or ("us-east-1" if settings.endpoint_url else None)
        try:
            client = session.client(
                "dynamodb", region_name=region, endpoint_url=settings.endpoint_url, config=_config(settings)
            )
            self._client = await self._owned.enter_async_context(client)
        except (boto.BotoCoreError, ValueError) as error:
            raise TierMisconfigured(TIER, f"no DynamoDB client from these settings: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = None
        await self._owned.aclose()

    async def call(self, operation: str, deadline: float, **arguments: Any) -> Mapping[str, Any]:
        """One answer by ``deadline`` (loop time), after as many attempts as fit before it.

        Raises `CallFailed`, and of conditional writes `ConditionRefused` and `ItemTooLarge`.
        """
        if self._client is None:
            raise CallFailed(TierUnavailable(TIER, "the DynamoDB store is not open"), maybe_done=False)
        method: Callable[..., Awaitable[Mapping[str, Any]]] = getattr(self._client, operation)
        maybe_done = False
        cause: _Fault | None = None
        for attempt in itertools.count():
            began = asyncio.get_running_loop().time()
            try:
                return _checked(operation, await self._attempt(method, deadline, arguments))
            except _FAILURES as error:
                fault = _fault(error)
                maybe_done = maybe_done or fault.maybe_done
                if cause is None or not isinstance(error, TimeoutError):
                    cause = fault  # a retry that the budget cut says less than what made it necessary
                taken = asyncio.get_running_loop().time() - began
                room = max(2 * taken, _WRITE_SECONDS if operation in _WRITES else 0.0)
                if not fault.retry or not await self.back_off(attempt, deadline, room):
                    message = f"{operation} on {_tables(arguments)}: {cause.message}"
                    raise CallFailed(cause.error(TIER, message), maybe_done=maybe_done) from error
        raise AssertionError("counting never ends")

    async def _attempt(
        self,
        method: Callable[..., Awaitable[Mapping[str, Any]]],
        deadline: float,
        arguments: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            raise _NotSent from error
        try:
            async with asyncio.timeout_at(deadline):
                return await method(**arguments)
        finally:
            self._slots.release()

    async def back_off(self, attempt: int, deadline: float, needed_seconds: float = 0.0) -> bool:
        """Wait before another attempt; False, without waiting, where the deadline leaves no room for it.

        ``needed_seconds``: what an attempt may take; one that is cut off only makes a write doubtful.
        """
        ceiling = min(_BACKOFF_MAX_SECONDS, _BACKOFF_SECONDS * 2**attempt)
        delay = self._dice.uniform(0, ceiling)
        if asyncio.get_running_loop().time() + delay + needed_seconds >= deadline:
            return False
        await asyncio.sleep(delay)
        return True

    def __repr__(self) -> str:
        where = self._settings.endpoint_url or f"AWS {self._settings.region_name or 'default region'}"
        state = "closed" if self._client is None else "open"
        return f"<DynamoDBClient {where} {state}>"


def _config(settings: DynamoDBSettings) -> Any:
    """How botocore calls: no retries of its own, and no more than it must do."""
    return AioConfig(
        max_pool_connections=settings.concurrency,
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        retries={"total_max_attempts": 1},
        # arguments are built here from checked values; DynamoDB checks them again
        parameter_validation=False,
        user_agent="pannier",
    )


class _NotSent(TimeoutError):
    """The budget ended before a connection was free."""


class _NotDynamoDB(Exception):
    """What answered speaks HTTP, but not DynamoDB's protocol."""


_FAILURES: Final = (boto.BotoCoreError, boto.ClientError, aiohttp.ClientError, TimeoutError, _NotDynamoDB)
_WRITES: Final = frozenset({"update_item", "delete_item"})
_MEMBER: Final = {"batch_get_item": "Responses", "query": "Items", "update_item": "Attributes"}
"""What a sound answer always holds; the parser makes a body that is no JSON into one without it."""


def _checked(operation: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    member = _MEMBER.get(operation)
    if member is not None and member not in answer:
        raise _NotDynamoDB(f"the answer holds no {member}; is this DynamoDB?")
    return answer


def deadline_after(seconds: float) -> float:
    """The deadline of a budget that begins now."""
    return asyncio.get_running_loop().time() + seconds


def _tables(arguments: Mapping[str, Any]) -> str:
    named = arguments.get("TableName")
    return str(named) if named else ", ".join(arguments.get("RequestItems", {}))


_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.MetadataRetrievalError,
)
_UNREACHED: Final = (boto.EndpointConnectionError, boto.ProxyConnectionError, boto.SSLError)
_LOST: Final = (boto.HTTPClientError, aiohttp.ClientError)
_UNANSWERED: Final[tuple[tuple[tuple[type[Exception], ...], _Fault], ...]] = (
    (
        (_NotSent,),
        _Fault(TierTimeout, "no connection was free within the budget", maybe_done=False, retry=False),
    ),
    ((TimeoutError,), _Fault(TierTimeout, "no answer within the budget", maybe_done=True, retry=False)),
    ((boto.ConnectTimeoutError,), _Fault(TierTimeout, "cannot connect", maybe_done=False, retry=True)),
    ((boto.ReadTimeoutError,), _Fault(TierTimeout, "no answer", maybe_done=True, retry=True)),
    (_UNREACHED, _Fault(TierUnavailable, "cannot connect", maybe_done=False, retry=False)),
    (_LOST, _Fault(TierUnavailable, "connection lost", maybe_done=True, retry=True)),
    (_NO_CREDENTIALS, _Fault(TierMisconfigured, "no usable AWS credentials", maybe_done=False, retry=False)),
    ((Exception,), _Fault(TierUnavailable, "failed", maybe_done=True, retry=False)),
)
"""What a call comes to that DynamoDB did not answer; the most special kind stands first."""


def _fault(error: Exception) -> _Fault:
    """What a failed attempt comes to; raises what is no failure: a refused condition, a too large item."""
    if isinstance(error, boto.ClientError):
        return _answered(error)
    fault = next(fault for kinds, fault in _UNANSWERED if isinstance(error, kinds))
    return fault._replace(message=f"{fault.message} ({str(error) or type(error).__name__})")


def _answered(error: boto.ClientError) -> _Fault:
    """What DynamoDB's own refusal comes to."""
    code = error.response["Error"]["Code"]
    text = error.response["Error"].get("Message", "")
    message = f"{code}: {text}"
    if code == "ConditionalCheckFailedException":
        raise ConditionRefused(error.response.get("Item") or None) from error
    if code == "ValidationException" and any(sign in text for sign in _TOO_LARGE):
        raise ItemTooLarge(text) from error
    if code in _THROTTLED:
        return _Fault(TierThrottled, message, maybe_done=False, retry=True)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= _SERVER_FAULT:
        return _Fault(TierUnavailable, message, maybe_done=True, retry=True)
    return _Fault(TierMisconfigured, message, maybe_done=False, retry=False)
