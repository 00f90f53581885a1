"""The plan case by case: limits with a date, drift, adoption, what is never compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.model_of_aws import START, ModelAws
from tests.operator.planned_tables import a_wanted, converge, look

from pannier_operator.planning import actions as act
from pannier_operator.planning.limits import decrease_blocked_until, on_demand_blocked_until
from pannier_operator.planning.observed import (
    KEYS,
    NOTHING_REMEMBERED,
    TTL_ATTRIBUTE,
    KeyColumn,
    ObservedTtl,
    Recovery,
    Throughput,
)
from pannier_operator.planning.table_plan import plan_table
from pannier_operator.planning.wanted import TAG_CLUSTER, TAG_OWNERSHIP, WantedTable, shared_table

PROVISIONED = {
    "billingMode": "Provisioned",
    "provisionedThroughput": {"readCapacityUnits": 10, "writeCapacityUnits": 5},
}


def settled(changes: dict[str, Any] | None = None) -> tuple[WantedTable, ModelAws]:
    """A table that is as declared."""
    wanted, world = a_wanted(changes), ModelAws()
    converge(wanted, world)
    world.now += timedelta(hours=2)
    world.observe()
    return wanted, world


def test_a_table_that_does_not_show_yet_is_waited_for() -> None:
    """Right after CreateTable a table may not be found: that is no reason to make another."""
    remembered = replace(NOTHING_REMEMBERED, created_at=START)
    world = ModelAws()
    plan = plan_table(a_wanted(), world.observe(), remembered, START + timedelta(seconds=29))
    assert plan.action is None
    assert plan.table.reason == "Creating"
    again = plan_table(a_wanted(), world.observe(), remembered, START + timedelta(seconds=31))
    assert isinstance(again.action, act.CreateTable)


def test_a_table_that_is_being_made_is_only_looked_at() -> None:
    """While DynamoDB makes a table, the plan waits five seconds and does nothing."""
    wanted, world = a_wanted(), ModelAws(delay=timedelta(seconds=60))
    first = look(wanted, world)
    assert first.action == act.CreateTable(wanted)
    world.apply(first.action)
    for _ in range(11):
        plan = look(wanted, world)
        assert plan.action is None
        assert plan.again_seconds == 5
        world.now += timedelta(seconds=5)
    world.now += timedelta(seconds=5)
    assert look(wanted, world).action is not None


def test_a_new_group_waits_for_an_old_table_to_be_deleted() -> None:
    """The name of a table that is being deleted is free only afterwards."""
    wanted, world = settled({"storage.dedicated": {"deletionProtection": "Disabled"}})
    world.apply(act.DeleteTable())
    assert look(wanted, world).table.reason == "TableDeleting"
    world.now += timedelta(minutes=1)
    world.observe()
    assert isinstance(look(wanted, world).action, act.CreateTable)


@pytest.mark.parametrize("status", ["INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVED", "SOMETHING_NEW"])
def test_a_table_that_cannot_be_used_is_told(status: str) -> None:
    """A state that no waiting ends is told with AWS's own word."""
    wanted, world = settled()
    assert world.table is not None
    world.table = replace(world.table, status=status)
    plan = look(wanted, world)
    assert plan.stalled
    assert status in plan.table.message


def test_safety_comes_first_and_is_told() -> None:
    """Without protection or backups as declared the table is not ready."""
    wanted, world = settled()
    assert world.table is not None
    world.table = replace(world.table, deletion_protected=False)
    world.recovery = Recovery(enabled=False)
    plan = look(wanted, world)
    assert plan.table.reason == "Hardening"
    assert isinstance(plan.action, act.SetRecovery)
    assert {difference.field for difference in plan.differences} == {
        "storage.dedicated.pointInTimeRecovery",
        "storage.dedicated.deletionProtection",
    }


def test_what_the_spec_leaves_out_is_never_changed() -> None:
    """A group without table settings lets billing, class, ceilings and keys be whoever's."""
    wanted, world = settled()
    assert world.table is not None
    world.table = replace(
        world.table,
        billing="Provisioned",
        throughput=Throughput(7, 7),
        table_class="InfrequentAccess",
        kms_key_arn="arn:aws:kms:eu-west-1:1:key/theirs",
    )
    assert look(wanted, world).is_settled


def test_capacity_that_an_autoscaler_owns_is_left_to_it() -> None:
    """With management External the figures hold at creation only."""
    changes = {
        "storage.dedicated": {
            **PROVISIONED,
            "provisionedThroughput": {
                "readCapacityUnits": 10,
                "writeCapacityUnits": 5,
                "management": "External",
            },
        }
    }
    wanted, world = settled(changes)
    assert world.table is not None
    assert world.table.throughput == (10, 5)
    world.table = replace(world.table, throughput=Throughput(400, 400))
    assert look(wanted, world).is_settled


def test_a_ttl_on_another_attribute_of_our_own_table_is_moved_in_two_steps() -> None:
    """Disable, wait the hour that AWS wants, enable: a pass each, nothing blocks meanwhile."""
    wanted, world = settled()
    world.ttl = ObservedTtl("ENABLED", "other")
    assert look(wanted, world).action == act.DisableTtl("other")
    converge(wanted, world)
    world.now += timedelta(minutes=1)
    world.observe()
    assert world.ttl == ("ENABLED", TTL_ATTRIBUTE)


def test_a_ttl_on_another_attribute_of_a_foreign_table_is_not_ours_to_move() -> None:
    """Adopting a table whose rows expire by another attribute would end their expiry: refused."""
    wanted, world = settled({"storage.adoption": "IfCompatible"})
    world.tags, world.claim = {}, None
    world.ttl = ObservedTtl("ENABLED", "other")
    plan = look(wanted, world)
    assert plan.table.reason == "TtlAttributeMismatch"
    assert plan.action is None
    world.ttl = ObservedTtl("ENABLED", TTL_ATTRIBUTE)
    converge(wanted, world)
    assert world.tags[TAG_OWNERSHIP] == "Adopted"


def test_a_ttl_that_waits_for_its_hour_holds_nothing_else_up() -> None:
    """Other settings go on while the TTL waits for a date."""
    wanted, world = settled()
    assert world.table is not None
    world.ttl, world.ttl_changed_at = ObservedTtl("DISABLED"), world.now - timedelta(minutes=10)
    world.table = replace(world.table, deletion_protected=False)
    plan = look(wanted, world)
    assert plan.ttl.reason == "RateLimitedUntil"
    assert plan.action == act.SetDeletionProtection(enabled=True)


def test_a_fifth_switch_to_on_demand_in_a_day_waits_for_its_date() -> None:
    """Four switches in 24 hours are AWS's limit, counted before AWS has to refuse."""
    _, world = settled()
    assert world.table is not None
    switches = tuple(world.now - timedelta(hours=hours) for hours in (20, 10, 5, 1))
    remembered = replace(NOTHING_REMEMBERED, on_demand_switches=switches)
    assert on_demand_blocked_until(world.table, remembered, world.now) == world.now + timedelta(hours=4)
    three = replace(remembered, on_demand_switches=switches[1:])
    assert on_demand_blocked_until(world.table, three, world.now) is None
    reported = replace(world.table, last_on_demand_switch=switches[0])
    assert on_demand_blocked_until(reported, three, world.now) is not None


def test_decreases_wait_and_increases_do_not() -> None:
    """AWS limits decreases: four, then one an hour, 27 a day; what rises goes through meanwhile."""
    wanted, world = settled({"storage.dedicated": PROVISIONED})
    assert world.table is not None
    table = replace(
        world.table,
        throughput=Throughput(20, 1),
        decreases_today=4,
        last_decrease=world.now - timedelta(minutes=30),
    )
    assert decrease_blocked_until(table, Throughput(10, 5), world.now) == world.now + timedelta(minutes=30)
    assert decrease_blocked_until(table, Throughput(30, 5), world.now) is None
    world.table = table
    assert look(wanted, world).action == act.ChangeThroughput(Throughput(20, 5))
    world.table = replace(table, throughput=Throughput(20, 5))
    waiting = look(wanted, world)
    assert waiting.action is None
    assert waiting.again_seconds == 1800
    spent = replace(table, decreases_today=27)
    midnight = decrease_blocked_until(spent, Throughput(10, 5), world.now)
    assert midnight is not None
    assert (midnight.hour, midnight.minute) == (0, 0)


def test_tags_that_are_slow_to_show_are_not_set_again() -> None:
    """Reading tags lags behind setting them, and AWS takes five changes a second of all."""
    wanted, world = settled()
    world.tags_lag = timedelta(seconds=20)
    world.tags.pop(TAG_OWNERSHIP)
    first = look(wanted, world)
    assert isinstance(first.action, act.TagTable)
    world.apply(first.action)
    world.now += timedelta(seconds=1)
    second = look(wanted, world)
    assert second.action is None
    assert second.again_seconds == 30


def test_wrong_keys_are_told_with_what_they_are() -> None:
    """Keys can never be changed; the message shows both."""
    wanted, world = settled()
    assert world.table is not None
    world.table = replace(world.table, keys=(KEYS[0], KeyColumn("sk", "RANGE", "N")))
    plan = look(wanted, world)
    assert plan.table.reason == "KeySchemaMismatch"
    assert "sk (range, N)" in plan.table.message
    assert "sk (range, S)" in plan.table.message


def test_a_shared_table_of_another_cluster_is_not_managed_here() -> None:
    """Its settings belong to the cluster that made it."""
    wanted = shared_table("online", None, cluster_id="c1", may_adopt=False)
    world = ModelAws()
    converge(wanted, world)
    world.now += timedelta(hours=2)
    assert look(wanted, world).is_settled
    world.tags[TAG_CLUSTER] = "c2"
    plan = look(wanted, world)
    assert plan.table.reason == "TableOwnedByOther"
    assert plan.action is None
