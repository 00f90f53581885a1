"""The operator keeps tables on real emulators as declared: made once, settled, put right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.operator_tables import TableUnderTest, a_table, a_table_on
from tests.operator.planned_tables import a_wanted

from pannier_operator.errors import LeadershipLost
from pannier_operator.planning.observed import TTL_ATTRIBUTE, Observation, Recovery
from pannier_operator.planning.wanted import TAG_NAME, WantedTable

pytestmark = [pytest.mark.dynamodb, pytest.mark.usefixtures("aws_credentials")]
EMULATORS = ("dynamodb_local_url", "dynoxide_url", "moto_url")


@pytest.fixture(params=EMULATORS)
def emulator(request: pytest.FixtureRequest) -> str:
    """Each emulator in turn; each is of another mind about something."""
    url: str = request.getfixturevalue(request.param)
    return url


async def look(table: TableUnderTest, wanted: WantedTable) -> Observation:
    """What the emulator says of a table."""
    observer = table.keeper.observer(wanted, "edit")
    return await observer.look(wanted.name, wanted.claim.group_name if wanted.claim else None)


async def raw(table: TableUnderTest, operation: str, **arguments: Any) -> None:
    """Somebody else's call."""
    await table.dynamodb.call(operation, **arguments)


async def test_a_table_is_made_as_declared(emulator: str) -> None:
    """A group gets its table with keys, TTL, protection, tags and backups, and its claim in it."""
    wanted = a_table({"storage.dedicated": {"tags": {"team": "reco"}}})
    async with a_table_on(emulator) as table:
        kept = await table.settle(wanted)
        seen = await look(table, wanted)
        assert kept.plan.table.holds
        assert kept.plan.ttl.holds
        assert kept.plan.claim_held
        assert seen.table is not None
        assert seen.table.deletion_protected
        assert seen.ttl is not None
        assert (seen.ttl.status, seen.ttl.attribute) == ("ENABLED", TTL_ATTRIBUTE)
        assert seen.claim is not None
        assert seen.claim.owner == wanted.owner
        assert table.mutations["CreateTable"] == 1
        if "tags" not in seen.unsupported:
            assert seen.tags == {"team": "reco", **wanted.ownership_tags("Created")}
        if "recovery" not in seen.unsupported:
            assert seen.recovery == Recovery(enabled=True, days=7)


async def test_a_second_pass_and_a_restart_change_nothing(emulator: str) -> None:
    """Where all is as declared, no pass makes a mutating call, remembering or not."""
    wanted = a_table()
    async with a_table_on(emulator) as table:
        await table.settle(wanted)
        before = table.mutations
        for urgency in ("edit", "resync"):
            table.restart()
            kept = await table.keep(wanted, urgency)
            assert kept.plan.is_settled
        assert table.mutations == before


async def test_an_edit_that_leaves_the_table_alone_asks_aws_nothing(dynoxide_url: str) -> None:
    """An edited cache policy makes no call about a table that was looked at before."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        calls = sum(table.proxy.calls.values())
        assert (await table.keep(wanted, "edit")).plan.table.holds
        assert sum(table.proxy.calls.values()) == calls


async def test_settings_follow_the_spec_one_at_a_time(dynoxide_url: str) -> None:
    """Billing, capacity, class, protection and tags are changed to what an edit says."""
    wanted = a_table()
    edited = {
        "storage.tableName": wanted.name,
        "storage.dedicated": {
            "billingMode": "Provisioned",
            "provisionedThroughput": {"readCapacityUnits": 3, "writeCapacityUnits": 2},
            "tableClass": "InfrequentAccess",
            "deletionProtection": "Disabled",
            "tags": {"team": "ads"},
        },
    }
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        await table.settle(a_wanted(edited))
        seen = await look(table, wanted)
        assert seen.table is not None
        assert seen.table.billing == "Provisioned"
        assert seen.table.throughput == (3, 2)
        assert seen.table.table_class == "InfrequentAccess"
        assert not seen.table.deletion_protected
        assert seen.tags is not None
        assert seen.tags["team"] == "ads"
        await table.settle(wanted)
        seen = await look(table, wanted)
        assert seen.table is not None
        assert seen.table.deletion_protected
        assert "team" not in (seen.tags or {})


async def test_a_ttl_that_somebody_disabled_comes_back_when_aws_allows(dynoxide_url: str) -> None:
    """Inside the hour after our own change the condition says until when; then it is enabled again."""
    wanted = a_table()
    disabled = {"Enabled": False, "AttributeName": TTL_ATTRIBUTE}
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        await raw(table, "update_time_to_live", TableName=wanted.name, TimeToLiveSpecification=disabled)
        kept = await table.keep(wanted)
        assert kept.plan.ttl.reason == "RateLimitedUntil"
        assert kept.plan.table.holds
        assert kept.again_seconds is not None
        calls = table.mutations["UpdateTimeToLive"]
        assert (await table.keep(wanted)).plan.ttl.reason == "RateLimitedUntil"
        assert table.mutations["UpdateTimeToLive"] == calls
        table.clock.advance(kept.again_seconds + 1)
        assert (await table.settle(wanted)).plan.ttl.holds
        assert table.mutations["UpdateTimeToLive"] == calls + 1


async def test_a_foreign_table_is_left_alone(emulator: str) -> None:
    """A table of the same name without our tags is used by nobody and changed by nobody."""
    wanted = a_table()
    keys = {
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    }
    async with a_table_on(emulator) as table:
        await raw(table, "create_table", TableName=wanted.name, BillingMode="PAY_PER_REQUEST", **keys)
        before = table.mutations
        kept = await table.settle(wanted)
        assert kept.plan.table.reason == "TableExists"
        assert kept.plan.stalled
        assert table.mutations == before
        adopted = await table.settle(replace(wanted, may_adopt=True))
        assert adopted.plan.table.holds
        assert adopted.plan.ownership == "Adopted"
        assert (await look(table, wanted)).claim is not None


async def test_wrong_keys_are_refused_with_what_they_are(emulator: str) -> None:
    """A table that is keyed otherwise can never be adopted, and the message says how it is keyed."""
    wanted = a_table({"storage.adoption": "IfCompatible"})
    keys = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
    }
    async with a_table_on(emulator) as table:
        await raw(table, "create_table", TableName=wanted.name, BillingMode="PAY_PER_REQUEST", **keys)
        kept = await table.settle(wanted)
        assert kept.plan.table.reason == "KeySchemaMismatch"
        assert "id (hash, N)" in kept.plan.table.message


async def test_a_table_of_another_group_is_told_with_its_owner(dynoxide_url: str) -> None:
    """Two groups that name one table: the second is told whose it is."""
    wanted = a_table()
    other = replace(wanted, owner=wanted.owner._replace(namespace="ads", name="mine"))
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        table.restart()
        table.status = {}
        kept = await table.settle(other)
        assert kept.plan.table.reason == "TableOwnedByOther"
        assert "shop/user-facts" in kept.plan.table.message


async def test_a_lost_table_is_never_replaced_by_an_empty_one(dynoxide_url: str) -> None:
    """A table that disappears with its rows is told, and made anew only when a person says so."""
    wanted = a_table({"storage.dedicated": {"deletionProtection": "Disabled"}})
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        await raw(table, "delete_table", TableName=wanted.name)
        table.restart()
        kept = await table.settle(wanted)
        assert kept.plan.table.reason == "TableLost"
        assert kept.plan.stalled
        assert table.mutations["CreateTable"] == 1
        lost = table.remembered.table_id
        assert lost is not None
        assert lost in kept.plan.table.message
        accepted = replace(table.remembered, accepted_loss=lost)
        await table.keeper.keep(wanted, accepted, table.memory, "edit", act_too=True)
        assert table.mutations["CreateTable"] == 2


async def test_a_recreated_group_finds_its_table_and_its_rows(emulator: str) -> None:
    """A group that was deleted with Retain and applied again has its own table back."""
    wanted = a_table()
    again = replace(wanted, uid="uid-2", claim=wanted.claim and replace(wanted.claim, uid="uid-2"))
    async with a_table_on(emulator) as table:
        await table.settle(wanted)
        table.restart()
        table.status = {}
        kept = await table.settle(again)
        assert kept.plan.table.holds
        assert kept.plan.claim_held
        assert table.mutations["CreateTable"] == 1
        seen = await look(table, again)
        assert seen.claim is not None
        assert seen.claim.uid == "uid-2"


async def test_a_recreated_group_with_other_features_is_refused(emulator: str) -> None:
    """Rows written with one feature list are never read with another."""
    wanted = a_table()
    other = a_wanted(
        {"storage.tableName": wanted.name, "features[0]": {"id": 0, "name": "country", "type": "String"}},
        uid="uid-2",
    )
    async with a_table_on(emulator) as table:
        await table.settle(wanted)
        table.restart()
        table.status = {}
        kept = await table.settle(other)
        assert kept.plan.schema.reason == "SchemaConflict"
        assert "0: city (String)" in kept.plan.schema.message
        assert not kept.plan.claim_held
        assert kept.plan.stalled


async def test_who_lost_the_lease_writes_nothing(dynoxide_url: str) -> None:
    """A replica that is no longer the leader makes no mutating call, wherever it was."""
    wanted = a_table()
    async with a_table_on(dynoxide_url) as table:
        table.leads[0] = False
        with pytest.raises(LeadershipLost):
            await table.settle(wanted)
        assert table.mutations == {}


async def test_a_change_without_effect_is_not_repeated_for_ever(moto_url: str) -> None:
    """A setting that AWS takes and does not show is given up with a reason, not sent time and again."""
    wanted = a_table({"storage.dedicated": {"tableClass": "InfrequentAccess"}})
    async with a_table_on(moto_url) as table:
        kept = await table.settle(wanted)
        assert kept.plan.stalled
        assert "storage.dedicated.tableClass" in {difference.field for difference in kept.plan.differences}
        assert table.mutations["UpdateTable"] <= 3
        before = table.mutations
        await table.settle(wanted)
        assert table.mutations == before


async def test_tags_that_are_no_longer_declared_are_removed_and_others_stay(dynoxide_url: str) -> None:
    """Only tags that came from the spec go with the spec."""
    wanted = a_table({"storage.dedicated": {"tags": {"team": "reco", "cost": "1"}}})
    fewer = a_wanted({"storage.tableName": wanted.name, "storage.dedicated": {"tags": {"team": "reco"}}})
    async with a_table_on(dynoxide_url) as table:
        await table.settle(wanted)
        arn = (table.status["table"] or {})["arn"]
        await raw(table, "tag_resource", ResourceArn=arn, Tags=[{"Key": "theirs", "Value": "1"}])
        await table.settle(fewer)
        tags = (await look(table, wanted)).tags or {}
        assert tags["team"] == "reco"
        assert tags["theirs"] == "1"
        assert "cost" not in tags
        assert tags[TAG_NAME] == "user-facts"
