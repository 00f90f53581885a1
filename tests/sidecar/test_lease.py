"""Who loads, who waits, and for how long: the decisions of single flight across sidecars."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar.lease import LeaseBounds, Step, lease_us, next_step, patience_us, pause_us

LEASE_US = 100_000
BOUNDS = LeaseBounds(longest_us=500_000)
LOADS_US = st.floats(0, 1e9)
DRAWS = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("won", "is_filled", "has_servable", "waited_us", "step"),
    [
        # the lease is ours
        (True, False, False, 0, Step.LOAD),
        (True, False, True, 0, Step.LOAD),
        (True, True, True, 0, Step.SERVE),
        (True, False, False, LEASE_US, Step.LOAD),
        # somebody else's
        (False, False, False, 0, Step.WAIT),
        (False, False, True, 0, Step.LEAVE),
        (False, True, True, 0, Step.SERVE),
        (False, False, False, LEASE_US, Step.WAIT),
        (False, False, False, 2 * LEASE_US - 1, Step.WAIT),
        (False, False, False, 2 * LEASE_US, Step.LOAD),
        (False, True, True, 2 * LEASE_US, Step.SERVE),
        # nobody knows whose
        (None, False, False, 0, Step.LOAD),
        (None, False, True, 0, Step.LOAD),
        (None, False, False, LEASE_US, Step.LOAD),
        (None, True, True, 0, Step.SERVE),
    ],
)
def test_what_follows_from_a_lease(
    won: Any, is_filled: Any, has_servable: Any, waited_us: int, step: Step
) -> None:
    """The holder loads; others serve what they have, or wait; without Redis everybody loads."""
    found = next_step(
        won=won,
        is_filled=is_filled,
        has_servable=has_servable,
        waited_us=waited_us,
        patience_us=2 * LEASE_US,
    )
    assert found is step


@given(st.sampled_from([True, False, None]), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_nobody_waits_for_ever_nor_for_nobody(
    won: Any, is_filled: Any, has_servable: Any, waited_us: int
) -> None:
    """Waiting is for who lost, has nothing to serve, and has not waited for two leases yet."""
    step = next_step(
        won=won,
        is_filled=is_filled,
        has_servable=has_servable,
        waited_us=waited_us,
        patience_us=2 * LEASE_US,
    )
    may_wait = won is False and not is_filled and not has_servable and waited_us < 2 * LEASE_US
    assert (step is Step.WAIT) == may_wait
    assert step is not Step.SERVE or is_filled
    assert step is not Step.LEAVE or has_servable


@pytest.mark.parametrize(
    ("load_us", "kept_us"),
    [(0, 100_000), (5_000, 100_000), (20_000, 200_000), (50_000, 500_000), (10**9, 500_000)],
)
def test_a_lease_lasts_ten_loads_within_its_bounds(load_us: float, kept_us: int) -> None:
    """Quick sources get the shortest, slow ones the longest, which no read of L3 outlasts."""
    assert lease_us(load_us, BOUNDS) == kept_us


def test_a_bound_on_reads_below_the_shortest_lease_yields_to_it() -> None:
    """A sidecar with a tiny L3 timeout still holds its leases for as long as its loop may be late."""
    assert lease_us(50_000, LeaseBounds(longest_us=1_000)) == 100_000


@pytest.mark.parametrize(
    ("kept_us", "longest_us", "waited_us"),
    [
        (100_000, 500_000, 200_000),  # a dead holder, and whoever takes over
        (400_000, 500_000, 500_000),  # no longer than a read of L3 may take
        (100_000, 1_000, 100_000),  # a lease at least
    ],
)
def test_patience_is_two_leases_or_one_read(kept_us: int, longest_us: int, waited_us: int) -> None:
    """Who waits gives one dead holder its time, and does not wait for ever for an L3 that hangs."""
    assert patience_us(kept_us, LeaseBounds(longest_us=longest_us)) == waited_us


@given(st.integers(0, 10**6), LOADS_US, DRAWS)
def test_a_pause_is_neither_a_spin_nor_longer_than_a_quarter_of_the_lease(
    attempt: int, load_us: float, draw: float
) -> None:
    """Whatever was measured: at least three quarters of a millisecond."""
    pause = pause_us(attempt, load_us=load_us, lease_us=LEASE_US, draw=draw)
    assert 750 <= pause <= LEASE_US / 4


@given(LOADS_US, DRAWS)
def test_pauses_grow_and_reach_the_end_of_a_lease_in_few_looks(load_us: float, draw: float) -> None:
    """A dead holder costs a bounded number of round trips."""
    pauses = [pause_us(i, load_us=load_us, lease_us=LEASE_US, draw=draw) for i in range(20)]
    assert pauses == sorted(pauses)
    looks = next(n for n, waited in enumerate(itertools.accumulate(pauses), 1) if waited >= LEASE_US)
    assert looks <= 15


@given(LOADS_US, DRAWS)
def test_who_lost_together_comes_back_apart(load_us: float, draw: float) -> None:
    """A quarter of a pause is random."""
    longest = pause_us(3, load_us=load_us, lease_us=LEASE_US, draw=0)
    pause = pause_us(3, load_us=load_us, lease_us=LEASE_US, draw=draw)
    assert pause == pytest.approx(longest * (1 - draw / 4), abs=1)
