"""A sidecar that is kept busy with a full L1 keeps its memory flat. tools/soak.py is the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from soak import MOST_GROWTH, soak

ENTRIES = int(os.environ.get("SOAK_ENTRIES", "20000"))
"""So few that the embedded store has all of its pages in memory after a third of a minute, on a slow machine
too: with three times as many its page cache was still filling at the end of it."""
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_flat_under_a_steady_load(tmp_path: Path) -> None:
    """Entries come and go, L1 holds what it has room for, and resident memory does not grow."""
    soaked = soak(ENTRIES, SECONDS, tmp_path, print)
    print(f"the event loop was {soaked.steady}")  # noqa: T201 (for -s and failures)
    assert soaked.rows_read > 0
    assert soaked.evictions > 0
    assert soaked.entries > 0.95 * ENTRIES
    assert soaked.growth < MOST_GROWTH
