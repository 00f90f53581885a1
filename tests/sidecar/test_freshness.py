"""Deadlines, the early window and the judgement: `pannier_sidecar.entry.freshness`."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier.policy import TierPolicy
from pannier_sidecar.entry.freshness import (
    Deadlines,
    Freshness,
    check_at_us,
    deadlines,
    earliest,
    early_window_us,
    jitter_fraction,
    judge,
)

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000


def a_tier(soft: int = 10, hard: int = 60, negative: int = 5) -> TierPolicy:
    return TierPolicy(
        state="Enabled", soft_ttl_seconds=soft, hard_ttl_seconds=hard, negative_ttl_seconds=negative
    )


def due(
    *, jitter: float = 0.0, ceiling: int | None = None, negative: bool = False, tier: TierPolicy | None = None
) -> Deadlines:
    return deadlines(
        tier or a_tier(), taken_at_us=NOW_US, ceiling_us=ceiling, jitter_fraction=jitter, negative=negative
    )


def never() -> float:
    """Dice that must not be asked."""
    raise AssertionError("the dice were rolled where they cannot matter")


def test_deadlines_count_from_when_the_tier_took_the_entry() -> None:
    """Without jitter and ceiling they are the policy's numbers."""
    assert due() == Deadlines(NOW_US + 10 * SECOND_US, NOW_US + 60 * SECOND_US)


def test_one_fraction_shortens_soft_and_hard_together() -> None:
    """A quarter of jitter takes a quarter of both."""
    assert due(jitter=0.25) == Deadlines(NOW_US + 7_500_000, NOW_US + 45_000_000)


def test_no_deadline_passes_the_ceiling() -> None:
    """The remote hard deadline, or a row's own expiry, bounds both."""
    assert due(ceiling=NOW_US + 30 * SECOND_US) == Deadlines(NOW_US + 10 * SECOND_US, NOW_US + 30 * SECOND_US)
    assert due(ceiling=NOW_US + 4 * SECOND_US) == Deadlines(NOW_US + 4 * SECOND_US, NOW_US + 4 * SECOND_US)
    assert due(ceiling=NOW_US + 99 * SECOND_US) == due()


def test_what_shows_nothing_lives_the_negative_ttl_at_most() -> None:
    """Both deadlines are bounded by it, and a longer one lengthens nothing."""
    assert due(negative=True) == Deadlines(NOW_US + 5 * SECOND_US, NOW_US + 5 * SECOND_US)
    assert due(negative=True, tier=a_tier(negative=20)) == Deadlines(
        NOW_US + 10 * SECOND_US, NOW_US + 20 * SECOND_US
    )


@settings(deadline=None)
@given(
    soft=st.integers(1, 10**5),
    longer=st.integers(0, 10**5),
    negative=st.integers(0, 10**5),
    percent=st.integers(0, 50),
    draw=st.floats(0, 1, exclude_max=True),
    ceiling=st.one_of(st.none(), st.integers(NOW_US, NOW_US + 10**12)),
    shows_nothing=st.booleans(),
)
def test_jitter_only_shortens_and_soft_never_passes_hard(
    *,
    soft: int,
    longer: int,
    negative: int,
    percent: int,
    draw: float,
    ceiling: int | None,
    shows_nothing: bool,
) -> None:
    """For every policy, draw and ceiling."""
    tier = a_tier(soft, soft + longer, min(negative, soft + longer))
    jitter = jitter_fraction(percent, draw)
    plain = due(tier=tier, ceiling=ceiling, negative=shows_nothing)
    short = due(tier=tier, ceiling=ceiling, negative=shows_nothing, jitter=jitter)
    assert NOW_US <= short.soft_us <= short.hard_us
    assert short.soft_us <= plain.soft_us
    assert short.hard_us <= plain.hard_us
    assert ceiling is None or short.hard_us <= ceiling
    longest = tier.negative_ttl_seconds if shows_nothing else tier.hard_ttl_seconds
    assert ceiling is not None or short.hard_us >= NOW_US + int((1 - percent / 100) * longest * SECOND_US) - 1


def test_jitter_fraction_reaches_from_nothing_to_the_policys_part() -> None:
    """No draw, no jitter; the highest draw takes the whole percentage."""
    assert jitter_fraction(20, 0.0) == 0
    assert jitter_fraction(20, 0.5) == pytest.approx(0.1)
    assert jitter_fraction(0, 0.9) == 0


def test_earliest_ignores_what_has_no_deadline() -> None:
    """None is never, not now."""
    assert earliest(None, 5, 3, None) == 3
    assert earliest(None) is None


def test_the_early_window_is_three_gaps_between_reads() -> None:
    """At ten reads a second: 0.3 s, scaled by the policy's factor."""
    wide = {"reads_per_second": 10, "load_us": 5_000, "soft_ttl_us": 60 * SECOND_US}
    assert early_window_us(1.0, **wide) == pytest.approx(300_000)
    assert early_window_us(2.0, **wide) == pytest.approx(600_000)


def test_the_early_window_is_at_least_a_load_and_at_most_a_fifth_of_soft() -> None:
    """Very hot keys leave time to load, rare ones do not refresh all the time; the cap is the last word."""
    assert early_window_us(1.0, reads_per_second=10**6, load_us=5_000, soft_ttl_us=60 * SECOND_US) == 5_000
    assert early_window_us(1.0, reads_per_second=0.01, load_us=5_000, soft_ttl_us=SECOND_US) == 200_000
    assert early_window_us(1.0, reads_per_second=10, load_us=9_000_000, soft_ttl_us=SECOND_US) == 200_000
    assert early_window_us(1.0, reads_per_second=0, load_us=5_000, soft_ttl_us=SECOND_US) == 200_000


def test_a_factor_of_zero_switches_early_refresh_off() -> None:
    """However hot the key, and the judge never rolls."""
    assert early_window_us(0, reads_per_second=100, load_us=5_000, soft_ttl_us=SECOND_US) == 0
    one = Deadlines(NOW_US + 10, NOW_US + 20)
    assert judge(NOW_US + 9, one, 0, never) is Freshness.FRESH


def test_judgement_turns_at_the_deadlines_to_the_microsecond() -> None:
    """Up to soft fresh, from soft on soft, from hard on expired, without dice outside the window."""
    one = Deadlines(NOW_US + 100, NOW_US + 200)
    assert judge(NOW_US + 99, one, 0, never) is Freshness.FRESH
    assert judge(NOW_US + 100, one, 50.0, never) is Freshness.SOFT
    assert judge(NOW_US + 199, one, 50.0, never) is Freshness.SOFT
    assert judge(NOW_US + 200, one, 50.0, never) is Freshness.EXPIRED


def test_an_entry_without_a_soft_span_expires_at_once() -> None:
    """Where soft and hard meet (a negative entry), there is no serving past it."""
    assert judge(NOW_US, Deadlines(NOW_US, NOW_US), 0, never) is Freshness.EXPIRED


def test_early_fires_exactly_where_the_rule_says() -> None:
    """With U = 1 - 1/e the rule reaches exactly one window ahead of the soft deadline."""
    one = Deadlines(NOW_US + 1_000_000, NOW_US + 2_000_000)

    def roll() -> float:
        return 1 - math.exp(-1)

    assert judge(NOW_US + 899_998, one, 100_000, roll) is Freshness.FRESH
    assert judge(NOW_US + 900_002, one, 100_000, roll) is Freshness.EARLY
    assert judge(NOW_US + 999_999, one, 100_000, lambda: 0.0) is Freshness.FRESH


def test_before_check_at_the_dice_rest() -> None:
    """The one comparison of a hit is enough there."""
    one = Deadlines(NOW_US + 10_000_000, NOW_US + 20_000_000)
    assert check_at_us(one, 100_000) == NOW_US + 8_000_000
    assert check_at_us(one, 0) == one.soft_us
    assert judge(NOW_US + 7_999_999, one, 100_000, never) is Freshness.FRESH
    assert judge(NOW_US + 8_000_000, one, 100_000, lambda: math.nextafter(1, 0)) is Freshness.EARLY


@pytest.mark.parametrize(
    ("reads_per_second", "factor"),
    [(1.0, 1.0), (10.0, 1.0), (100.0, 1.0), (10.0, 0.3), (10.0, 2.0), (0.3, 1.0)],
)
def test_early_refreshes_happen_as_often_as_the_closed_form_says(
    reads_per_second: float, factor: float
) -> None:
    """Poisson reads over one soft TTL: P = 1 - exp(-rate w (1 - exp(-T / w))), within three sigma."""
    trials, ttl_us = 3000, 20 * SECOND_US
    window_us = early_window_us(factor, reads_per_second=reads_per_second, load_us=5_000, soft_ttl_us=ttl_us)
    dice = random.Random(f"{reads_per_second}/{factor}")
    one = Deadlines(NOW_US + ttl_us, NOW_US + 10 * ttl_us)
    early = sum(_is_refreshed_early(one, window_us, reads_per_second, dice) for _ in range(trials))
    window = window_us / SECOND_US
    chance = 1 - math.exp(-reads_per_second * window * (1 - math.exp(-ttl_us / window_us)))
    assert abs(early / trials - chance) < 3 * math.sqrt(chance * (1 - chance) / trials)


def _is_refreshed_early(one: Deadlines, window_us: float, rate: float, dice: random.Random) -> bool:
    """Reads come at ``rate`` until it is refreshed early or soft; before ``check_at`` none counts."""
    now_us = float(max(NOW_US, check_at_us(one, window_us)))
    while True:
        now_us += dice.expovariate(rate) * SECOND_US
        judgement = judge(int(now_us), one, window_us, dice.random)
        if judgement is not Freshness.FRESH:
            return judgement is Freshness.EARLY
