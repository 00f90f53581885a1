"""What becomes of a table with its group: nothing is deleted that is not surely ours and meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.manifests import a_feature_group
from tests.operator.model_of_aws import ModelAws
from tests.operator.planned_tables import a_wanted, converge, declared, drifted, settings

from pannier_operator.planning.actions import DeleteTable, SetDeletionProtection
from pannier_operator.planning.deletion import farewell_dedicated, needs_finalizer

UNPROTECTED: dict[str, Any] = {"storage.dedicated": {"deletionProtection": "Disabled"}}


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"deletionPolicy": "Delete"}, True),
        (
            {
                "deletionPolicy": "Expire",
                "retention": {"seconds": 60},
                "storage": {"mode": "Shared", "tableName": "online"},
            },
            True,
        ),
    ],
)
def test_only_what_deletes_holds_the_resource(changes: dict[str, Any], *, needed: bool) -> None:
    """Retain needs no finalizer, so a cluster without operator never hangs on one."""
    assert needs_finalizer(a_feature_group(changes).spec) is needed


def test_protection_blocks_until_it_is_lifted_on_purpose() -> None:
    """Two deliberate edits delete a table: the policy, and the protection."""
    world = ModelAws()
    converge(a_wanted(), world)
    blocked = farewell_dedicated(a_wanted(), world.observe())
    assert blocked.finding.reason == "DeletionBlocked"
    assert blocked.action is None
    assert blocked.stalled
    lifted = a_wanted(UNPROTECTED)
    assert farewell_dedicated(lifted, world.observe()).action == SetDeletionProtection(enabled=False)


@given(st.data(), st.none() | settings())
def test_leaving_ends_with_the_table_gone_or_kept_for_a_reason(
    data: st.DataObject, dedicated: dict[str, Any] | None
) -> None:
    """From any state: deleted if unprotected by the spec, else blocked; in no case anything else is done."""
    wanted = declared(dedicated)
    world = data.draw(drifted(wanted))
    for _ in range(40):
        farewell = farewell_dedicated(wanted, world.observe())
        if farewell.done or farewell.stalled:
            break
        if farewell.action is not None:
            world.apply(farewell.action)
        world.now += timedelta(seconds=farewell.again_seconds or 1)
    assert farewell.done or farewell.stalled
    assert {type(action) for action in world.done} <= {SetDeletionProtection, DeleteTable}
    if farewell.done:
        assert world.observe().table is None
        assert sum(isinstance(action, DeleteTable) for action in world.done) == 1
    else:
        assert wanted.deletion_protected
        assert world.done == []


@given(data=st.data(), tagged=st.booleans())
def test_a_table_that_is_not_ours_is_never_deleted(data: st.DataObject, *, tagged: bool) -> None:
    """Without our tags, or with another's, the table stays and the resource goes."""
    wanted = a_wanted(UNPROTECTED)
    world = data.draw(drifted(wanted))
    world.now += world.delay * 10
    world.busy_until = None if world.busy_until is None else world.now
    world.tags = {**world.tags, "pannier.dev/namespace": "other"} if tagged else {}
    if not tagged:
        world.claim = None
    farewell = farewell_dedicated(wanted, world.observe())
    assert farewell.done
    assert farewell.action is None
    assert "stays" in farewell.finding.message


def test_a_table_on_its_way_out_is_waited_for() -> None:
    """The finalizer goes only after DynamoDB says that there is no such table."""
    wanted, world = a_wanted(UNPROTECTED), ModelAws()
    converge(wanted, world)
    assert world.table is not None
    world.table = replace(world.table, status="DELETING")
    waiting = farewell_dedicated(wanted, world.observe())
    assert not waiting.done
    assert waiting.again_seconds is not None
    world.table = None
    assert farewell_dedicated(wanted, world.observe()).done
