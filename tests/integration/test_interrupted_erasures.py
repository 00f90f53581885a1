"""A delete of a whole id whose rows were not all removed: they stay hidden however long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import a_group
from tests.integration.every_store import KINDS, a_store_of
from tests.integration.serving import serving
from tests.integration.store_calls import (
    NOW,
    SECOND,
    a_put,
    a_timeline,
    at,
    erase,
    live,
    page,
    write,
    written,
)

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

AFTER_SECONDS = 604_800 + 10
AFTER = NOW + AFTER_SECONDS * SECOND


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fence_has_no_end_before_the_last_row_under_it_is_gone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whoever died in between leaves hidden rows; whoever goes on gives the fence its end."""
    plan = a_timeline(tombstone_seconds=604_800)
    async with a_store_of(kind, request, tmp_path) as store:
        await store.create_tables([plan])
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(3)))
        first = await erase(store, plan, max_rows=1)
        assert (first.finished, first.fence.expires_at) == (False, None)
        assert live(await page(store, plan, now=AFTER)) == []
        last = await erase(store, plan, fence=first.fence, now_us=NOW + SECOND)
        assert (last.finished, last.fence.expires_at) == (True, NOW // SECOND + 1 + 604_800)
        shown = await page(store, plan, now=NOW)
        assert shown.fence == last.fence
        late = a_put(plan, values={1: b"2"}, sort_key=at(100), check_fence=True)
        await written(store, late, now=AFTER)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_removal_leaves_the_fence_of_a_later_delete_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It ends its own fence only."""
    plan = a_timeline()
    async with a_store_of(kind, request, tmp_path) as store:
        await store.create_tables([plan])
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(5)))
        first = await erase(store, plan, max_rows=1)
        second = await erase(store, plan, max_rows=1, now_us=NOW + SECOND)
        assert not second.finished
        await erase(store, plan, fence=first.fence, now_us=NOW + 2 * SECOND)
        assert (await page(store, plan)).fence == second.fence


async def test_rows_of_an_erased_id_do_not_come_back_when_the_sidecar_was_restarted_meanwhile(
    tmp_path: Path,
) -> None:
    """More rows than one page, a restart right after the answer, and a week."""
    clock, group = ManualClock(), a_group("trips", timeline=True)
    async with EmbeddedStore(tmp_path, clock) as store:
        async with serving(tmp_path, group, clock=clock, store=store) as core:
            for start in (0, 500, 1000):
                ticks = range(start, start + 500)
                await core.write_all(
                    *({"group": "trips", "id": "a", "timestamp": t, "features": {"count": t}} for t in ticks)
                )
            assert (await core.writes.delete(core.plan, "trips", "a")).verdict == "written"
        clock.advance(AFTER_SECONDS)
        async with serving(tmp_path, group, clock=clock, store=store) as core:
            assert (await core.row("trips", "a"))["status"] == "missing"
