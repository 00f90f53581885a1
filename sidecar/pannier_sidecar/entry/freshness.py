"""How fresh a cached entry is: fresh, due for an early refresh, past soft, past hard.

Pure arithmetic on a policy, two times and a number drawn by the caller. It starts no refresh and knows no
tier.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import msgspec

from pannier.policy import TierPolicy
from pannier_sidecar.entry.record import MICROSECONDS

_INTERARRIVALS = 3
"""A window of three mean gaps between reads refreshes 1 - e^-3 = 95 % of the entries before they turn
soft."""
_WINDOW_SHARE = 0.2
"""Of the soft TTL, at most: rarely read keys must not refresh all the time."""
_REACH = 20
"""Windows before the soft deadline in which the dice are rolled; further out they fire twice in a billion."""


class Freshness(enum.Enum):
    """What to do with an entry."""

    FRESH = "fresh"
    """Serve."""
    EARLY = "early"
    """Serve, and refresh once in the background although it is still fresh."""
    SOFT = "soft"
    """Serve, and refresh once in the background."""
    EXPIRED = "expired"
    """Load before serving."""


class Deadlines(msgspec.Struct, frozen=True, gc=False):
    """When an entry turns soft and when it must not be served any more; ``soft_us <= hard_us``."""

    soft_us: int
    hard_us: int


def jitter_fraction(jitter_percent: int, draw: float) -> float:
    """The part of a TTL that jitter takes away, from a ``draw`` in [0, 1): it only ever shortens."""
    return jitter_percent / 100 * draw


def deadlines(
    policy: TierPolicy,
    *,
    taken_at_us: int,
    ceiling_us: int | None,
    jitter_fraction: float,
    negative: bool = False,
) -> Deadlines:
    """Deadlines of an entry that the tier took at ``taken_at_us``.

    In L1 that is when this L1 took the entry and ``ceiling_us`` is the remote hard deadline; in L2 it is
    ``loaded_at``. The ceiling also holds the earliest expiry among the rows shown. One fraction shortens soft
    and hard together, so that they never cross. An entry that shows nothing lives the negative TTL at most.
    """
    scale = MICROSECONDS * (1 - jitter_fraction)
    soft_seconds, hard_seconds = policy.soft_ttl_seconds, policy.hard_ttl_seconds
    if negative:
        soft_seconds = min(soft_seconds, policy.negative_ttl_seconds)
        hard_seconds = min(hard_seconds, policy.negative_ttl_seconds)
    hard_us = taken_at_us + int(hard_seconds * scale)
    if ceiling_us is not None:
        hard_us = min(hard_us, ceiling_us)
    return Deadlines(min(taken_at_us + int(soft_seconds * scale), hard_us), hard_us)


def earliest(*deadlines_us: int | None) -> int | None:
    """The earliest of several deadlines, where None is no deadline."""
    return min((deadline for deadline in deadlines_us if deadline is not None), default=None)


def early_window_us(factor: float, *, reads_per_second: float, load_us: float, soft_ttl_us: float) -> float:
    """Width of the window before the soft deadline in which reads may refresh early; 0 = never.

    Three mean gaps between reads, at least one load, at most a fifth of the soft TTL. The textbook window,
    the load time alone, never fires for sources that answer in milliseconds.
    """
    if factor <= 0:
        return 0.0
    widest_us = _WINDOW_SHARE * soft_ttl_us
    if reads_per_second <= 0:
        return widest_us
    return min(max(factor * _INTERARRIVALS * MICROSECONDS / reads_per_second, load_us), widest_us)


def check_at_us(due: Deadlines, window_us: float) -> int:
    """Before this moment `judge` says FRESH whatever the dice; the one comparison of a hit."""
    return due.soft_us - int(_REACH * window_us)


def judge(now_us: int, due: Deadlines, window_us: float, roll: Callable[[], float]) -> Freshness:
    """Judge an entry at ``now_us``; ``roll`` gives a number in [0, 1) and is asked only where it can matter.

    Early refreshes follow Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
    Prevention", PVLDB 8(8), 2015: the chance rises exponentially towards the soft deadline, so that one
    reader of many goes first.
    """
    if now_us >= due.hard_us:
        return Freshness.EXPIRED
    left_us = due.soft_us - now_us
    if left_us <= 0:
        return Freshness.SOFT
    if (
        window_us > 0
        and now_us >= check_at_us(due, window_us)
        and -window_us * math.log1p(-roll()) >= left_us
    ):
        return Freshness.EARLY
    return Freshness.FRESH
