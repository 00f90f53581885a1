"""Scenario 08 in full: every fault of AWS at every call of a creation, to a whole operator.

What has to be told is what the classifier says of that fault; what is broken heals once AWS is well. One
group for each call, all at once, so that a fault of one is also seen to leave the others alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from aiohttp import web
from tests.control_plane import ApiServer
from tests.fault_proxy import Call, Fault, dropped, held, refused
from tests.integration.operator_cluster import Cluster, a_cluster, an_operator_here

from pannier_operator.aws.faults import Answer, classify, unanswered
from pannier_operator.errors import AwsFault

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("aws_credentials"),
]
CONDITION = {
    "CreateTable": "TableReady",
    "DescribeTable": "TableReady",
    "DescribeTimeToLive": "TableReady",
    "GetItem": "TableReady",
    "PutItem": "SchemaAccepted",
    "UpdateTimeToLive": "TTLApplied",
}
"""Call -> the condition that it is for; a look that fails leaves nothing known of the table."""


class Broken(NamedTuple):
    """A fault on the wire, and what it is as an answer; None = there is none."""

    code: str | None
    text: str = "as the test wants it"
    http_status: int = 400

    def fault(self) -> Fault:
        return refused(self.code, self.text, self.http_status) if self.code else dropped()

    def classified(self, operation: str) -> AwsFault:
        if self.code is None:
            return unanswered(operation, "lost")
        return classify(Answer(operation, self.code, self.text, self.http_status), datetime.now(UTC))


FAULTS = {
    "LimitExceeded": Broken("LimitExceededException", "Subscriber limit exceeded"),
    "ResourceInUse": Broken("ResourceInUseException", "Table is being updated"),
    "500": Broken("InternalServerError", http_status=500),
    "connection lost": Broken(None),
    "AccessDenied": Broken("AccessDeniedException", "not authorized to perform that"),
    "bad credentials": Broken("UnrecognizedClientException", "The security token is invalid"),
    "refused": Broken("ValidationException", "One or more parameter values were invalid"),
}


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


async def a_group(cluster: Cluster, operation: str) -> str:
    """A group whose table is named for the call that fails."""
    changes = {"/metadata.name": operation.lower(), "groupName": operation, "deletionPolicy": "Delete"}
    return await cluster.apply(changes)


def break_only(cluster: Cluster, operation: str, fault: Fault) -> None:
    """Let a call fail for its group, and pass for all others."""
    table = f"pannier.{cluster.namespace}.{operation}"

    async def for_its_group(call: Call) -> web.Response:
        is_its = json.loads(call.body)["TableName"] == table
        return await (fault(call) if is_its else call.forward())

    cluster.proxy.on(operation, for_its_group)


async def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    found = (await cluster.get(name)).get("status") or {}
    return {one["type"]: (one["status"], one["reason"]) for one in found.get("conditions", ())}


async def told_as_classified(cluster: Cluster, operation: str, fault: AwsFault) -> None:
    """Wait until the group says what the fault comes to: where it concerns, in sum, and if it stalls."""
    name = operation.lower()
    await cluster.told(name, fault.reason, CONDITION[operation])
    said = await conditions(cluster, name)
    assert said["Ready"][0] != "True", operation
    assert said["Ready"][1] == fault.reason, (operation, said)
    stalls = fault.kind in {"Terminal", "Unsupported"}
    assert said.get("Stalled") == (("True", fault.reason) if stalls else None), (operation, said)
    assert ("Reconciling" in said) is not stalls, (operation, said)


async def heals(cluster: Cluster, operation: str) -> None:
    """Ready, with nothing left of what was, and a table of its own."""
    group = await cluster.ready(operation.lower())
    assert group["status"]["table"]["ownership"] == "Created"
    left = await conditions(cluster, operation.lower())
    assert left.keys().isdisjoint({"Stalled", "Reconciling"}), (operation, left)


@pytest.mark.parametrize("broken", FAULTS.values(), ids=FAULTS)
async def test_08_each_call_ends_as_the_classifier_says_and_recovers(
    cluster: Cluster, broken: Broken
) -> None:
    """Nobody edits anything: the fault is told, AWS gets well, and every group is ready."""
    for operation in CONDITION:
        break_only(cluster, operation, broken.fault())
    async with an_operator_here(cluster):
        for operation in CONDITION:
            await a_group(cluster, operation)
        async with asyncio.TaskGroup() as all_told:
            for operation in CONDITION:
                all_told.create_task(told_as_classified(cluster, operation, broken.classified(operation)))
        cluster.proxy.heal()
        for operation in CONDITION:
            await heals(cluster, operation)


async def test_08_a_call_without_an_answer_is_given_up_and_made_again(cluster: Cluster) -> None:
    """Time out: AWS may have acted, so the operator looks before it tries again."""
    well = asyncio.Event()
    operations = ("CreateTable", "DescribeTable")
    for operation in operations:
        break_only(cluster, operation, held(until=well))
    async with an_operator_here(cluster):
        for operation in operations:
            await a_group(cluster, operation)
        for operation in operations:
            await told_as_classified(cluster, operation, unanswered(operation, "timeout"))
        cluster.proxy.heal()
        well.set()
        for operation in operations:
            await heals(cluster, operation)


async def test_08_a_table_that_does_not_show_is_neither_made_twice_nor_called_lost(cluster: Cluster) -> None:
    """NotFound at every look after CreateTable is eventual consistency: it is being created."""

    async def create(call: Call) -> web.Response:
        answer = await call.forward()
        cluster.proxy.on("DescribeTable", refused("ResourceNotFoundException", "not found"))
        return answer

    cluster.proxy.on("CreateTable", create)
    async with an_operator_here(cluster):
        name = await cluster.apply()
        await cluster.told(name, "Creating", "TableReady")
        looks = cluster.proxy.calls["DescribeTable"]

        async def looked_again() -> bool:
            return cluster.proxy.calls["DescribeTable"] >= looks + 2

        await cluster.until(looked_again)
        assert (await conditions(cluster, name))["TableReady"] == ("False", "Creating")
        cluster.proxy.heal()
        await cluster.ready(name)
        assert cluster.proxy.calls["CreateTable"] == 1
