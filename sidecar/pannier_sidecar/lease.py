"""Who loads a key from L3 while several sidecars want it: what to do next, how long to hold and to wait.

Pure decisions. A lease is a key in Redis that one holder sets and that ends by itself (Nishtala et al.,
"Scaling Memcache at Facebook", NSDI 2013). It spares L3 loads and decides nothing about values: those win by
revision, whoever loaded them. The waiting is done in `pannier_sidecar.shared_flight`.
"""

from __future__ import annotations

import enum
from typing import Final, Literal, NamedTuple

from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.row import RowKey

LeaseEvent = Literal["won", "spared", "waited", "left", "gave_up", "expired"]

_LOADS: Final = 10
"""A lease lasts so many mean loads: about three of the slow ones, since of a hundred loads the slowest takes
three times the mean."""
_PATIENCE: Final = 2
"""How many leases somebody waits: one of a dead holder, and one of whoever took over from it."""
_FIRST_PAUSE_LOADS: Final = 0.5
_PAUSE_GROWTH: Final = 1.5
_MOST_GROWTH: Final = 64
"""By then every pause has reached its bound."""
_PAUSES_PER_LEASE: Final = 4
_SHORTEST_PAUSE_US: Final = 1_000


class LeaseBounds(NamedTuple):
    """How short and how long a lease may be."""

    longest_us: int
    """No longer than a read of L3 may take: whoever holds it has given up by then."""
    shortest_us: int = 100_000
    """More than a busy event loop takes between two looks at its sockets."""


class Lease(NamedTuple):
    """The right to load one key for everybody, asked for or held."""

    key: RowKey
    token: str
    """Tells this holder from all others."""
    kept_ms: int
    """It ends by itself after this long."""


class Claimed(NamedTuple):
    """How it ended to ask for a lease, and what L2 held of the key after that."""

    won: bool | None
    """None: Redis gave no answer."""
    entry: Record | Timeline | TierError | None


class Step(enum.Enum):
    """What to do about one key that somebody has to load from L3."""

    LOAD = "load"
    """Load it from L3."""
    SERVE = "serve"
    """L2 has been filled meanwhile: serve that."""
    LEAVE = "leave"
    """Serve on what is held, and leave its renewal to whoever holds the lease."""
    WAIT = "wait"
    """Ask again in a moment."""


def next_step(
    *, won: bool | None, is_filled: bool, has_servable: bool, waited_us: int, patience_us: int
) -> Step:
    """What to do, given the outcome of asking for the lease and what L2 said after that.

    ``won`` None: Redis did not answer, so nobody can be waited for. ``is_filled``: L2 holds an entry to serve
    that it did not hold before. ``has_servable``: an older one may be served until it is renewed.
    """
    if is_filled:
        return Step.SERVE
    if won is None or won:
        return Step.LOAD
    if has_servable:
        return Step.LEAVE
    return Step.WAIT if waited_us < patience_us else Step.LOAD


def lease_us(load_us: float, bounds: LeaseBounds) -> int:
    """How long to hold a lease of a group whose loads take ``load_us`` on average."""
    return int(max(min(_LOADS * load_us, bounds.longest_us), bounds.shortest_us))


def patience_us(lease_us: int, bounds: LeaseBounds) -> int:
    """How long to wait for others before loading all the same.

    No longer than a read of L3 may take, if that is a lease at all: while L3 hangs, one after the other would
    hold the lease for nothing, and who waits could have known that as early as they do.
    """
    return max(min(_PATIENCE * lease_us, bounds.longest_us), lease_us)


def pause_us(attempt: int, *, load_us: float, lease_us: int, draw: float) -> int:
    """How long to wait before asking again for the ``attempt``-th time (from 0), by a draw in [0, 1).

    At first half of a load, since the holder began some time ago; then longer and longer, up to a quarter of
    the lease. A quarter of each pause is random, so that those who lost together do not come back together.
    """
    first_us = max(_FIRST_PAUSE_LOADS * load_us, _SHORTEST_PAUSE_US)
    grown_us = first_us * _PAUSE_GROWTH ** min(attempt, _MOST_GROWTH)
    return int(min(grown_us, lease_us / _PAUSES_PER_LEASE) * (1 - draw / 4))
