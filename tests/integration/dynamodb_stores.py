"""Stores on DynamoDB emulators, and items in them as another program reads and writes them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.builders import a_plan
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    TABLE,
)

from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.tiers.dynamodb_client import deadline_after
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBSettings, DynamoDBStore

Item = dict[str, dict[str, Any]]


def settings(url: str, **fields: Any) -> DynamoDBSettings:
    """Settings for an emulator, with credentials it accepts."""
    known: dict[str, Any] = {"region_name": "us-east-1", "access_key_id": "test", "secret_access_key": "test"}
    return DynamoDBSettings(endpoint_url=url, **{**known, **fields})


@contextlib.asynccontextmanager
async def a_store(url: str, **fields: Any) -> AsyncIterator[DynamoDBStore]:
    """Open a store on an emulator, with the table of the suite."""
    async with DynamoDBStore(settings(url), **fields) as store:
        await store.create_tables([a_plan(table=TABLE)])
        yield store


async def stored_item(store: DynamoDBStore, plan: GroupPlan, row_id: str, sort_key: str = "null") -> Item:
    """Fetch an item as DynamoDB holds it."""
    key = {"pk": {"S": f"{plan.name}#{row_id}"}, "sk": {"S": sort_key}}
    answer = await store._client.call(
        "get_item", deadline_after(BUDGET_SECONDS), TableName=plan.table, Key=key, ConsistentRead=True
    )
    item: Item = answer["Item"]
    return item


async def another_writer(
    store: DynamoDBStore, plan: GroupPlan, item: Item, *, row_id: str = "1", sort_key: str = "null"
) -> None:
    """Put an item as a program would that knows nothing of stamps."""
    key = {"pk": {"S": f"{plan.name}#{row_id}"}, "sk": {"S": sort_key}}
    await store._client.call(
        "put_item", deadline_after(BUDGET_SECONDS), TableName=plan.table, Item={**key, **item}
    )
