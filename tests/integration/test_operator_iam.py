"""Every call that the operator makes of a table's life is allowed by its policy; its neighbours' are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.iam_policy import Call, Policy
from tests.integration.operator_tables import a_table, a_table_on
from tests.operator.planned_tables import CLUSTER, a_wanted
from tests.operator.test_iam import OPERATIONS

from pannier.keys import partition_key
from pannier_operator.aws.dynamodb_client import DynamoDB
from pannier_operator.planning.actions import DeleteTable
from pannier_operator.planning.wanted import TAG_CLUSTER, WantedTable
from pannier_operator.table_keeper import TableKeeper

ACCOUNT = {"ACCOUNT": "123456789012"}
OPERATOR = Policy("operator", PREFIX="operator", CLUSTER=CLUSTER, **ACCOUNT)
OWN = {f"aws:ResourceTag/{TAG_CLUSTER}": [CLUSTER]}


class Recorder:
    """Stands before a client and notes what is asked of it."""

    def __init__(self, inner: DynamoDB) -> None:
        self._inner = inner
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    async def call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        self.calls.append((operation, arguments))
        return await self._inner.call(operation, **arguments)

    def wait_seconds(self, urgency: Any) -> float:
        return self._inner.wait_seconds(urgency)


def seen_by_iam(operation: str, arguments: Mapping[str, Any], table: str) -> Call:
    """The call with the condition keys that DynamoDB gives it."""
    context = {f"aws:RequestTag/{tag['Key']}": [tag["Value"]] for tag in arguments.get("Tags", ())}
    if operation != "create_table":
        context |= OWN
    for member in ("Key", "Item"):
        if member in arguments:
            context["dynamodb:LeadingKeys"] = [arguments[member]["pk"]["S"]]
    name = arguments.get("TableName") or arguments["ResourceArn"].rpartition("/")[2]
    assert name == table
    return Call(action=OPERATIONS[operation], table=name, context=context)


def edited(wanted: WantedTable, **dedicated: Any) -> WantedTable:
    return a_wanted({"storage.tableName": wanted.name, "storage.dedicated": dedicated})


@pytest.mark.dynamodb
@pytest.mark.usefixtures("aws_credentials")
async def test_a_tables_whole_life_is_allowed(moto_url: str) -> None:
    """Made, tagged, edited, its backups and protection changed, its claim kept, deleted."""
    wanted = a_table({"storage.dedicated": {"tags": {"team": "reco"}}})
    async with a_table_on(moto_url) as table:
        recorder = Recorder(table.dynamodb)
        table.keeper = TableKeeper(recorder, table.clock)  # type: ignore[arg-type]
        await table.settle(wanted)
        off = {"state": "Disabled"}
        provisioned = {"readCapacityUnits": 3, "writeCapacityUnits": 2}
        later = edited(
            wanted,
            pointInTimeRecovery=off,
            deletionProtection="Disabled",
            billingMode="Provisioned",
            provisionedThroughput=provisioned,
        )
        await table.settle(later)
        await table.keeper.act_alone(later, DeleteTable())
    made = {OPERATIONS[operation] for operation, _ in recorder.calls}
    assert {"CreateTable", "UpdateTable", "UpdateContinuousBackups", "UntagResource", "DeleteTable"} <= made
    for operation, arguments in recorder.calls:
        assert OPERATOR.allows(seen_by_iam(operation, arguments, wanted.name)), operation


@pytest.mark.parametrize(
    "call",
    [
        Call(action="GetItem", table="operator.1", context={"dynamodb:LeadingKeys": ["user_facts#17"]}),
        Call(action="Query", table="operator.1", context={"dynamodb:LeadingKeys": ["__claim__#x"]}),
        Call(action="DeleteTable", table="operator.1"),
        Call(action="DeleteTable", table="operator.1", context={f"aws:ResourceTag/{TAG_CLUSTER}": ["b"]}),
        Call(action="CreateTable", table="operator.1"),
        Call(action="UpdateTable", table="orders"),
    ],
    ids=lambda call: f"{call.action} {call.table}",
)
def test_what_is_not_its_own_is_denied(call: Call) -> None:
    """Rows, tables of other clusters, tables outside its prefix."""
    assert not OPERATOR.allows(call)


def test_sidecars_are_kept_to_their_groups() -> None:
    """In a shared table as well; a batch with one foreign row is denied whole."""
    words = {"TABLE": "features-online", "GROUP": "user_facts"}
    reads, writes = Policy("sidecar-read", **words, **ACCOUNT), Policy("sidecar-write", **words, **ACCOUNT)
    own, foreign = partition_key("user_facts", "1"), partition_key("user_facts_2", "1")

    def call(operation: str, *keys: str) -> Call:
        return Call(action=operation, table="features-online", context={"dynamodb:LeadingKeys": keys})

    for operation in ("BatchGetItem", "Query"):
        assert reads.allows(call(operation, own))
        assert not reads.allows(call(operation, own, foreign))
    for operation in ("UpdateItem", "DeleteItem", "BatchWriteItem"):
        assert writes.allows(call(operation, own))
        assert not writes.allows(call(operation, foreign))
        assert not reads.allows(call(operation, own))
