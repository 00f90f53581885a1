"""A shared table has no resource of its own, so the groups in it tell what becomes of it."""

from __future__ import annotations

import pytest
from tests.integration.operator_tables import TableUnderTest, a_table_on

from pannier_operator.catalogs.group_index import Key
from pannier_operator.planning.observed import TTL_ATTRIBUTE
from pannier_operator.shared_tables import SharedKey, SharedTables, SharedTableSpec

pytestmark = [pytest.mark.dynamodb, pytest.mark.usefixtures("aws_credentials")]
NAME = "features-of-many"
TABLE, GROUP = SharedKey(NAME), Key("team-a", "clicks")


async def settle(shared: SharedTables, under_test: TableUnderTest) -> None:
    """Pass after pass until nothing is left to do."""
    for _ in range(30):
        done = await shared.reconcile(TABLE, "resync")
        if done.again_seconds is None and not done.failed:
            return
        under_test.clock.advance((done.again_seconds or 0.0) + 1.0)
    raise AssertionError(f"not settled: {shared.last(NAME, GROUP)}")


async def test_a_group_hears_of_its_table_until_there_is_nothing_new(dynoxide_url: str) -> None:
    """A group that asked at any time is woken by each change, the TTL's included, and not without one."""
    async with a_table_on(dynoxide_url) as under_test:
        heard: list[tuple[str, str]] = []

        def wake(key: Key) -> None:
            plan = shared.last(NAME, key).kept.plan
            heard.append((plan.table.status, plan.ttl.status))

        shared = SharedTables([SharedTableSpec(name=NAME)], under_test.keeper, cluster_id="c-1", wake=wake)
        assert not shared.last(NAME, GROUP).kept.plan.table.holds
        await settle(shared, under_test)
        assert ("True", "False") in heard, "the table was usable before its TTL was on"
        assert heard[-1] == ("True", "True")
        told = len(heard)

        under_test.clock.advance(300)
        await settle(shared, under_test)
        assert len(heard) == told, "nothing was new"

        under_test.clock.advance(2 * 3600)
        await disable_ttl(under_test)
        await settle(shared, under_test)
        assert heard[told][1] == "False", "somebody switched the TTL off"
        assert heard[-1] == ("True", "True")

        shared.forget(GROUP)
        told = len(heard)
        under_test.clock.advance(2 * 3600)
        await disable_ttl(under_test)
        await settle(shared, under_test)
        assert len(heard) == told, "the group is gone"


async def disable_ttl(under_test: TableUnderTest) -> None:
    """Do as somebody with a console would."""
    off = {"Enabled": False, "AttributeName": TTL_ATTRIBUTE}
    await under_test.dynamodb.call("update_time_to_live", TableName=NAME, TimeToLiveSpecification=off)
