"""Claims as items of the table they are about: read strongly, written conditionally.

``pk`` = ``__claim__#<groupName>``: a groupName begins with a letter, so no row can have that key. An expiring
claim carries ``expires_at`` and ends by the table's own TTL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from pannier.keys import RECORD_SORT_KEY, partition_key
from pannier_operator.aws.dynamodb_client import DynamoDB
from pannier_operator.planning.claims import Claim, ClaimedFeature, ClaimedKey, Owner, Ownership
from pannier_operator.planning.observed import TTL_ATTRIBUTE

CLAIM_PREFIX: Final = "__claim__"
_VERSION: Final = "version"


def claim_key(group_name: str) -> dict[str, Any]:
    """Make the key of a claim, in DynamoDB's form."""
    return {"pk": {"S": partition_key(CLAIM_PREFIX, group_name)}, "sk": {"S": RECORD_SORT_KEY}}


async def read_claim(dynamodb: DynamoDB, region: str | None, table: str, group_name: str) -> Claim | None:
    """Read a claim; None = there is none."""
    answer = await dynamodb.call(
        "get_item", region=region, TableName=table, Key=claim_key(group_name), ConsistentRead=True
    )
    item = answer.get("Item")
    return claim_of_item(group_name, item) if item else None


async def put_claim(
    dynamodb: DynamoDB, region: str | None, table: str, claim: Claim, *, seen: Claim | None
) -> None:
    """Write a claim if it still is as it was seen; a conflict is an `AwsFault`."""
    condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
    if seen is not None:
        condition = {
            "ConditionExpression": "#version = :seen",
            "ExpressionAttributeNames": {"#version": _VERSION},
            "ExpressionAttributeValues": {":seen": {"N": str(seen.version)}},
        }
    item = item_of_claim(replace(claim, version=claim.version + 1))
    await dynamodb.call("put_item", region=region, TableName=table, Item=item, **condition)


def item_of_claim(claim: Claim) -> dict[str, Any]:
    """Write a claim as an item that people can read in any DynamoDB tool."""
    item: dict[str, Any] = {
        **claim_key(claim.group_name),
        "cluster_id": {"S": claim.owner.cluster_id},
        "namespace": {"S": claim.owner.namespace},
        "name": {"S": claim.owner.name},
        "uid": {"S": claim.uid},
        "sort_key": {"S": _json(claim.key)},
        "features": {"S": _json(claim.features)},
        "tag_keys": {"S": _json(sorted(claim.tag_keys))},
        "ownership": {"S": claim.ownership},
        "expiring": {"BOOL": claim.expiring},
        _VERSION: {"N": str(claim.version)},
    }
    if claim.longest_row_seconds is not None:
        item["longest_row_seconds"] = {"N": str(claim.longest_row_seconds)}
    if claim.ends_at is not None:
        item[TTL_ATTRIBUTE] = {"N": str(int(claim.ends_at.timestamp()))}
    return item


def claim_of_item(group_name: str, item: Mapping[str, Any]) -> Claim:
    """Read what `item_of_claim` wrote."""
    longest, ends = item.get("longest_row_seconds"), item.get(TTL_ATTRIBUTE)
    return Claim(
        group_name=group_name,
        owner=Owner(*(item[part]["S"] for part in ("cluster_id", "namespace", "name"))),
        uid=item["uid"]["S"],
        key=msgspec.json.decode(item["sort_key"]["S"], type=ClaimedKey),
        features=msgspec.json.decode(item["features"]["S"], type=tuple[ClaimedFeature, ...]),
        longest_row_seconds=int(longest["N"]) if longest else None,
        ownership=cast("Ownership", item["ownership"]["S"]),
        tag_keys=frozenset(msgspec.json.decode(item["tag_keys"]["S"], type=list[str])),
        expiring=item["expiring"]["BOOL"],
        ends_at=datetime.fromtimestamp(int(ends["N"]), UTC) if ends else None,
        version=int(item[_VERSION]["N"]),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
