"""Calls to DynamoDB: the only module that imports aioboto3; errors leave it as `AwsFault`.

One client per region, made when the first group names it. No retries here: a failed call is classified, and
the queue tries again after a look. Every call takes from the budget of the account, every mutating one asks
first whether this replica may still write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aioboto3  # type: ignore[import-untyped]
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore import exceptions as boto  # type: ignore[import-untyped]

from pannier_operator.aws.call_budget import CallBudget, Urgency
from pannier_operator.aws.faults import Answer, classify, no_credentials, no_region, unanswered
from pannier_operator.clock import Clock
from pannier_operator.errors import AwsFault

DATA_CALLS: Final = frozenset({"get_item", "put_item"})
"""Calls about claims: no part of the control plane, and not of its budget."""
READS: Final = frozenset(
    {
        "describe_table",
        "describe_time_to_live",
        "describe_continuous_backups",
        "list_tags_of_resource",
        "get_item",
    }
)
"""Calls that change nothing; any other needs the Lease."""
_MEMBER: Final = {
    "describe_table": "Table",
    "describe_time_to_live": "TimeToLiveDescription",
    "describe_continuous_backups": "ContinuousBackupsDescription",
    "list_tags_of_resource": "Tags",
}
"""What a sound answer always holds."""
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.MetadataRetrievalError,
)
Counted = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where DynamoDB is, and how patient calls are. Credentials come from AWS's chain."""

    endpoint_url: str | None = None
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 15.0
    connections: int = 20


class DynamoDB:
    """All regions of one account, owned through ``async with``."""

    def __init__(
        self,
        settings: ClientSettings,
        *,
        budget: CallBudget,
        clock: Clock,
        may_write: Callable[[], None],
        count: Counted = lambda _operation, _code: None,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._may_write = may_write
        self._count = count
        self._session = aioboto3.Session()
        self._clients: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self._owned = contextlib.AsyncExitStack()

    async def call(
        self, operation: str, *, region: str | None = None, urgency: Urgency = "edit", **arguments: Any
    ) -> Mapping[str, Any]:
        """Make one call; raises `AwsFault`, and `LeadershipLost` before a mutating one."""
        if operation not in DATA_CALLS:
            await self._budget.take(urgency)
        if operation not in READS:
            self._may_write()
        try:
            answer = await self._ask(operation, region, arguments)
        except AwsFault as fault:
            self._count(operation, fault.code)
            raise
        self._count(operation, "OK")
        return answer

    async def _ask(
        self, operation: str, region: str | None, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        try:
            client = await self._client(operation, region)
            answer: Mapping[str, Any] = await getattr(client, operation)(**arguments)
        except (boto.ClientError, boto.BotoCoreError, TimeoutError) as error:
            raise self._fault(operation, error) from error
        return _checked(operation, answer)

    def wait_seconds(self, urgency: Urgency) -> float:
        """How long a call would wait for the budget now."""
        return self._budget.wait_seconds(urgency)

    def _fault(self, operation: str, error: Exception) -> AwsFault:
        if isinstance(error, boto.ClientError):
            said, status = error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            answer = Answer(operation, said.get("Code", "Unknown"), said.get("Message", ""), status)
            return classify(answer, self._clock.now())
        why = str(error) or type(error).__name__
        if isinstance(error, _NO_CREDENTIALS):
            return no_credentials(operation, why)
        return unanswered(operation, why)

    async def _client(self, operation: str, region: str | None) -> Any:
        endpoint = self._settings.endpoint_url
        name = region or self._session.region_name or ("us-east-1" if endpoint else None)
        if name is None:
            raise no_region(operation)
        async with self._opening:
            if name not in self._clients:
                opened = self._session.client(
                    "dynamodb", region_name=name, endpoint_url=endpoint, config=_config(self._settings)
                )
                self._clients[name] = await self._owned.enter_async_context(opened)
        return self._clients[name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.clear()
        await self._owned.aclose()

    def __repr__(self) -> str:
        where = self._settings.endpoint_url or "AWS"
        return f"<DynamoDB {where}, regions: {', '.join(self._clients) or 'none yet'}>"


def _checked(operation: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take an answer only from DynamoDB: boto reads a proxy's page as an answer that holds nothing.

    No tags would mean nobody's table, no item nobody's claim.
    """
    kind = answer["ResponseMetadata"]["HTTPHeaders"].get("content-type", "")
    member = _MEMBER.get(operation)
    if "json" not in kind or (member is not None and member not in answer):
        raise unanswered(operation, f"what came back is not DynamoDB's: {kind or 'no content type'}")
    return answer


def _config(settings: ClientSettings) -> Any:
    return AioConfig(
        max_pool_connections=settings.connections,
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        retries={"total_max_attempts": 1},
        user_agent="pannier-operator",
    )
