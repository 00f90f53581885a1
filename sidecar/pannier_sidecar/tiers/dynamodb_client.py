"""Calls to DynamoDB with a deadline, retries, and errors in Pannier's words; the module that knows boto.

What a caller sees of a failed call is a `CallFailed`: the `TierError` it comes to, and whether DynamoDB
may have acted on it all the same. Retries are made here and nowhere else (botocore's are off), with full
jitter (Brooker, "Exponential Backoff and Jitter", 2015), and never past the deadline. Data calls go out by
`dynamodb_wire`; boto finds the endpoint and the credentials, and makes the calls about tables. Not here: what
is asked (`dynamodb_reads`, `dynamodb_writes`, `dynamodb_tables`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aioboto3  # type: ignore[import-untyped]
import aiohttp
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore import exceptions as boto  # type: ignore[import-untyped]
from botocore.httpsession import get_cert_path  # type: ignore[import-untyped]

from pannier_sidecar.clock import Clock, SystemClock
from pannier_sidecar.errors import TierMisconfigured, TierThrottled, TierUnavailable
from pannier_sidecar.share_budget import ShareBudget
from pannier_sidecar.tiers.dynamodb_faults import (
    FAILURES,
    TIER,
    CallFailed,
    ConditionRefused,
    Fault,
    NotSent,
    fault_of,
)
from pannier_sidecar.tiers.dynamodb_wire import OPERATIONS, Credentials, DynamoDBWire, NotDynamoDB

_BACKOFF_SECONDS: Final = 0.02
_BACKOFF_MAX_SECONDS: Final = 1.0
_RETRIED_SHARE: Final = 0.1
_RETRIES_SAVED: Final = 500.0
"""Retries of reads: as many as a hiccup needs, and then one for ten calls. A table that is asked too much by
everyone is asked less by each; a write is tried on, since nobody has its answer in a cache."""
_WRITE_SECONDS: Final = 0.1
"""Room that another attempt to write must have: cut off, it would only make a refused write doubtful."""


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


_Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class _Keys:
    """Credentials as boto finds and renews them; looked for when the first call needs them."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._found: Any = None

    async def __call__(self) -> Credentials:
        if self._found is None:
            self._found = await self._session.get_credentials()
        if self._found is None:
            raise boto.NoCredentialsError
        keys: Credentials = await self._found.get_frozen_credentials()
        return keys

    def __repr__(self) -> str:
        return f"<_Keys {'found' if self._found else 'not looked for yet'}>"


class DynamoDBClient:
    """One client with its pool of connections, owned through ``async with``; needs no DynamoDB to start."""

    def __init__(
        self,
        settings: DynamoDBSettings,
        dice: random.Random | None = None,
        clock: Clock | None = None,
        on_throttled: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_throttled = on_throttled
        self._clock = clock or SystemClock()
        self._dice = dice or random.Random()
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._retries = ShareBudget(_RETRIED_SHARE, _RETRIES_SAVED, _RETRIES_SAVED)
        self._owned = contextlib.AsyncExitStack()
        self._client: Any = None
        self._wire: DynamoDBWire | None = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        session = aioboto3.Session(
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
            self._wire = await self._owned.enter_async_context(self._open_wire(session))
        except (boto.BotoCoreError, ValueError) as error:
            raise TierMisconfigured(TIER, f"no DynamoDB client from these settings: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client = self._wire = None
        await self._owned.aclose()

    @contextlib.asynccontextmanager
    async def _open_wire(self, session: Any) -> AsyncIterator[DynamoDBWire]:
        """The short way to the endpoint that boto found, trusting whom boto trusts."""
        settings = self._settings
        trusted = session._session.get_config_variable("ca_bundle") or get_cert_path(verify=True)  # noqa: SLF001
        connector = aiohttp.TCPConnector(
            limit=settings.concurrency, ssl=ssl.create_default_context(cafile=trusted)
        )
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=settings.connect_timeout_seconds,
            sock_read=settings.read_timeout_seconds,
        )
        headers = {"accept-encoding": "identity", "user-agent": "pannier"}
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            yield DynamoDBWire(
                http,
                endpoint=self._client.meta.endpoint_url,
                region=self._client.meta.region_name,
                credentials=_Keys(session),
                clock=self._clock,
            )

    async def call(self, operation: str, deadline: float, **arguments: Any) -> Mapping[str, Any]:
        """One answer by ``deadline`` (loop time), after as many attempts as fit before it.

        Raises `CallFailed`, and of conditional writes `ConditionRefused` and `ItemTooLarge`.
        """
        if self._client is None or self._wire is None:
            raise CallFailed(TierUnavailable(TIER, "the DynamoDB store is not open"), maybe_done=False)
        ask = self._ask(operation, self._wire)
        maybe_done = False
        cause: Fault | None = None
        self._retries = self._retries.earned()
        for attempt in itertools.count():
            began = asyncio.get_running_loop().time()
            try:
                return _checked(operation, await self._attempt(ask, deadline, arguments))
            except FAILURES as error:
                try:
                    fault = fault_of(error)
                except ConditionRefused as refused:
                    refused.maybe_done = maybe_done
                    raise
                if fault.error is TierThrottled:
                    self._on_throttled()
                maybe_done = maybe_done or fault.maybe_done
                if cause is None or not isinstance(error, TimeoutError):
                    cause = fault  # a retry that the budget cut says less than what made it necessary
                taken = asyncio.get_running_loop().time() - began
                room = max(2 * taken, _WRITE_SECONDS if operation in _WRITES else 0.0)
                is_read = operation in _READS
                if not fault.retry or not await self.back_off(attempt, deadline, room, is_read=is_read):
                    message = f"{operation} on {_tables(arguments)}: {cause.message}"
                    raise CallFailed(cause.error(TIER, message), maybe_done=maybe_done) from error
        raise AssertionError("counting never ends")

    def _ask(self, operation: str, wire: DynamoDBWire) -> _Ask:
        if operation in OPERATIONS:
            return functools.partial(wire.call, operation)
        method = getattr(self._client, operation)
        return lambda arguments: method(**arguments)

    async def _attempt(self, ask: _Ask, deadline: float, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NotSent from error
        try:
            async with asyncio.timeout_at(deadline):
                return await ask(arguments)
        finally:
            self._slots.release()

    async def back_off(
        self, attempt: int, deadline: float, needed_seconds: float = 0.0, *, is_read: bool = False
    ) -> bool:
        """Wait before another attempt; False, without waiting, where the deadline leaves no room for it.

        Of reads also where too many were repeated of late.
        ``needed_seconds``: what an attempt may take; one that is cut off only makes a write doubtful.
        """
        ceiling = min(_BACKOFF_MAX_SECONDS, _BACKOFF_SECONDS * 2**attempt)
        delay = self._dice.uniform(0, ceiling)
        if asyncio.get_running_loop().time() + delay + needed_seconds >= deadline:
            return False
        if is_read:
            if not self._retries.affords:
                return False
            self._retries = self._retries.spent()
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


_READS: Final = frozenset({"batch_get_item", "query"})
_WRITES: Final = frozenset({"update_item", "delete_item"})
_MEMBER: Final = {"batch_get_item": "Responses", "query": "Items", "update_item": "Attributes"}
"""What a sound answer always holds; a JSON object without it comes from something else."""


def _checked(operation: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    member = _MEMBER.get(operation)
    if member is not None and member not in answer:
        raise NotDynamoDB(f"the answer holds no {member}; is this DynamoDB?")
    return answer


def deadline_after(seconds: float) -> float:
    """The deadline of a budget that begins now."""
    return asyncio.get_running_loop().time() + seconds


def _tables(arguments: Mapping[str, Any]) -> str:
    named = arguments.get("TableName")
    return str(named) if named else ", ".join(arguments.get("RequestItems", {}))
