"""Deleting a whole timeline id in DynamoDB: its fence, and the resumable removal of what lies under it.

The fence is one write and is the delete. Removal may stop anywhere: whoever goes on starts at the first
row that is left, and readers never see any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pannier.keys import FENCE_SORT_KEY, partition_key
from pannier.values import AttributeValue
from pannier_sidecar.errors import TierThrottled
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Row
from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient
from pannier_sidecar.tiers.dynamodb_faults import TIER, CallFailed, ConditionRefused
from pannier_sidecar.tiers.dynamodb_writes import Budget, DynamoDBWrites
from pannier_sidecar.tiers.fences import closed, erase_stamp, fence_put, hidden_range, still_refuses
from pannier_sidecar.tiers.items import OnBadValue, from_item, item_key, number

_DELETES_PER_CALL: Final = 25
"""What BatchWriteItem takes."""


class DynamoDBErasures:
    """The erasures of one client."""

    __slots__ = ("_client", "_on_bad_value", "_writes")

    def __init__(self, client: DynamoDBClient, writes: DynamoDBWrites, on_bad_value: OnBadValue) -> None:
        self._client = client
        self._writes = writes
        self._on_bad_value = on_bad_value

    async def write_fence(self, plan: GroupPlan, row_id: str, budget: Budget) -> Row:
        """Put a fence above now, every stored record and the fence that may stand; raises `CallFailed`."""
        answer = await self._client.call(
            "query",
            budget.deadline,
            **_keys_of(plan, row_id, ("", FENCE_SORT_KEY)),
            ScanIndexForward=False,
            Limit=2,
        )
        items = {item["sk"]["S"]: item for item in answer["Items"]}
        found = items.pop(FENCE_SORT_KEY, None)
        standing = None if found is None else from_item(plan, found, self._on_bad_value)
        stamp = erase_stamp(plan, next(iter(items), None), standing, budget.now_us)
        outcome = await self._writes.put(fence_put(plan, row_id, stamp), budget)
        if outcome.row is None:
            raise AssertionError(f"a fence is written or finds a higher one, not {outcome}")
        return outcome.row

    async def remove_hidden(
        self, plan: GroupPlan, row_id: str, fence: Row, max_rows: int, budget: Budget
    ) -> Erasure:
        """Remove up to ``max_rows`` rows under the fence, which ends once none is left.

        What fails is left for whoever goes on. Deletes of a moment ago stay, and end by themselves.
        """
        removed = 0
        asked = _keys_of(plan, row_id, hidden_range(plan, fence))
        try:
            while removed < max_rows:
                page = await self._client.call("query", budget.deadline, **asked, Limit=max_rows - removed)
                hidden = [
                    {"pk": item["pk"], "sk": item["sk"]}
                    for item in page["Items"]
                    if not still_refuses(from_item(plan, item, self._on_bad_value), budget.now_us)
                ]
                await self._remove(plan, hidden, budget)
                removed += len(hidden)
                if "LastEvaluatedKey" in page:
                    asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
                else:
                    ended = closed(plan, fence, budget.now_us)
                    await self._end(plan, row_id, ended, budget)
                    return Erasure(fence=ended, removed=removed, finished=True)
        except CallFailed:
            pass  # the fence stands, so the id is gone; what is left to remove is not what was asked
        return Erasure(fence=fence, removed=removed, finished=False)

    async def _end(self, plan: GroupPlan, row_id: str, fence: Row, budget: Budget) -> None:
        """Say when the fence ends, unless another delete has put a newer one there."""
        with contextlib.suppress(ConditionRefused):
            await self._client.call(
                "update_item",
                budget.deadline,
                TableName=plan.table,
                Key=item_key(plan, row_id, FENCE_SORT_KEY),
                UpdateExpression="SET expires_at=:x",
                ConditionExpression="r=:r",
                ExpressionAttributeValues={":x": number(fence.expires_at or 0), ":r": number(fence.revision)},
                ReturnValues="UPDATED_NEW",
            )

    async def _remove(
        self, plan: GroupPlan, keys: Sequence[Mapping[str, AttributeValue]], budget: Budget
    ) -> None:
        batches = [keys[at : at + _DELETES_PER_CALL] for at in range(0, len(keys), _DELETES_PER_CALL)]
        ended = await asyncio.gather(
            *(self._remove_batch(plan, batch, budget) for batch in batches), return_exceptions=True
        )
        for error in ended:
            if error is not None:
                raise error

    async def _remove_batch(
        self, plan: GroupPlan, keys: Sequence[Mapping[str, AttributeValue]], budget: Budget
    ) -> None:
        waiting: Any = {plan.table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        attempt = 0
        while waiting:
            if attempt and not await self._client.back_off(attempt, budget.deadline):
                error = TierThrottled(TIER, "DynamoDB left deletes unprocessed until the budget was used up")
                raise CallFailed(error, maybe_done=True)
            answer = await self._client.call("batch_write_item", budget.deadline, RequestItems=waiting)
            waiting = answer.get("UnprocessedItems")
            attempt += 1

    def __repr__(self) -> str:
        return f"<DynamoDBErasures {self._client!r}>"


def _keys_of(plan: GroupPlan, row_id: str, bounds: tuple[str, str]) -> dict[str, Any]:
    """A strong query for keys and stamps, without features."""
    low, high = bounds
    return {
        "TableName": plan.table,
        "KeyConditionExpression": "pk=:p AND sk BETWEEN :low AND :high",
        "ExpressionAttributeValues": {
            ":p": {"S": partition_key(plan.name, row_id)},
            ":low": {"S": low or "!"},
            ":high": {"S": high},
        },
        "ProjectionExpression": "pk,sk,w,r,d,expires_at",
        "ConsistentRead": True,
    }
