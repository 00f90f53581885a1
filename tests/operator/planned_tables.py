"""Groups, tables and worlds for the laws of the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from tests.manifests import a_feature_group
from tests.operator.model_of_aws import START, ModelAws

from pannier_operator.planning.observed import (
    TTL_ATTRIBUTE,
    Billing,
    ObservedTable,
    ObservedTtl,
    OnDemandLimits,
    Recovery,
    Throughput,
)
from pannier_operator.planning.plans import Plan
from pannier_operator.planning.table_plan import plan_table
from pannier_operator.planning.wanted import WantedTable, dedicated_table

CLUSTER = "cluster-1"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"


def a_wanted(changes: dict[str, Any] | None = None, *, uid: str = "uid-1") -> WantedTable:
    """Make the table that a dedicated group asks for."""
    return dedicated_table(a_feature_group(changes), cluster_id=CLUSTER, uid=uid, prefix="pannier")


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """Any ``storage.dedicated`` that the rules accept."""
    found: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "tableClass": st.sampled_from(["Standard", "InfrequentAccess"]),
                "pointInTimeRecovery": st.fixed_dictionaries(
                    {"state": st.sampled_from(["Enabled", "Disabled"])},
                    optional={"recoveryPeriodDays": st.integers(1, 35)},
                ),
                "deletionProtection": st.sampled_from(["Enabled", "Disabled"]),
                "kmsKeyArn": st.just(KEY),
                "tags": st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"])),
            },
        )
    )
    units = draw(st.integers(1, 100)), draw(st.integers(1, 100))
    if draw(st.booleans()):
        found["billingMode"] = "Provisioned"
        found["provisionedThroughput"] = dict(
            zip(("readCapacityUnits", "writeCapacityUnits"), units, strict=True)
        )
    elif draw(st.booleans()):
        found["onDemandThroughput"] = dict(
            zip(("maxReadRequestUnits", "maxWriteRequestUnits"), units, strict=True)
        )
    return found


def declared(dedicated: dict[str, Any] | None) -> WantedTable:
    """Make the wanted table with these settings; None = none declared."""
    return a_wanted({"storage.dedicated": dedicated} if dedicated is not None else None)


@st.composite
def drifted(draw: st.DrawFn, wanted: WantedTable) -> ModelAws:
    """A world in which the group's table is there, with whatever settings somebody has given it."""
    billing: Billing = draw(st.sampled_from(["PayPerRequest", "Provisioned"]))
    units = st.integers(1, 100)
    world = ModelAws()
    world.table = ObservedTable(
        name=wanted.name,
        arn="arn:aws:dynamodb:eu-west-1:1:table/t",
        id="table-0",
        status=draw(st.sampled_from(["ACTIVE", "UPDATING", "CREATING"])),
        billing=billing,
        throughput=Throughput(draw(units), draw(units)) if billing == "Provisioned" else Throughput(0, 0),
        on_demand=OnDemandLimits(draw(units), None) if billing == "PayPerRequest" else OnDemandLimits(),
        table_class=draw(st.sampled_from(["Standard", "InfrequentAccess"])),
        deletion_protected=draw(st.booleans()),
    )
    if world.table.status != "ACTIVE":
        world.busy_until = START + timedelta(seconds=draw(st.integers(1, 60)))
    world.ttl = draw(
        st.sampled_from(
            [
                ObservedTtl("DISABLED"),
                ObservedTtl("ENABLED", TTL_ATTRIBUTE),
                ObservedTtl("ENABLING", TTL_ATTRIBUTE),
                ObservedTtl("ENABLED", "other"),
                ObservedTtl("DISABLING", TTL_ATTRIBUTE),
            ]
        )
    )
    if draw(st.booleans()) or world.ttl.status in {"ENABLING", "DISABLING"}:
        world.ttl_changed_at = START - timedelta(minutes=draw(st.integers(0, 90)))
    world.recovery = draw(st.sampled_from([Recovery(enabled=False), Recovery(enabled=True, days=35)]))
    world.tags = {"a": "9", "mine": "kept", **wanted.ownership_tags("Created")}
    if draw(st.booleans()) and wanted.claim is not None:
        world.claim = replace(wanted.claim, tag_keys=frozenset("ab"))
    world.delay = timedelta(seconds=draw(st.integers(0, 20)))
    hours = draw(st.lists(st.integers(1, 30), max_size=4, unique=True))
    world.on_demand_switches = sorted(START - timedelta(hours=hour) for hour in hours)
    return world


def look(wanted: WantedTable, world: ModelAws, *, amnesia: bool = False) -> Plan:
    """One look at the world."""
    return plan_table(wanted, world.observe(), world.remembered(amnesia=amnesia), world.now)


def converge(wanted: WantedTable, world: ModelAws, *, looks: int = 80, amnesia: bool = False) -> Plan:
    """Look and act until nothing is left to do or to wait for."""
    for _ in range(looks):
        plan = look(wanted, world, amnesia=amnesia)
        if plan.is_settled:
            return plan
        if plan.action is not None:
            world.apply(plan.action)
        waits = plan.again_seconds if plan.action is None else None
        world.now += timedelta(seconds=waits or 1)
    raise AssertionError(f"not settled after {looks} looks: {world.done[-5:]}")
