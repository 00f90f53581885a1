"""What says nothing but that an id was asked for: `pannier_sidecar.entry.ghost`."""

from __future__ import annotations

import pytest
from tests.builders import a_policy

from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.envelope import encode_coverage, encode_record, encode_registers
from pannier_sidecar.entry.ghost import RECORD_GHOST, TIMELINE_GHOST, is_ghost, is_worth_a_ghost
from pannier_sidecar.entry.lifetime import kept_seconds
from pannier_sidecar.entry.record import UNVERSIONED, Kind, Record, marker
from pannier_sidecar.entry.timeline import NEVER, NO_COVERAGE, Timeline, delta

FOUND = Record(Kind.FOUND, UNVERSIONED, 1, 0, None, {0: b"1"})
LOOK = Timeline(5, "", "", 0, 1, {"1": FOUND})
EMPTY_LOOK = Timeline(5, "", "", 0, 1, {})


def test_a_ghost_is_the_same_bytes_in_every_release() -> None:
    """Sidecars of two releases meet in one Redis, and each must know the other's ghosts."""
    assert encode_record(RECORD_GHOST).hex() == "00" * 16 + "0102" + "00" * 8 + "ff" * 8
    assert encode_coverage(TIMELINE_GHOST).hex() == "ff" * 8 + "00" * 16 + "01" + "0001" + "7f"
    assert encode_registers(TIMELINE_GHOST) == []


@pytest.mark.parametrize("kind", Kind)
def test_a_ghost_of_a_record_loses_to_every_state(kind: Kind) -> None:
    """Whichever comes first, also to what another writer stored without a revision."""
    state = Record(kind, UNVERSIONED, 0, 0, None)
    assert record.merge(RECORD_GHOST, state) == record.merge(state, RECORD_GHOST) == state


@pytest.mark.parametrize("state", [LOOK, EMPTY_LOOK, delta("1", FOUND)])
def test_a_ghost_of_a_timeline_changes_nothing(state: Timeline) -> None:
    """Neither a look nor a single write."""
    assert timeline.merge(TIMELINE_GHOST, state, 10) == timeline.merge(state, TIMELINE_GHOST, 10) == state


def test_nothing_else_is_a_ghost() -> None:
    """A write's marker, a row that is not there and an empty timeline all say something."""
    assert is_ghost(RECORD_GHOST)
    assert is_ghost(TIMELINE_GHOST)
    assert not any(is_ghost(state) for state in (marker(1, 0), Record(Kind.MISSING, 1, 0, 0, None), FOUND))
    assert not any(is_ghost(state) for state in (LOOK, EMPTY_LOOK, delta("1", FOUND)))


def test_only_what_holds_values_is_worth_a_ghost() -> None:
    """Where there is no row, or none of a timeline, a ghost would take as much room."""
    assert is_worth_a_ghost(FOUND)
    assert is_worth_a_ghost(LOOK)
    assert not any(is_worth_a_ghost(Record(kind, 1, 1, 0, None)) for kind in Kind if kind is not Kind.FOUND)
    assert not is_worth_a_ghost(EMPTY_LOOK)


def test_a_ghost_is_kept_as_long_as_the_value_would_be_served() -> None:
    """The hard TTL: who asks later than that asks for the first time again."""
    policy = a_policy(soft=10, hard=600, negative=90, stale_if_error=3600)
    assert kept_seconds(RECORD_GHOST, policy) == 600
    assert kept_seconds(TIMELINE_GHOST, policy) == 600


def test_a_single_write_is_kept_for_a_minute() -> None:
    """Long enough to outlive every load that began before it, and no longer: alone it answers nothing."""
    policy = a_policy(soft=10, hard=600, negative=90, stale_if_error=3600)
    assert kept_seconds(Timeline(NEVER, NO_COVERAGE, "", 0, 0, {"1": FOUND}), policy) == 60
