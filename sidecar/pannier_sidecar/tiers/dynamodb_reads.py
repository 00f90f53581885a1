"""Reading rows from DynamoDB: BatchGetItem in parallel chunks, Query newest first. Bulk in, bulk out.

A key that could not be answered has its `TierError` in its place. Not here: what a row means to a reader (the
entries), retries of whole calls (`dynamodb_client`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from pannier.errors import KeyRefused, ValueRefused
from pannier.keys import FENCE_SORT_KEY, parse_sort_key, partition_key
from pannier.values import AttributeValue
from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Row, RowKey, TimelinePage, TimelineQuery
from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient
from pannier_sidecar.tiers.dynamodb_faults import TIER, CallFailed
from pannier_sidecar.tiers.fences import Newest, is_unsettled, seen_under
from pannier_sidecar.tiers.items import Item, OnBadValue, from_item
from pannier_sidecar.tiers.l3 import CALLS_AT_ONCE, KEYS_PER_CALL

Address = tuple[str, str]
"""Table and partition key; the sort key is the same for all keys of a call."""


class DynamoDBReads:
    """The reads of one client. ``on_bad_value`` hears of stored values that cannot be read."""

    __slots__ = ("_client", "_on_bad_value")

    def __init__(self, client: DynamoDBClient, on_bad_value: OnBadValue) -> None:
        self._client = client
        self._on_bad_value = on_bad_value

    async def rows(
        self, keys: Sequence[RowKey], sort_key: str, *, strong: bool, deadline: float
    ) -> list[Row | TierError | None]:
        """The row at ``sort_key`` of each id, in the order asked; an id asked for twice is read once."""
        found = await self._by_address(keys, sort_key, strong=strong, deadline=deadline)
        return [found[_address(key)] for key in keys]

    async def _by_address(
        self, keys: Iterable[RowKey | TimelineQuery], sort_key: str, *, strong: bool, deadline: float
    ) -> dict[Address, Row | TierError | None]:
        plans = {_address(key): key.plan for key in keys}
        ordered = sorted(plans)  # by table, so that few chunks span two
        chunks = [ordered[at : at + KEYS_PER_CALL] for at in range(0, len(ordered), KEYS_PER_CALL)]
        answers = await asyncio.gather(
            *(self._chunk(chunk, sort_key, strong=strong, deadline=deadline) for chunk in chunks)
        )
        found = {address: item for answer in answers for address, item in answer.items()}
        return {address: self._row(plan, found.get(address)) for address, plan in plans.items()}

    def _row(self, plan: GroupPlan, found: Item | TierError | None) -> Row | TierError | None:
        if found is None or isinstance(found, TierError):
            return found
        return from_item(plan, found, self._on_bad_value)

    async def _chunk(
        self, addresses: Sequence[Address], sort_key: str, *, strong: bool, deadline: float
    ) -> dict[Address, Item | TierError]:
        try:
            return await self._batch(addresses, sort_key, strong=strong, deadline=deadline)
        except CallFailed as failure:
            error = failure.error
        by_table: dict[str, list[Address]] = {}
        for address in addresses:
            by_table.setdefault(address[0], []).append(address)
        if isinstance(error, TierMisconfigured) and len(by_table) > 1:
            # one missing table fails the whole call: the others are asked by themselves
            parts = await asyncio.gather(
                *(self._chunk(part, sort_key, strong=strong, deadline=deadline) for part in by_table.values())
            )
            return {address: item for part in parts for address, item in part.items()}
        return dict.fromkeys(addresses, error)

    async def _batch(
        self, addresses: Sequence[Address], sort_key: str, *, strong: bool, deadline: float
    ) -> dict[Address, Item | TierError]:
        """One BatchGetItem, and more for what it left unprocessed; what stays so is throttled."""
        found: dict[Address, Item | TierError] = {}
        waiting: Any = _request_items(addresses, sort_key, strong=strong)
        attempt = 0
        while waiting:
            if attempt and not await self._client.back_off(attempt, deadline, is_read=True):
                error = TierThrottled(TIER, "DynamoDB left keys unprocessed until the budget was used up")
                for table, left in waiting.items():
                    found |= dict.fromkeys(((table, key["pk"]["S"]) for key in left["Keys"]), error)
                break
            answer = await self._client.call("batch_get_item", deadline, RequestItems=waiting)
            for table, items in answer["Responses"].items():
                for item in items:
                    found[table, item["pk"]["S"]] = item
            waiting = answer.get("UnprocessedKeys")
            attempt += 1
        return found

    async def pages(
        self, queries: Sequence[TimelineQuery], *, strong: bool, deadline: float, now_us: int
    ) -> list[TimelinePage | TierError]:
        """A page for each query; the fences that their ranges leave out are fetched beside, together."""
        ranged = [query for query in queries if query.high < FENCE_SORT_KEY]
        gate = asyncio.Semaphore(CALLS_AT_ONCE)

        async def page(query: TimelineQuery) -> TimelinePage | TierError:
            beside = fences if query.high < FENCE_SORT_KEY else None
            async with gate:
                newest = Newest(query, now_us)
                answer = await self._page(newest, query, beside, strong=strong, deadline=deadline)
                return await self._settled(query, answer, deadline, now_us)

        async with asyncio.TaskGroup() as tasks:
            fences = tasks.create_task(
                self._by_address(ranged, FENCE_SORT_KEY, strong=strong, deadline=deadline)
            )
            pages = [tasks.create_task(page(query)) for query in queries]
        return [answer.result() for answer in pages]

    async def _settled(
        self, query: TimelineQuery, page: TimelinePage | TierError, deadline: float, now_us: int
    ) -> TimelinePage | TierError:
        """Look for the fence again where a late record may just have been stored under one.

        A page is read piece by piece and its fence beside it, so the id may have been erased in between.
        """
        if isinstance(page, TierError) or not is_unsettled(page, now_us):
            return page
        fences = await self._by_address([query], FENCE_SORT_KEY, strong=True, deadline=deadline)
        fence = fences[_address(query)]
        return fence if isinstance(fence, TierError) else seen_under(page, query, fence, now_us)

    async def _page(
        self,
        newest: Newest,
        query: TimelineQuery,
        beside: Awaitable[Mapping[Address, Row | TierError | None]] | None,
        *,
        strong: bool,
        deadline: float,
    ) -> TimelinePage | TierError:
        """The newest live rows of one id. ``beside``: its fence, where the range ends below it."""
        start: Mapping[str, AttributeValue] | None = None
        while True:
            # one more than missing shows whether the range goes on, one is the fence
            asked = _query(query, newest.missing + 2, start, strong=strong)
            try:
                answer = await self._client.call("query", deadline, **asked)
            except CallFailed as failure:
                return failure.error
            if beside is not None:
                fence = (await beside)[_address(query)]
                if isinstance(fence, TierError):
                    return fence
                newest.take_fence(fence)
                beside = None
            rest = self._take(newest, query.plan, answer["Items"])
            start = answer.get("LastEvaluatedKey")
            if start is None or newest.is_complete:
                return newest.page(ended=start is None and not rest)

    def _take(self, newest: Newest, plan: GroupPlan, items: Sequence[Item]) -> int:
        """Take items until the page is complete; returns how many are left."""
        for position, item in enumerate(items):
            if newest.is_complete:
                return len(items) - position
            row = from_item(plan, item, self._on_bad_value)
            if row.sort_key == FENCE_SORT_KEY:
                newest.take_fence(row)
            elif self._is_ours(plan, row.sort_key):
                newest.take(row)
        return 0

    def _is_ours(self, plan: GroupPlan, sort_key: str) -> bool:
        """Whether the row is a record of the timeline; other writers may keep other rows among them."""
        try:
            parse_sort_key(sort_key, plan.width)
        except KeyRefused as refused:
            problem = refused.problem
            self._on_bad_value(plan, "sk", ValueRefused(problem.reason, problem.message))
            return False
        return True

    def __repr__(self) -> str:
        return f"<DynamoDBReads {self._client!r}>"


def _address(key: RowKey | TimelineQuery) -> Address:
    return key.plan.table or "", partition_key(key.plan.name, key.id)


def _query(
    query: TimelineQuery, wanted: int, start: Mapping[str, AttributeValue] | None, *, strong: bool
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "TableName": query.plan.table,
        "KeyConditionExpression": "pk=:p AND sk BETWEEN :low AND :high",
        "ExpressionAttributeValues": {
            ":p": {"S": partition_key(query.plan.name, query.id)},
            ":low": {"S": query.low},
            ":high": {"S": query.high},
        },
        "ScanIndexForward": False,
        "Limit": wanted,
        "ConsistentRead": strong,
    }
    return arguments if start is None else arguments | {"ExclusiveStartKey": start}


def _request_items(addresses: Sequence[Address], sort_key: str, *, strong: bool) -> dict[str, Any]:
    requests: dict[str, Any] = {}
    for table, pk in addresses:
        request = requests.setdefault(table, {"Keys": [], "ConsistentRead": strong})
        request["Keys"].append({"pk": {"S": pk}, "sk": {"S": sort_key}})
    return requests
