"""How calls to an account are shared between edits and the resync."""

from __future__ import annotations

from pannier_operator.aws.call_budget import CallBudget
from pannier_operator.clock import ManualClock


async def test_calls_within_the_budget_do_not_wait() -> None:
    """Ten seconds' worth may be spent at once."""
    budget = CallBudget(5, ManualClock())
    for _ in range(50):
        assert budget.wait_seconds("edit") == 0
        await budget.take("edit")
    assert 0 < budget.wait_seconds("edit") <= 0.2


async def test_a_resync_leaves_half_to_edits() -> None:
    """A full pass over everything never delays what a person waits for."""
    clock = ManualClock()
    budget = CallBudget(5, clock)
    while budget.wait_seconds("resync") == 0:
        await budget.take("resync")
    assert budget.level >= 0.5 - 1 / 50
    assert budget.wait_seconds("edit") == 0
    clock.advance(1)
    assert budget.wait_seconds("resync") == 0


def test_a_resync_stretches_with_what_there_is_to_look_at() -> None:
    """Its period is at best what was asked for, and what the calls take where that is more."""
    budget = CallBudget(5, ManualClock())
    assert budget.resync_seconds(100, 300) == 300
    assert budget.resync_seconds(8000, 300) == 3200
