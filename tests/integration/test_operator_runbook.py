"""The runbook's steps by hand, on emulators: after each of them the operator does what the page says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fault_proxy import refused
from tests.integration.operator_tables import TableUnderTest, a_table, a_table_on
from tests.operator.planned_tables import CLUSTER, a_wanted

from pannier_operator.aws.claim_items import claim_key, item_of_claim
from pannier_operator.planning.claims import Claim, Owner
from pannier_operator.planning.deletion import FINALIZER
from pannier_operator.planning.observed import START_EMPTY
from pannier_operator.planning.wanted import (
    TAG_CLUSTER,
    TAG_NAME,
    TAG_NAMESPACE,
    TAG_OWNERSHIP,
    TAG_UID,
    WantedTable,
    shared_table,
)
from pannier_operator.table_keeper import Kept, SharedState, TableMemory

pytestmark = [pytest.mark.dynamodb, pytest.mark.usefixtures("aws_credentials")]
PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "operator-runbook.md").read_text(encoding="utf-8")
KEYS: dict[str, Any] = {
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture(params=["dynoxide_url", "moto_url"])
def emulator(request: pytest.FixtureRequest) -> str:
    """Emulators that know tags."""
    url: str = request.getfixturevalue(request.param)
    return url


def claim_in(wanted: WantedTable) -> Claim:
    assert wanted.claim is not None
    return wanted.claim


async def test_a_restored_table_is_taken_back_by_adoption(emulator: str) -> None:
    """It comes without tags, TTL and protection, and with rows and claim: adopted, it is as before."""
    wanted = a_table({"storage.dedicated": {"deletionProtection": "Disabled"}})
    async with a_table_on(emulator) as table:
        await table.settle(wanted)
        call = table.dynamodb.call
        await call("delete_table", TableName=wanted.name)
        table.restart()
        assert (await table.settle(wanted)).plan.table.reason == "TableLost"
        await call("create_table", TableName=wanted.name, **KEYS)
        await call("put_item", TableName=wanted.name, Item=item_of_claim(claim_in(wanted)))
        assert (await table.settle(wanted)).plan.table.reason == "TableExists"
        kept = await table.settle(replace(wanted, may_adopt=True))
        assert kept.plan.table.holds
        assert kept.plan.claim_held
        assert kept.plan.ownership == "Adopted"
        assert kept.seen is not None
        assert kept.seen.ttl is not None
        assert kept.seen.ttl.status in {"ENABLED", "ENABLING"}


async def test_a_moved_group_keeps_table_and_claim(emulator: str) -> None:
    """Tag and claim name the new namespace: no table is made, and the feature list stays guarded."""
    wanted = a_table()
    there = {"/metadata.namespace": "ads", "storage.tableName": wanted.name}
    moved = a_wanted(there, uid="uid-2")
    changed = a_wanted({**there, "features[0]": {"id": 0, "name": "country", "type": "String"}}, uid="uid-2")
    async with a_table_on(emulator) as table:
        arn = (await table.settle(wanted)).seen.table.arn  # type: ignore[union-attr]
        table.restart()
        table.status = {}
        assert (await table.settle(moved)).plan.table.reason == "TableOwnedByOther"
        tags = [{"Key": TAG_NAMESPACE, "Value": "ads"}]
        await table.dynamodb.call("tag_resource", ResourceArn=arn, Tags=tags)
        await table.dynamodb.call(
            "update_item",
            TableName=wanted.name,
            Key=claim_key("user_facts"),
            UpdateExpression="SET #ns = :new",
            ConditionExpression="#ns = :old",
            ExpressionAttributeNames={"#ns": "namespace"},
            ExpressionAttributeValues={":new": {"S": "ads"}, ":old": {"S": "shop"}},
        )
        assert (await table.settle(changed)).plan.schema.reason == "SchemaConflict"
        kept = await table.settle(moved)
        assert kept.plan.table.holds
        assert kept.plan.claim_held
        assert kept.plan.ownership == "Created"
        assert table.mutations["CreateTable"] == 1


async def asked(table: TableUnderTest, shared: WantedTable, kept: Kept, claim: Claim) -> Kept:
    """Pass after pass over a claim in the shared table."""
    memory = TableMemory()
    for _ in range(3):
        found = await table.keeper.keep_claim(
            SharedState(shared, kept), claim, memory, "resync", act_too=True
        )
    return found


async def test_a_released_claim_can_be_taken(dynoxide_url: str) -> None:
    """As long as it is there the name is its owner's; once it is deleted, the next one's."""
    shared = shared_table("runbook-shared", None, cluster_id=CLUSTER, may_adopt=False)
    first = claim_in(a_table())
    second = replace(first, owner=Owner(CLUSTER, "ads", "facts"), uid="uid-2")
    async with a_table_on(dynoxide_url) as table:
        kept = await table.settle(shared)
        assert (await asked(table, shared, kept, first)).plan.claim_held
        refused = await asked(table, shared, kept, second)
        assert refused.plan.schema.reason == "GroupNameTaken"
        await table.dynamodb.call(
            "delete_item",
            TableName=shared.name,
            Key=claim_key(first.group_name),
            ConditionExpression="uid = :uid",
            ExpressionAttributeValues={":uid": {"S": first.uid}},
        )
        assert (await asked(table, shared, kept, second)).plan.claim_held


async def test_a_claim_that_cannot_be_read_says_nothing_against_the_table(dynoxide_url: str) -> None:
    """Of the schema nothing is known, and why is told; the shared table was seen by another look."""
    shared = shared_table("runbook-unread", None, cluster_id=CLUSTER, may_adopt=False)
    async with a_table_on(dynoxide_url) as table:
        kept = await table.settle(shared)
        table.proxy.on("GetItem", refused("AccessDeniedException", "not yours"))
        plan = (await asked(table, shared, kept, claim_in(a_table()))).plan
        assert (plan.schema.status, plan.schema.reason) == ("Unknown", "AccessDenied")
        assert plan.stalled
        assert plan.table.holds
        assert plan.ttl.holds


def test_the_page_names_what_the_code_names() -> None:
    """Tags, annotation, finalizer and the claim's key are spelt as in the code."""
    key = claim_key("GROUP")
    assert f'{{"pk":{{"S":"{key["pk"]["S"]}"}},"sk":{{"S":"{key["sk"]["S"]}"}}}}' in PAGE
    known = {TAG_CLUSTER, TAG_NAMESPACE, TAG_NAME, TAG_UID, TAG_OWNERSHIP, START_EMPTY, FINALIZER}
    assert set(re.findall(r"pannier\.dev/[a-z-]+", PAGE)) <= known
