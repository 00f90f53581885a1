"""What L2 holds of an id that was asked for once, where its second load stores it: next to nothing.

A ghost says nothing of any state and loses to every one: for a record it is a marker of revision 0, for a
timeline an entry without coverage and registers. So whatever merges entries, here or in Redis, takes it as
it is. It gets no further than `pannier_sidecar.arrivals`, which sees by it that an id was asked for before.
"""

from __future__ import annotations

from typing import Final

from pannier_sidecar.entry.record import Kind, Record, marker
from pannier_sidecar.entry.timeline import NEVER, NO_COVERAGE, UNTRIMMED, Timeline

RECORD_GHOST: Final = marker(0, 0)
TIMELINE_GHOST: Final = Timeline(NEVER, NO_COVERAGE, UNTRIMMED, 0, 0, {})


def is_ghost(state: Record | Timeline) -> bool:
    """Whether this says nothing but that somebody asked."""
    return state == (RECORD_GHOST if isinstance(state, Record) else TIMELINE_GHOST)


def is_worth_a_ghost(state: Record | Timeline) -> bool:
    """Whether a ghost takes less room than the state; "there is no such row" does not take more."""
    return state.kind is Kind.FOUND if isinstance(state, Record) else bool(state.registers)
