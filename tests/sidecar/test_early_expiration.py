"""Early expiration against its closed form, over a grid of read rates, load times, soft TTLs and factors.

With Poisson reads at the rate r and a window w a copy is refreshed before its soft TTL T with the probability
1 - exp(-H), H = r w (1 - exp(-T / w)). Both forms of the code have to hold it within three sigma: the dice of
every read (`freshness.judge`, for L2), and the moment that L1 draws once (`L1Cache.look`).
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from tests.builders import a_plan

from pannier_sidecar.entry.freshness import Deadlines, Freshness, check_at_us, early_window_us, judge
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.tiers.l1_local import L1Cache

NOW_US = 1_700_000_000_000_000
SECOND = 1_000_000
TRIALS = 700
READS_TO_KNOW = 50
GRID = list(itertools.product((2.0, 10.0, 100.0), (5_000.0, 100_000.0), (15, 60, 300), (0.3, 1.0, 2.0)))
"""Reads per second, load time in microseconds, soft TTL in seconds, factor."""


def closed_form(rate: float, load_us: float, soft_seconds: int, factor: float) -> float:
    """The chance that a copy is refreshed before it turns soft."""
    soft_us = soft_seconds * SECOND
    window = early_window_us(factor, reads_per_second=rate, load_us=load_us, soft_ttl_us=soft_us) / SECOND
    return 1 - math.exp(-rate * window * (1 - math.exp(-soft_seconds / window)))


def rolled(rate: float, load_us: float, soft_seconds: int, factor: float, dice: random.Random) -> bool:
    """Whether reads that each roll the dice refresh a copy early; before ``check_at`` none of them can."""
    due = Deadlines(NOW_US + soft_seconds * SECOND, NOW_US + 9 * soft_seconds * SECOND)
    window_us = early_window_us(
        factor, reads_per_second=rate, load_us=load_us, soft_ttl_us=soft_seconds * SECOND
    )
    now_us = float(max(NOW_US, check_at_us(due, window_us)))
    while True:
        now_us += dice.expovariate(rate) * SECOND
        found = judge(int(now_us), due, window_us, dice.random)
        if found is not Freshness.FRESH:
            return found is Freshness.EARLY


def drawn(plan: GroupPlan, l1: L1Cache, rate: float, load_us: float, dice: random.Random) -> bool:
    """Whether a held entry is refreshed early; reads are Poisson, so those that cannot matter are skipped.

    Until the first look only their number counts; from then on none does before ``check_at``.
    """
    entry = l1.put(plan, "a", PACK, NOW_US)
    assert l1.look(plan, "a", entry.check_at_us - 1, load_us)[1] is Freshness.FRESH
    elapsed = (entry.check_at_us - NOW_US) / SECOND
    entry.reads = _poisson(rate * elapsed, dice)
    now_us = float(entry.check_at_us)
    for _ in range(3):  # the look that draws, the read that refreshes, and one more if the first was early
        now_us = max(now_us, entry.check_at_us) + dice.expovariate(rate) * SECOND
        found = l1.look(plan, "a", int(now_us), load_us)[1]
        if found is not Freshness.FRESH:
            return found is Freshness.EARLY
    raise AssertionError("an entry stayed fresh past the moment that was drawn for it")


PACK: Any = pack_state(a_plan("early"), "a", Record(Kind.FOUND, 7, NOW_US, NOW_US, None, {0: b'"x"'}), NOW_US)


def _poisson(mean: float, dice: random.Random) -> int:
    """A Poisson number; normal where that is the same."""
    if mean > 100:
        return max(round(dice.gauss(mean, math.sqrt(mean))), 0)
    count, product = 0, dice.random()
    while product > math.exp(-mean):
        count, product = count + 1, product * dice.random()
    return count


def refreshed_early(  # noqa: PLR0917 (one cell of the grid)
    form: str, rate: float, load_us: float, soft: int, factor: float, dice: random.Random
) -> int:
    """How many of the trials of one cell of the grid."""
    if form == "rolled at every read":
        return sum(rolled(rate, load_us, soft, factor, dice) for _ in range(TRIALS))
    plan = a_plan("early", soft=soft, hard=9 * soft, early_factor=factor, remote="Disabled")
    l1 = L1Cache(1_000_000, dice=dice.random)
    return sum(drawn(plan, l1, rate, load_us, dice) for _ in range(TRIALS))


@pytest.mark.parametrize("form", ["rolled at every read", "drawn once"])
def test_early_refreshes_follow_the_closed_form_over_the_grid(form: str) -> None:
    """In every cell within three sigma, and over all cells as chance would have it.

    L1 draws by the rate that it has seen. Where fewer than `READS_TO_KNOW` reads told it, the share may be
    another point off.
    """
    deviations = {}
    for number, (rate, load_us, soft, factor) in enumerate(GRID):
        dice = random.Random(f"{form} {number}")
        share = refreshed_early(form, rate, load_us, soft, factor, dice) / TRIALS
        chance = closed_form(rate, load_us, soft, factor)
        sigma = math.sqrt(max(chance * (1 - chance), 1 / TRIALS) / TRIALS)
        off = abs(share - chance)
        if form == "drawn once" and rate * soft / 2 < READS_TO_KNOW:
            off = max(off - 0.01, 0)
        deviations[rate, load_us, soft, factor] = off / sigma
    worst = max(deviations, key=lambda cell: deviations[cell])
    assert deviations[worst] <= 3, f"{worst}: {deviations[worst]:.1f} sigma"
    mean_square = sum(deviation**2 for deviation in deviations.values()) / len(deviations)
    assert mean_square < 1 + 3 * math.sqrt(2 / len(deviations)), f"{mean_square:.2f} sigma squared on average"
