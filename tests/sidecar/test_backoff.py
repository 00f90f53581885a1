"""Pauses between tries: longer and longer, up to a bound, however long an outage lasts."""

from __future__ import annotations

import pytest

from pannier_sidecar.backoff import pause_seconds


def test_pauses_double_up_to_the_longest() -> None:
    """With half of each pause drawn."""
    pauses = [pause_seconds(failures, first=0.05, longest=1.0, draw=1.0) for failures in range(1, 7)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert pause_seconds(1, first=0.05, longest=1.0, draw=0.0) == pytest.approx(0.05)


@pytest.mark.parametrize("failures", [1_023, 1_024, 10_000_000])
def test_an_outage_of_days_still_gives_a_pause(failures: int) -> None:
    """Two to the power of 1,024 is no float: who counted on gave up for good after some minutes."""
    assert pause_seconds(failures, first=0.05, longest=2.0, draw=1.0) == 2.0
