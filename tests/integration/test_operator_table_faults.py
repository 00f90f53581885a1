"""Faults of AWS on the way to a table: each ends as the classifier says, and heals when the fault does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fault_proxy import Fault, dropped, garbage, held, refused, server_error
from tests.integration.operator_tables import TableUnderTest, a_table, a_table_on
from tests.operator.planned_tables import a_wanted

from pannier_operator.planning.wanted import WantedTable
from pannier_operator.table_keeper import PATIENCE, Kept

pytestmark = [pytest.mark.dynamodb, pytest.mark.usefixtures("aws_credentials")]
TTL_TOO_SOON = "Time to live has been modified multiple times within a fixed interval"
PASSING: dict[str, Fault] = {
    "LimitExceeded": refused("LimitExceededException", "Too many operations"),
    "ResourceInUse": refused("ResourceInUseException", "being updated"),
    "Throttling": refused("ThrottlingException"),
    "500, nothing done": server_error(),
    "500, done": server_error(done=True),
    "connection lost": dropped(),
    "connection lost, done": dropped(done=True),
    "no answer, done": held(done=True),
    "garbage": garbage(),
}
MUTATIONS = ("CreateTable", "PutItem", "UpdateTimeToLive")


async def one_pass(table: TableUnderTest, wanted: WantedTable) -> Kept:
    """A pass, and the time it asks for before the next."""
    kept = await table.keep(wanted, "edit")
    table.clock.advance((kept.again_seconds or 0.0) + 1.0)
    return kept


@pytest.mark.parametrize("operation", MUTATIONS)
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_what_passes_is_tried_again_until_it_is_done_once(
    dynoxide_url: str, fault: Fault, operation: str
) -> None:
    """Each mutation may fail in each way, acted on or not: in the end there is one table, as declared."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        table.proxy.on(operation, fault, times=2)
        kept = await table.settle(wanted)
        assert kept.plan.table.holds
        assert kept.plan.ttl.holds
        assert kept.plan.claim_held
        before = table.mutations
        table.restart()
        assert (await table.keep(wanted)).plan.is_settled
        assert table.mutations == before


@pytest.mark.parametrize(
    "operation", ["DescribeTable", "DescribeTimeToLive", "ListTagsOfResource", "GetItem"]
)
@pytest.mark.parametrize("fault", [server_error(), dropped(), garbage()], ids=["500", "lost", "garbage"])
async def test_a_look_that_fails_changes_nothing(dynoxide_url: str, fault: Fault, operation: str) -> None:
    """Without a whole look nothing is decided; a passing fault is no news, one that lasts is."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        before = table.mutations
        table.proxy.on(operation, fault)
        for n in range(1, PATIENCE + 2):
            kept = await table.keep(wanted)
            assert kept.failed
            assert kept.is_news is (n >= PATIENCE)
            assert kept.plan.table.status == "Unknown"
        assert table.mutations == before
        table.proxy.heal()
        assert (await table.settle(wanted)).plan.table.holds
        assert table.mutations == before


@pytest.mark.parametrize(
    ("operation", "condition"),
    [
        ("CreateTable", "table"),
        ("PutItem", "schema"),
        ("UpdateTimeToLive", "ttl"),
        ("DescribeTable", "table"),
    ],
)
async def test_access_that_is_denied_stalls_with_the_action_that_is_missing(
    dynoxide_url: str, operation: str, condition: str
) -> None:
    """The condition names what AWS denied; nothing hammers; it goes on when the role is right."""
    wanted = a_table()
    message = f"User: arn:aws:sts::1:assumed-role/op is not authorized to perform: dynamodb:{operation}"
    async with a_table_on(dynoxide_url) as table:
        table.proxy.on(operation, refused("AccessDeniedException", message))
        kept = await table.settle(wanted)
        finding = getattr(kept.plan, condition)
        assert finding.reason == "AccessDenied"
        assert f"dynamodb:{operation}" in finding.message
        assert kept.plan.stalled
        assert not kept.failed
        table.proxy.heal()
        assert (await table.keep(wanted, "resync")).again_seconds is not None
        assert (await table.settle(wanted)).plan.table.holds


async def test_a_table_that_does_not_show_after_its_creation_is_not_made_twice(dynoxide_url: str) -> None:
    """NotFound right after CreateTable is eventual consistency, not loss."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        await one_pass(table, wanted)
        table.proxy.on("DescribeTable", refused("ResourceNotFoundException", "not found"), times=3)
        for _ in range(3):
            assert (await one_pass(table, wanted)).plan.table.reason == "Creating"
        assert (await table.settle(wanted)).plan.table.holds
        assert table.mutations["CreateTable"] == 1


async def test_a_table_stuck_in_creation_is_looked_at_every_five_seconds(dynoxide_url: str) -> None:
    """No second CreateTable, no busy loop, and everything follows once it is there."""

    async def creating(call: Any) -> Any:
        answer = await call.forward()
        answer.body = answer.body.replace(b'"ACTIVE"', b'"CREATING"')
        return answer

    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        table.proxy.on("DescribeTable", creating)
        await one_pass(table, wanted)
        for _ in range(12):
            kept = await one_pass(table, wanted)
            assert kept.plan.table.reason == "Creating"
            assert kept.again_seconds == 5
        assert table.mutations == {"CreateTable": 1}
        table.proxy.heal()
        assert (await table.settle(wanted)).plan.table.holds


async def test_a_ttl_that_aws_takes_only_later_waits_for_the_date(dynoxide_url: str) -> None:
    """Toggled inside the hour by somebody: the condition has the date, and the table is ready."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        table.proxy.on("UpdateTimeToLive", refused("ValidationException", TTL_TOO_SOON), times=1)
        for _ in range(4):
            kept = await one_pass(table, wanted)
            if kept.plan.ttl.reason == "RateLimitedUntil":
                break
            table.clock.advance(1)
        assert kept.plan.ttl.reason == "RateLimitedUntil"
        assert kept.plan.table.holds
        assert not kept.plan.stalled
        assert table.status["table"]["ttl"]["nextChangeAllowedTime"]
        assert (await table.settle(wanted)).plan.ttl.holds
        assert table.mutations["UpdateTimeToLive"] == 2


async def test_a_wrong_setting_stalls_and_leaves_the_table_ready(dynoxide_url: str) -> None:
    """AWS refuses one setting for good: the table serves, the difference and AWS's words are told."""
    wanted = a_table()
    edited = a_wanted(
        {"storage.tableName": wanted.name, "storage.dedicated": {"tableClass": "InfrequentAccess"}}
    )
    text = "Table class can be updated no more than twice in 30 days"
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        table.proxy.on("UpdateTable", refused("ValidationException", text))
        kept = await table.settle(edited)
        assert kept.plan.table.holds
        assert kept.plan.stalled
        assert kept.fault is not None
        assert text in kept.fault.message
        assert [difference.field for difference in kept.plan.differences] == ["storage.dedicated.tableClass"]


async def test_two_groups_that_claim_at_once_are_told_apart_by_dynamodb(dynoxide_url: str) -> None:
    """The second of two writers of one claim is refused by the condition and looks again."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        table.proxy.on("PutItem", refused("ConditionalCheckFailedException"), times=1)
        assert (await table.settle(wanted)).plan.claim_held


async def test_every_step_may_be_the_last(dynoxide_url: str) -> None:
    """Killed after any number of calls, acted on or not, the next process ends at the same table."""
    for steps in range(1, 14):
        wanted = a_table()
        async with a_table_on(dynoxide_url) as table:
            for _ in range(steps):
                await table.keep(wanted, "edit")
                table.restart()
                table.clock.advance(6)
            kept = await table.settle(wanted)
            assert kept.plan.table.holds
            assert table.mutations == {"CreateTable": 1, "PutItem": 1, "UpdateTimeToLive": 1}
