"""Timeline records that are corrected, deleted and erased long after they were stored: caches follow.

A look at a timeline is sure to know every revision up to a minute before it began. What is written to an old
record after that look must therefore not hide below it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.every_store import KINDS, a_store_of
from tests.integration.serving import serving
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    NOW,
    SECOND,
    a_delete,
    a_put,
    a_timeline,
    at,
    written,
)

DAY_SECONDS = 86_400
LATER = NOW + DAY_SECONDS * SECOND
TRIPS: dict[str, Any] = {"timeline": True, "soft": 500, "hard": 900}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tie_breaker", [None, "count"])
async def test_revisions_of_a_timeline_never_stay_behind_the_clock(
    kind: str, tie_breaker: str | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Corrections, partial writes, deletes and fences alike; they rise also where the clock is behind."""
    plan = a_timeline(tie_breaker=tie_breaker)
    key = at(NOW // SECOND, 1 if tie_breaker else None)
    correction = a_put(plan, values={0: b'"b"', 1: b"1"}, sort_key=key)
    async with a_store_of(kind, request, tmp_path) as store:
        await store.create_tables([plan])
        first = await written(store, a_put(plan, values={0: b'"a"', 1: b"1"}, sort_key=key))
        again = await written(store, correction, now=LATER)
        behind = await written(store, correction, now=NOW)
        part = a_put(plan, values={0: b'"c"'}, sort_key=key, mode="merge")
        merged = await written(store, part, now=LATER + 10)
        forced = await written(store, a_put(plan, sort_key=key, mode="force"), now=LATER + 20)
        deleted = await written(store, a_delete(plan, sort_key=key), now=LATER + 30)
        revisions = [row.revision for row in (first, again, behind, merged, forced, deleted)]
        assert revisions == [NOW + 1, *(LATER + after for after in (1, 2, 11, 21, 31))]
        fences = [
            (await store.erase(plan, "1", timeout_seconds=BUDGET_SECONDS, now_us=now)).fence.revision
            for now in (NOW, LATER)
        ]
        assert fences == [NOW + 1, LATER + 1]


@pytest.mark.redis
@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
@pytest.mark.parametrize("remote", ["Enabled", "Disabled"])
async def test_an_old_record_that_is_corrected_or_deleted_is_not_served_as_it_was(
    tmp_path: Path, redis_url: str, write_policy: Any, remote: Any
) -> None:
    """Neither from L1 nor from L2, through the sidecar that wrote it."""
    group = a_group("trips", write_policy=write_policy, remote=remote, **TRIPS)
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        for timestamp in (1, 2):
            await core.write("trips", "a", timestamp=timestamp, features={"item": "old"})
        core.clock.advance(DAY_SECONDS)
        await core.row("trips", "a")
        await core.settle()
        await core.write("trips", "a", timestamp=1, features={"item": "new"})
        await core.writes.delete(core.plan, "trips", "a", timestamp="2")
        for _ in range(2):
            row = await core.row("trips", "a")
            assert row["records"] == [{"timestamp": 1, "features": {"item": "new"}}]
            await core.settle()
            core.l1.segment(core.plan.groups["trips"]).clear()


@pytest.mark.redis
async def test_an_id_that_is_erased_again_is_gone_from_every_tier(tmp_path: Path, redis_url: str) -> None:
    """The second delete finds the fence of the first standing, and hides what was written between them."""
    async with serving(tmp_path, a_group("trips", **TRIPS), redis_url=redis_url) as core:
        await core.write("trips", "a", timestamp=1, features={"item": "first"})
        await core.writes.delete(core.plan, "trips", "a")
        core.clock.advance(DAY_SECONDS)
        now_seconds = core.clock.now_us() // SECOND
        await core.write("trips", "a", timestamp=now_seconds, features={"item": "second"})
        core.clock.advance(100)
        assert '"second"' in json.dumps(await core.row("trips", "a"))
        await core.settle()
        await core.writes.delete(core.plan, "trips", "a")
        for _ in range(2):
            assert (await core.row("trips", "a"))["status"] == "missing"
            await core.settle()
            core.l1.segment(core.plan.groups["trips"]).clear()
