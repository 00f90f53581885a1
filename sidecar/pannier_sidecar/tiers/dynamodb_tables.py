"""Tables as the sidecar sees them: whether they have the right keys, and making them for development.

In a cluster the operator owns tables; nothing here runs on the way of a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from pannier_sidecar.errors import TierError, TierMisconfigured, TierUnavailable
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient, deadline_after
from pannier_sidecar.tiers.dynamodb_faults import TIER, CallFailed

_KEY_SCHEMA: Final = [
    {"AttributeName": "pk", "KeyType": "HASH"},
    {"AttributeName": "sk", "KeyType": "RANGE"},
]
_KEY_TYPES: Final = [
    {"AttributeName": "pk", "AttributeType": "S"},
    {"AttributeName": "sk", "AttributeType": "S"},
]
_TTL_ATTRIBUTE: Final = "expires_at"
_CHECK_SECONDS: Final = 5.0
_CREATE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


class DynamoDBTables:
    """The tables behind one client."""

    __slots__ = ("_client",)

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client

    async def check(self, plans: Sequence[GroupPlan]) -> dict[str, TierError | None]:
        """Per group name: None if its table can be used, else what is wrong."""
        tables = sorted({plan.table for plan in plans if plan.table is not None})
        found = await asyncio.gather(*(self._check(table) for table in tables))
        faults = dict(zip(tables, found, strict=True))
        return {plan.name: None if plan.table is None else faults[plan.table] for plan in plans}

    async def _check(self, table: str) -> TierError | None:
        try:
            description = await self._describe(table, deadline_after(_CHECK_SECONDS))
        except CallFailed as failure:
            return failure.error
        keys = [(key["AttributeName"], key["KeyType"]) for key in description["KeySchema"]]
        types = {kind["AttributeName"]: kind["AttributeType"] for kind in description["AttributeDefinitions"]}
        wanted = [(key["AttributeName"], key["KeyType"]) for key in _KEY_SCHEMA]
        if keys != wanted or any(types.get(name) != "S" for name, _ in wanted):
            has = ", ".join(f"{name} ({kind.lower()}, {types.get(name)})" for name, kind in keys)
            return TierMisconfigured(
                TIER, f"table {table} is keyed by {has}; Pannier needs pk (hash, S), sk (range, S)"
            )
        if description["TableStatus"] not in {"ACTIVE", "UPDATING"}:
            return TierUnavailable(TIER, f"table {table} is {description['TableStatus']}")
        return None

    async def _describe(self, table: str, deadline: float) -> dict[str, Any]:
        answer = await self._client.call("describe_table", deadline, TableName=table)
        description: dict[str, Any] = answer["Table"]
        return description

    async def create(self, plans: Sequence[GroupPlan]) -> None:
        """Make the tables that are missing, with their TTL; raises `TierError`."""
        tables = sorted({plan.table for plan in plans if plan.table is not None})
        deadline = deadline_after(_CREATE_SECONDS)
        try:
            for table in tables:
                await self._create(table, deadline)
        except CallFailed as failure:
            raise failure.error from failure

    async def _create(self, table: str, deadline: float) -> None:
        try:
            await self._describe(table, deadline)
        except CallFailed as failure:
            if not isinstance(failure.error, TierMisconfigured):
                raise
        else:
            return
        await self._client.call(
            "create_table",
            deadline,
            TableName=table,
            AttributeDefinitions=_KEY_TYPES,
            KeySchema=_KEY_SCHEMA,
            BillingMode="PAY_PER_REQUEST",
        )
        # the status is DynamoDB's: it can only be asked
        while (await self._describe(table, deadline))["TableStatus"] != "ACTIVE":  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        await self._client.call(
            "update_time_to_live",
            deadline,
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": _TTL_ATTRIBUTE},
        )

    def __repr__(self) -> str:
        return f"<DynamoDBTables {self._client!r}>"
