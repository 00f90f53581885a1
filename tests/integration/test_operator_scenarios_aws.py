"""AWS misbehaves before a running operator: what teams see of it with kubectl, and that it heals by itself.

The same faults are tried pass by pass, on an injected clock, in `test_operator_table_faults`; here they meet
the whole process. Numbers are those of the scenarios in the operator's checklist.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.control_plane import ApiServer
from tests.fault_proxy import Call, Fault, dropped, refused, server_error
from tests.integration.operator_cluster import Cluster, a_cluster, an_operator

from pannier_operator.planning.observed import TTL_ATTRIBUTE

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


async def disable_ttl(cluster: Cluster, table: str) -> None:
    """Switch a table's TTL off as somebody with a console would: past the operator's proxy."""
    body = {"TableName": table, "TimeToLiveSpecification": {"Enabled": False, "AttributeName": TTL_ATTRIBUTE}}
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.UpdateTimeToLive",
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request,"
        " SignedHeaders=host;x-amz-date, Signature=0",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(cluster.proxy.upstream, json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def test_06_a_ttl_that_somebody_disabled_inside_the_hour_is_told_with_the_date(
    cluster: Cluster,
) -> None:
    """The resync finds it; AWS takes no second change within the hour, so none is asked for.

    That it is put right then is shown on an injected clock in `test_operator_tables`.
    """
    async with an_operator(cluster):
        name = await cluster.apply()
        await cluster.ready(name)
        await disable_ttl(cluster, f"pannier.{cluster.namespace}.user_facts")
        await cluster.told(name, "RateLimitedUntil", "TTLApplied")
        assert (await cluster.condition(name, "TableReady"))[0] == "True"
        assert await cluster.condition(name, "Stalled") == ("", "")
        assert cluster.proxy.calls["UpdateTimeToLive"] == 1


async def test_07_a_table_stuck_in_creation_is_told_and_looked_at_calmly(cluster: Cluster) -> None:
    """Creating, then Ready: one CreateTable, and no more than a look in five seconds meanwhile."""

    async def creating(call: Call) -> Any:
        answer = await call.forward()
        assert isinstance(answer.body, bytes)
        answer.body = answer.body.replace(b'"ACTIVE"', b'"CREATING"')
        return answer

    cluster.proxy.on("DescribeTable", creating)
    async with an_operator(cluster, resync_seconds="300"):
        name = await cluster.apply()
        await cluster.told(name, "Creating", "TableReady")
        assert (await cluster.condition(name, "TTLApplied"))[0] == "Unknown"
        assert (await cluster.condition(name))[0] == "False"
        began, looks = time.monotonic(), cluster.proxy.calls["DescribeTable"]

        async def is_looked_at_twice_more() -> bool:
            return cluster.proxy.calls["DescribeTable"] >= looks + 2

        await cluster.until(is_looked_at_twice_more)
        assert time.monotonic() - began >= 5.0, "at most a look in five seconds"
        cluster.proxy.heal()
        await cluster.ready(name)
        assert cluster.proxy.calls["CreateTable"] == 1
        assert cluster.proxy.calls["UpdateTimeToLive"] == 1


PASSING: dict[str, Fault] = {
    "LimitExceeded": refused("LimitExceededException", "Subscriber limit exceeded"),
    "ResourceInUse": refused("ResourceInUseException", "Table is being created"),
    "500": server_error(),
    "500 but done": server_error(done=True),
    "no connection": dropped(),
    "no connection but done": dropped(done=True),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_08_what_passes_ends_ready_by_itself(cluster: Cluster, fault: Fault) -> None:
    """Once at each step of a creation: nobody edits anything, and the table is the group's own."""
    for operation in ("CreateTable", "UpdateTimeToLive", "PutItem"):
        cluster.proxy.on(operation, fault, times=1)
    async with an_operator(cluster):
        name = await cluster.apply()
        group = await cluster.ready(name)
        assert group["status"]["table"]["ownership"] == "Created"
        assert await cluster.condition(name, "Stalled") == ("", "")


@pytest.mark.parametrize(
    ("operation", "code", "reason", "kind"),
    [
        ("CreateTable", "AccessDeniedException", "AccessDenied", "TableReady"),
        ("UpdateTimeToLive", "AccessDeniedException", "AccessDenied", "TTLApplied"),
        ("PutItem", "AccessDeniedException", "AccessDenied", "SchemaAccepted"),
        ("CreateTable", "UnrecognizedClientException", "CredentialsInvalid", "TableReady"),
        ("CreateTable", "ValidationException", "AwsRefused", "TableReady"),
    ],
)
async def test_08_what_does_not_pass_stalls_with_its_reason_and_heals(
    cluster: Cluster, operation: str, code: str, reason: str, kind: str
) -> None:
    """Stalled with what AWS said, on the condition it concerns; Ready once AWS takes the call."""
    cluster.proxy.on(operation, refused(code, f"not today: dynamodb:{operation}"))
    async with an_operator(cluster):
        name = await cluster.apply()
        await cluster.told(name, reason, kind)
        assert (await cluster.condition(name, "Stalled"))[0] == "True"
        assert (await cluster.condition(name))[0] == "False"
        cluster.proxy.heal()
        await cluster.ready(name)
        assert await cluster.condition(name, "Stalled") == ("", "")


async def test_08_a_table_that_does_not_show_yet_is_not_made_twice(cluster: Cluster) -> None:
    """NotFound right after CreateTable is eventual consistency."""
    cluster.proxy.on("DescribeTable", refused("ResourceNotFoundException", "not found"), times=4)
    async with an_operator(cluster):
        await cluster.ready(await cluster.apply())
        assert cluster.proxy.calls["CreateTable"] == 1
