"""CPU of this process per call to DynamoDB: through boto, and the short way (docs/adr/0008).

    PYTHONPATH=. .venv/bin/python tools/measure_dynamodb_client.py

Runs dynoxide as a child process. Calls are made eight at a time; the median of several rounds is printed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from tests.servers import Dynoxide

from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient, DynamoDBSettings, deadline_after

TABLE = "measure"
ROUNDS, CALLS, AT_ONCE = 7, 400, 8
RECORDS, RECORD_BYTES = 50, 200
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
WRITE = {
    "TableName": TABLE,
    "Key": {"pk": {"S": "g#1"}, "sk": {"S": "null"}},
    "UpdateExpression": "SET v=:v,wx=:e,w=:t,r=if_not_exists(r,:n)+:one",
    "ExpressionAttributeValues": {
        ":v": {"M": {"0": {"S": "x" * RECORD_BYTES}}},
        ":e": {"M": {}},
        ":t": {"N": "1790000000000000"},
        ":n": {"N": "1790000000000000"},
        ":one": {"N": "1"},
    },
    "ReturnValues": "ALL_NEW",
}
QUERY = {
    "TableName": TABLE,
    "KeyConditionExpression": "pk=:pk",
    "ExpressionAttributeValues": {":pk": {"S": "g#2"}},
    "ScanIndexForward": False,
    "Limit": RECORDS,
}


async def cpu_us(call: Call, operation: str, arguments: dict[str, Any]) -> float:
    """CPU per call, microseconds."""
    before = time.process_time()
    for _ in range(CALLS // AT_ONCE):
        await asyncio.gather(*(call(operation, arguments) for _ in range(AT_ONCE)))
    return (time.process_time() - before) / CALLS * 1e6


async def fill(boto: Any) -> None:
    """Make the table and a timeline in it."""
    names = ("pk", "sk")
    await boto.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=[
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(names, ("HASH", "RANGE"), strict=True)
        ],
    )
    for number in range(RECORDS):
        key = {"pk": {"S": "g#2"}, "sk": {"S": f"{number:013d}"}}
        await boto.update_item(**{**WRITE, "Key": key})


async def main(url: str) -> None:
    """Measure both ways, in turn."""
    keys: dict[str, Any] = {"access_key_id": "measure", "secret_access_key": "measure"}
    settings = DynamoDBSettings(endpoint_url=url, region_name="us-east-1", **keys)
    async with DynamoDBClient(settings) as client:
        boto = client._client  # noqa: SLF001 (what the short way is measured against)
        await fill(boto)

        async def through_boto(operation: str, arguments: dict[str, Any]) -> Any:
            return await getattr(boto, operation)(**arguments)

        async def short_way(operation: str, arguments: dict[str, Any]) -> Any:
            return await client.call(operation, deadline_after(5), **arguments)

        for title, operation, arguments in (
            ("conditional write of 200 bytes", "update_item", WRITE),
            ("newest 50 records of 200 bytes", "query", QUERY),
        ):
            taken: dict[str, list[float]] = {"boto": [], "short": []}
            for _ in range(ROUNDS):
                taken["boto"].append(await cpu_us(through_boto, operation, arguments))
                taken["short"].append(await cpu_us(short_way, operation, arguments))
            boto_us, short_us = (statistics.median(taken[way]) for way in ("boto", "short"))
            print(f"{title}: boto {boto_us:.0f} us, short way {short_us:.0f} us, {boto_us / short_us:.1f}x")


if __name__ == "__main__":
    with Dynoxide() as server:
        uvloop.run(main(server.url))
