"""How long to wait after so many failures in a row: values only, for whoever tries again for ever."""

from __future__ import annotations

from typing import Final

_MOST_DOUBLINGS: Final = 32
"""An outage may last for days, and a float holds only 1,023 doublings."""


def pause_seconds(failures: int, *, first: float, longest: float, draw: float) -> float:
    """Exponential, bounded by ``longest``; half of it is drawn, so that not all come back at once."""
    grown = first * 2.0 ** min(failures, _MOST_DOUBLINGS)
    return float(min(grown, longest)) * (0.5 + draw / 2)
