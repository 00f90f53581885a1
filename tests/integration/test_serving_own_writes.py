"""Own writes are read when what the caches say of the time before them looks newer, or came late."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import serving
from tests.servers import RedisServer

NO_L2: dict[str, Any] = {"remote": "Disabled"}
pytestmark = pytest.mark.redis


@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_own_writes_are_read_after_the_clock_stepped_back(
    tmp_path: Path, redis_url: str, write_policy: Any, timeline: Any
) -> None:
    """What was seen missing "in the future" does not hide what was written since, on any tier."""
    group = a_group(write_policy=write_policy, timeline=timeline, soft=500, hard=900, negative=500)
    extra = {"timestamp": 1} if timeline else {}
    async with serving(tmp_path, group, redis_url=redis_url) as core:
        assert (await core.row("clicks", "a"))["status"] == "missing"
        await core.settle()
        core.clock.advance(-300)
        await core.write("clicks", "a", features={"item": "x"}, **extra)
        for _ in range(3):
            assert '"item": "x"' in json.dumps(await core.row("clicks", "a"))
            await core.settle()
            core.l1.segment(core.plan.groups["clicks"]).clear()


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_a_load_that_lands_late_leaves_nothing_older_in_a_redis_that_forgot(
    tmp_path: Path, redis_server: RedisServer, timeline: Any
) -> None:
    """A write was confirmed, Redis lost it, and only then an older look arrives there."""
    group = a_group(timeline=timeline, soft=500, hard=900)
    extra = {"timestamp": 1} if timeline else {}
    async with serving(tmp_path, group, redis_url=redis_server.url) as core:
        await core.write("clicks", "a", features={"item": "old"}, **extra)
        await core.settle()
        redis_server.flush()
        core.l1.segment(core.plan.groups["clicks"]).clear()
        core.clock.advance(61)  # the write is remembered no more
        core.store.hold()
        request = {"group": "clicks", "ids": ["a"]}
        await core.read(request, timeout_ms=1)
        await core.store.reading.wait()
        await core.write("clicks", "a", features={"item": "new"}, **extra)
        assert core.writer is not None
        assert await core.writer.drain(5)
        redis_server.flush()
        core.store.release()
        await core.settle()
        core.clock.advance(61)
        core.l1.segment(core.plan.groups["clicks"]).clear()
        assert '"item": "new"' in json.dumps(await core.row("clicks", "a"))


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_a_strong_read_that_a_write_overtook_is_not_cached(tmp_path: Path, timeline: Any) -> None:
    """Who asked before the write may see the row before it; nobody does after the group became eventual."""
    strong, eventual = (
        a_group(timeline=timeline, schema_hash="1", soft=500, hard=900, read_consistency=consistency, **NO_L2)
        for consistency in ("Strong", "Eventual")
    )
    extra = {"timestamp": 1} if timeline else {}
    async with serving(tmp_path, strong) as core:
        await core.write("clicks", "a", features={"item": "old"}, **extra)
        core.store.hold()
        asked = asyncio.create_task(core.row("clicks", "a"))
        await core.store.reading.wait()
        await core.write("clicks", "a", features={"item": "new"}, **extra)
        core.store.release()
        assert (await asked)["status"] == "found"
        core.deploy(eventual)
        assert '"item": "new"' in json.dumps(await core.row("clicks", "a"))
