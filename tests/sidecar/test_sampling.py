"""What checking may cost: `pannier_sidecar.sampling`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier_sidecar.sampling import CAPACITY, GAP_US, PRICE, Allowance, is_too_soon

SECOND_US = 1_000_000


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, PRICE)), max_size=200),
)
def test_reads_of_l3_never_exceed_what_was_earned(per_million: int, reads: list[tuple[int, int]]) -> None:
    """Whatever is read and however much each sample turns out to need."""
    allowance, rows, spent = Allowance(), 0, 0
    for read, needed in reads:
        rows += read
        allowance = allowance.earned(rows, per_million)
        if allowance.affords:
            allowance = allowance.paid().refunded(PRICE - needed)
            spent += needed
        assert spent * 1_000_000 <= rows * per_million


def test_a_consistent_system_gets_a_sample_for_each_read_it_earned() -> None:
    """A sample that needs one read gives the others back at once, so one read in so many rows is made."""
    allowance, samples = Allowance(), 0
    for rows in range(0, 100_001, 10):
        allowance = allowance.earned(rows, 1_000)
        if allowance.affords:
            allowance, samples = allowance.paid().refunded(PRICE - 1), samples + 1
    assert samples == pytest.approx(100_000 / 1_000, abs=PRICE)


def test_a_quiet_hour_pays_for_no_burst() -> None:
    """What may be saved up is bounded."""
    full = Allowance().earned(10**9, 10_000)
    assert full.millionths == CAPACITY * 1_000_000
    assert full.refunded(PRICE) == full


def test_counters_that_start_again_earn_nothing() -> None:
    """A total below the one seen before is no reason for credit, nor for debt."""
    assert Allowance(1, 500).earned(20, 10_000) == Allowance(1, 20)


@settings(deadline=None)
@given(st.lists(st.integers(-SECOND_US, SECOND_US), max_size=300))
def test_samples_keep_their_distance(steps_us: list[int]) -> None:
    """However the clock runs: at most one sample per gap of forward time, one more for each step back."""
    last_us, now_us, forward_us, taken, back = -(1 << 60), 0, 0, 0, 0
    for step_us in steps_us:
        now_us += step_us
        forward_us, back = forward_us + max(step_us, 0), back + (step_us < 0)
        if not is_too_soon(last_us, now_us):
            last_us, taken = now_us, taken + 1
    assert taken <= 1 + back + forward_us / GAP_US
