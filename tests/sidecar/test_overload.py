"""How much may be under way: `pannier_sidecar.overload`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar.overload import (
    INTERVAL_US,
    LEAST,
    Allowance,
    StandingDelay,
    retry_after_seconds,
)

TARGET_US = 5_000
NOW_US = 1_700_000_000_000_000


def test_a_loop_that_is_late_once_has_no_standing_queue() -> None:
    """However late a single turn was, it may have been a burst or a collection of garbage."""
    delay = StandingDelay(TARGET_US).observed(10 * INTERVAL_US, NOW_US)
    assert not delay.is_standing(NOW_US)


def test_a_loop_that_is_late_for_an_interval_has_one() -> None:
    """Late at every look until the interval is over, to the microsecond."""
    delay = StandingDelay(TARGET_US)
    for at_us in range(0, INTERVAL_US, INTERVAL_US // 10):
        delay = delay.observed(TARGET_US + 1, NOW_US + at_us)
        assert not delay.is_standing(NOW_US + at_us)
    delay = delay.observed(TARGET_US + 1, NOW_US + INTERVAL_US)
    assert not delay.is_standing(NOW_US + INTERVAL_US - 1)
    assert delay.is_standing(NOW_US + INTERVAL_US)
    assert delay.is_standing(NOW_US + 7 * INTERVAL_US)


def test_one_look_in_time_ends_a_standing_queue() -> None:
    """A queue that drains in between is a burst, and the next one begins anew."""
    delay = StandingDelay(TARGET_US).observed(TARGET_US + 1, NOW_US).observed(TARGET_US, NOW_US + 1)
    assert delay == StandingDelay(TARGET_US)
    again = delay.observed(TARGET_US + 1, NOW_US + INTERVAL_US)
    assert not again.is_standing(NOW_US + INTERVAL_US)


def test_a_clock_that_steps_back_starts_the_interval_anew() -> None:
    """It is never standing before its beginning, nor for good."""
    delay = (
        StandingDelay(TARGET_US).observed(TARGET_US + 1, NOW_US).observed(TARGET_US + 1, NOW_US - INTERVAL_US)
    )
    assert not delay.is_standing(NOW_US - INTERVAL_US)
    assert delay.is_standing(NOW_US)


def test_a_cut_starts_from_what_was_too_much() -> None:
    """A bound of hundreds does not matter where thirty at once were too many already."""
    allowance = Allowance(256, 256).cut(30)
    assert (allowance.now, allowance.most) == (21, 256)
    assert not allowance.admits(21)
    assert allowance.admits(20)
    assert Allowance(256, 256).cut(25).now == 17


def test_growth_is_a_sixteenth_of_what_is_allowed() -> None:
    """Step by step, faster where there is more, at least one and up to the bound."""
    raised = [Allowance(now, 1_000).raised().now for now in (1, 31, 320, 990, 1_000)]
    assert raised == [2, 32, 340, 1_000, 1_000]


def test_a_few_may_begin_however_late_the_loop_is() -> None:
    """Sixteen, or all where fewer were set."""
    assert (Allowance(256, 256).cut(0).now, Allowance(5, 5).cut(0).now) == (16, 5)


@given(st.integers(1, 10_000), st.lists(st.one_of(st.none(), st.integers(0, 20_000)), max_size=60))
def test_an_allowance_stays_between_its_bounds(most: int, peaks: list[int | None]) -> None:
    """Whatever happens, a few may always begin, and never more than were set."""
    allowance = Allowance(most, most)
    for peak in peaks:
        allowance = allowance.raised() if peak is None else allowance.cut(peak)
        assert min(LEAST, most) <= allowance.now <= most
        assert allowance.admits(0)


def test_what_was_cut_comes_back_when_the_load_has_gone() -> None:
    """From the least to the bound in a few seconds of intervals, never at a jump."""
    allowance, steps = Allowance(LEAST, 256), 0
    while allowance.now < allowance.most:
        raised = allowance.raised()
        assert raised.now - allowance.now <= max(1, allowance.now // 16)
        allowance, steps = raised, steps + 1
    assert steps * INTERVAL_US < 10_000_000


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 1), (0.34, 2), (0.67, 3), (0.999999, 3)])
def test_refused_clients_come_back_at_different_times(draw: float, seconds: int) -> None:
    """In one to three seconds, by the draw, so that they do not come all at once."""
    assert retry_after_seconds(draw) == seconds
