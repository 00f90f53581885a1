"""Laws of the plan, tried on a model of DynamoDB that refuses what AWS refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.operator.model_of_aws import ModelAws
from tests.operator.planned_tables import converge, declared, drifted, look, settings

from pannier_operator.planning import actions as act
from pannier_operator.planning.observed import TTL_ATTRIBUTE
from pannier_operator.planning.wanted import TAG_NAME, TAG_NAMESPACE, WantedTable

some_settings = st.none() | settings()


def is_as_declared(world: ModelAws, wanted: WantedTable) -> None:
    """Compare what came out with what was declared, without the plan's own words."""
    table = world.table
    assert table is not None
    assert table.status == "ACTIVE"
    assert (world.ttl.status, world.ttl.attribute) == ("ENABLED", TTL_ATTRIBUTE)
    assert table.deletion_protected == wanted.deletion_protected
    assert world.recovery.enabled == wanted.recovery.enabled
    assert not wanted.recovery.enabled or world.recovery.days == wanted.recovery.days
    assert wanted.billing in {None, table.billing}
    assert wanted.throughput in {None, table.throughput}
    assert wanted.table_class in {None, table.table_class}
    assert wanted.kms_key_arn in {None, table.kms_key_arn}
    assert wanted.tags.items() <= world.tags.items()
    assert world.claim is not None
    assert wanted.claim is not None
    assert world.claim.features == wanted.claim.features


@given(some_settings)
def test_a_table_comes_to_be_as_declared(dedicated: dict[str, Any] | None) -> None:
    """A group without a table gets one, made once, with all that is declared."""
    wanted, world = declared(dedicated), ModelAws()
    plan = converge(wanted, world)
    world.now += timedelta(minutes=1)
    world.observe()
    is_as_declared(world, wanted)
    assert [a for a in world.done if isinstance(a, act.CreateTable)] == [act.CreateTable(wanted)]
    assert plan.table.holds
    assert plan.claim_held
    assert plan.differences == ()


@given(st.data(), some_settings)
def test_drift_is_put_right_within_the_limits_of_aws(
    data: st.DataObject, dedicated: dict[str, Any] | None
) -> None:
    """Whatever somebody changed comes back to what is declared; the model refuses what AWS would refuse."""
    wanted = declared(dedicated)
    world = data.draw(drifted(wanted))
    converge(wanted, world)
    world.now += timedelta(minutes=1)
    world.observe()
    is_as_declared(world, wanted)
    assert world.tags["mine"] == "kept"


@given(st.data(), some_settings)
def test_a_restart_between_any_two_steps_changes_nothing(
    data: st.DataObject, dedicated: dict[str, Any] | None
) -> None:
    """An operator that forgets all but the status on every step ends at the same table."""
    wanted = declared(dedicated)
    world = data.draw(drifted(wanted))
    world.tags_lag = timedelta(0)
    converge(wanted, world, amnesia=True)
    world.now += timedelta(minutes=1)
    world.observe()
    is_as_declared(world, wanted)


@given(st.data(), some_settings, st.integers(0, 10_000_000))
def test_a_second_look_has_nothing_to_do(
    data: st.DataObject, dedicated: dict[str, Any] | None, later_seconds: int
) -> None:
    """Where all is as declared no look makes a mutating call, however much later it is."""
    wanted = declared(dedicated)
    world = data.draw(drifted(wanted))
    converge(wanted, world)
    world.now += timedelta(seconds=60 + later_seconds)
    assert look(wanted, world, amnesia=True).action is None
    assert look(wanted, world, amnesia=True).is_settled


@given(st.data(), some_settings, st.sampled_from([TAG_NAME, TAG_NAMESPACE]))
def test_a_table_of_another_owner_is_never_touched(
    data: st.DataObject, dedicated: dict[str, Any] | None, tag: str
) -> None:
    """Nothing is changed in a table whose tags name somebody else."""
    wanted = declared(dedicated)
    world = data.draw(drifted(wanted))
    world.tags[tag] = "somebody-else"
    world.now += timedelta(minutes=5)
    plan = look(wanted, world)
    assert plan.action is None
    assert plan.table.reason == "TableOwnedByOther"
    assert plan.stalled
