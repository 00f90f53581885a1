"""The collector is asked to look rarely."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pannier_sidecar.garbage import ALLOCATIONS, spare_the_collector


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("thresholds")
def test_what_stays_to_the_end_is_not_looked_through_again() -> None:
    """Modules and clients that are there at the start are out of the collector's sight; it is still on."""
    spare_the_collector()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == ALLOCATIONS
    assert gc.isenabled()


@pytest.mark.usefixtures("thresholds")
def test_cycles_made_later_are_still_found() -> None:
    """Sparing the collector does not turn it off: a cycle made while serving is freed."""
    spare_the_collector()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
