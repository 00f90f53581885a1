"""What tests of the consistency observer share: two sidecars, reads that are sampled, what was counted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

OFTEN: dict[str, Any] = {
    "checks_per_million": 10_000,
    "soft": 100,
    "hard": 3_600,
    "write_policy": "WriteThrough",
}
"""One read in a hundred pays for a check, and L1 keeps what it holds."""
NO_L2: dict[str, Any] = {"remote": "Disabled"}
ROWS_OF_A_SAMPLE = 400
"""At that rate; a consistent sample gives three quarters of them back."""


async def read(core: Core, row_id: str = "a", group: str = "clicks", rows: int = ROWS_OF_A_SAMPLE) -> None:
    """Read an id so often that a sample is taken."""
    await core.ask({"group": group, "ids": [row_id] * rows})


async def pass_ages(core: Core) -> None:
    """Let a sample reach all its ages, with a check at each."""
    for seconds in (0, 0.1, 0.9, 9, 50):
        core.clock.advance(seconds)
        await core.observer.check_due()


def strong_reads(core: Core) -> int:
    """How often L3 was asked strongly, as loads of these groups never do without a write."""
    return sum(strong for _, _, strong in core.store.reads)


def checks(core: Core, group: str = "clicks") -> dict[tuple[str, str, str], int]:
    """What was counted."""
    return dict(core.counters(group).observed.checks)


@contextlib.asynccontextmanager
async def two_that_tell_each_other_nothing(directory: Path) -> AsyncIterator[tuple[Core, Core]]:
    """Open two sidecars over one store and without Redis; the dice sample every read."""
    clock = ManualClock()
    groups = a_group(**OFTEN, **NO_L2), a_group("trips", timeline=True, default_limit=3, **OFTEN, **NO_L2)
    async with (
        EmbeddedStore(directory, clock) as store,
        serving(directory, *groups, clock=clock, store=store, dice=0.0) as one,
        serving(directory, *groups, clock=clock, store=store, dice=0.0) as other,
    ):
        yield one, other
