"""Of several replicas one writes; when it is gone another does, and the old one never again."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.model_of_leases import ModelLease

from pannier_operator.clock import ManualClock
from pannier_operator.errors import LeadershipLost
from pannier_operator.kube.leases import Leases
from pannier_operator.leadership import Leadership, Terms

TERMS = Terms(lease_seconds=15, renew_seconds=10, retry_seconds=2)


def a_replica(lease: ModelLease, name: str, clock: ManualClock) -> Leadership:
    return Leadership(cast("Leases", lease), name, TERMS, clock)


async def test_one_of_two_replicas_leads() -> None:
    """The second stands by while the first renews."""
    lease, clock = ModelLease(), ManualClock()
    first, second = (a_replica(lease, name, clock) for name in ("a", "b"))
    assert await first.attempt()
    for _ in range(30):
        assert not await second.attempt()
        clock.advance(2)
        assert await first.attempt()
    assert first.is_leader
    assert not second.is_leader
    with pytest.raises(LeadershipLost):
        second.may_write()


async def test_a_dead_leader_is_followed_within_its_lease() -> None:
    """Killed without a word, the leader is waited for as long as its Lease says, and not longer."""
    lease, clock = ModelLease(), ManualClock()
    first, second = (a_replica(lease, name, clock) for name in ("a", "b"))
    assert await first.attempt()
    waited = 0
    while not await second.attempt():
        clock.advance(2)
        waited += 2
    assert 15 <= waited < 20
    assert second.is_leader


async def test_a_leader_that_steps_down_is_followed_at_once() -> None:
    """A replica that is told to stop gives the Lease back."""
    lease, clock = ModelLease(), ManualClock()
    first, second = (a_replica(lease, name, clock) for name in ("a", "b"))
    assert await first.attempt()
    await first.release()
    with pytest.raises(LeadershipLost):
        first.may_write()
    assert await second.attempt()


async def test_a_leader_that_was_stopped_writes_nothing_when_it_goes_on() -> None:
    """A process that sleeps past its renewal may write no more, before it has even asked anybody."""
    lease, clock = ModelLease(), ManualClock()
    first, second = (a_replica(lease, name, clock) for name in ("a", "b"))
    assert await first.attempt()
    assert not await second.attempt()
    clock.advance(16)
    with pytest.raises(LeadershipLost):
        first.may_write()
    assert await second.attempt()
    assert not await first.attempt()


async def test_a_leader_without_api_server_stops_before_another_may_start() -> None:
    """Cut off, it stops writing after the renew deadline; the Lease runs longer than that."""
    lease, clock = ModelLease(), ManualClock()
    first = a_replica(lease, "a", clock)
    assert await first.attempt()
    lease.reachable = False
    clock.advance(9)
    assert not await first.attempt()
    first.may_write()
    clock.advance(1)
    with pytest.raises(LeadershipLost):
        first.may_write()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 8), st.booleans()), max_size=60))
async def test_never_two_may_write(steps: list[tuple[str, float, bool]]) -> None:
    """Whoever tries when, with whatever outages: at no time do two replicas believe that they lead."""
    lease, clock = ModelLease(), ManualClock()
    replicas = {name: a_replica(lease, name, clock) for name in "abc"}
    for name, pause, reachable in steps:
        lease.reachable = reachable
        await replicas[name].attempt()
        assert sum(replica.is_leader for replica in replicas.values()) <= 1
        clock.advance(pause)
        assert sum(replica.is_leader for replica in replicas.values()) <= 1
