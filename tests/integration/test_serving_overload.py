"""What L1 does when no more reads may leave it: hits, refreshes put off, stale answers where allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier_sidecar.errors import Overloaded
from pannier_sidecar.row import RowKey

NO_L2: dict[str, Any] = {"remote": "Disabled"}


@contextlib.asynccontextmanager
async def every_seat_taken(core: Core) -> AsyncIterator[None]:
    """Let one read hang in L3 and hold the only seat."""
    core.store.hold()
    loading = asyncio.create_task(core.row("clicks", "cold"))
    await core.store.reading.wait()
    try:
        yield
    finally:
        core.store.release()
        await loading
    assert core.admission.reads.usage().in_flight == 0


async def test_a_refresh_without_a_seat_is_put_off(tmp_path: Path) -> None:
    """Past soft the entry is served on; the first reader after the overload starts the refresh."""
    async with serving(tmp_path, a_group(soft=10, hard=60, **NO_L2), reads_in_flight=1) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(11)
        async with every_seat_taken(core):
            for _ in range(3):
                assert (await core.row("clicks", "a"))["source"] == "l1"
            assert [row_id for _, row_id, _ in core.store.reads] == ["cold"]
            assert dict(core.metrics.sheds.items()) == {("refresh",): 3}
        assert (await core.row("clicks", "a"))["age_seconds"] == 11
        await core.settle()
        assert (await core.row("clicks", "a"))["age_seconds"] == 0
        assert core.admission.reads.usage().in_flight == 0


async def test_a_read_without_a_seat_is_answered_stale_where_that_is_allowed_for_all_of_it(
    tmp_path: Path,
) -> None:
    """Within staleIfErrorSeconds it is served marked; one row that L1 does not hold refuses the request."""
    group = a_group(soft=10, hard=60, stale_if_error=100, **NO_L2)
    async with serving(tmp_path, group, reads_in_flight=1) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(61)
        async with every_seat_taken(core):
            row = await core.row("clicks", "a")
            assert (row["status"], row["stale"], row["features"]) == ("found", True, {"item": "x"})
            with pytest.raises(Overloaded):
                await core.read({"group": "clicks", "ids": ["a", "b"]})
            core.clock.advance(100)
            with pytest.raises(Overloaded):
                await core.row("clicks", "a")
        assert (await core.row("clicks", "a"))["source"] == "l3"


async def test_a_range_that_l1_does_not_cover_needs_a_seat(tmp_path: Path) -> None:
    """An older range of a held timeline is loaded from L3, so it is refused like any load."""
    timeline = a_group("views", timeline=True, soft=600, hard=900, max_limit=2, **NO_L2)
    async with serving(tmp_path, a_group(**NO_L2), timeline, reads_in_flight=1) as core:
        for second in range(40):
            await core.write("views", "a", timestamp=1_000 + second, features={"item": "x"})
        assert len((await core.row("views", "a"))["records"]) == 2
        async with every_seat_taken(core):
            assert len((await core.row("views", "a"))["records"]) == 2
            with pytest.raises(Overloaded):
                await core.row("views", "a", until=1_001)
        assert len((await core.row("views", "a", until=1_001))["records"]) == 2


async def test_one_read_holds_one_seat_for_loads_and_ranges(tmp_path: Path) -> None:
    """With a single seat a request that loads an id and a range of it still gets both."""
    timeline = a_group("views", timeline=True, soft=600, hard=900, max_limit=2, **NO_L2)
    async with serving(tmp_path, timeline, reads_in_flight=1) as core:
        for second in range(40):
            await core.write("views", "a", timestamp=1_000 + second, features={"item": "x"})
        core.l1.drop(RowKey(core.plan.groups["views"], "a"))
        row = await core.row("views", "a", until=1_001)
        assert [record["timestamp"] for record in row["records"]] == [1_001, 1_000]
        assert core.admission.reads.usage().in_flight == 0
