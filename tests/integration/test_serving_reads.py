"""Reads through L1 and the embedded store: what is answered, how often L3 is asked, what its faults do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import serving

from pannier_sidecar.hot_rows import SAMPLE

NO_L2: dict[str, Any] = {"remote": "Disabled"}


async def test_rows_are_answered_in_the_order_asked_with_duplicates_and_loaded_once(tmp_path: Path) -> None:
    """A duplicate id is answered twice and read from L3 once; missing is said by L3."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x", "count": 1})
        core.l1.segment(core.plan.groups["clicks"]).clear()
        (result,) = await core.read({"group": "clicks", "ids": ["b", "a", "b", "a"]})
        assert [row["id"] for row in result["rows"]] == ["b", "a", "b", "a"]
        assert [row["status"] for row in result["rows"]] == ["missing", "found", "missing", "found"]
        assert sorted(row_id for _, row_id, _ in core.store.reads) == ["a", "b"]


async def test_the_hot_path_answers_the_same_bytes_as_the_long_way(tmp_path: Path) -> None:
    """Whole-hit requests, also with a subset and negatives, are spliced and equal the slow answer."""
    groups = (a_group(**NO_L2), a_group("trips", timeline=True, max_limit=5, default_limit=2, **NO_L2))
    async with serving(tmp_path, *groups) as core:
        await core.write("clicks", "a", features={"item": "x", "count": 1})
        for tick in range(4):
            await core.write("trips", "a", timestamp=tick, features={"item": "é", "count": tick})
        reads = (
            {"group": "clicks", "ids": ["a", "none"]},
            {"group": "trips", "ids": ["a", "none"]},
            {"group": "trips", "ids": ["a"], "features": ["count"], "limit": 3},
        )
        slow = await core.ask(*reads)
        before = len(core.store.reads)
        hot = await core.ask(*reads)
        assert hot.body == slow.body
        assert len(core.store.reads) == before
        assert core.counters("trips").l1 == 2  # one found row of each trips read, on the hot path
        trips = json.loads(hot.body)["results"][1]["rows"][0]
        assert [record["timestamp"] for record in trips["records"]] == [3, 2]
        assert trips["more"] is True


async def test_a_thousand_readers_of_one_cold_key_are_one_read_of_l3(tmp_path: Path) -> None:
    """Concurrent misses of one key share a single load, and nothing stays in flight."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        core.store.hold()
        readers = [asyncio.create_task(core.row("clicks", "cold")) for _ in range(1_000)]
        await core.store.reading.wait()
        core.store.release()
        rows = await asyncio.gather(*readers)
        assert {row["status"] for row in rows} == {"missing"}
        assert core.store.reads == [("clicks", "cold", False)]
        assert repr(core.loader).startswith("<Loader <SingleFlight 0 keys")


async def test_a_load_survives_the_reader_who_caused_it(tmp_path: Path) -> None:
    """When the first reader is cancelled the others still get the row, and L1 is filled."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.l1.segment(core.plan.groups["clicks"]).clear()
        core.store.hold()
        leader = asyncio.create_task(core.row("clicks", "a"))
        await core.store.reading.wait()
        follower = asyncio.create_task(core.row("clicks", "a"))
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        core.store.release()
        assert (await follower)["features"] == {"item": "x"}
        assert (await core.row("clicks", "a"))["source"] == "l1"
        assert len(core.store.reads) == 1


async def test_keys_of_one_request_load_in_one_batch_and_join_what_is_in_the_air(tmp_path: Path) -> None:
    """A request starts one batch for its new keys and waits for the keys that others load."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        core.store.hold()
        first = asyncio.create_task(core.read({"group": "clicks", "ids": ["a"]}))
        await core.store.reading.wait()
        core.store.reading.clear()
        second = asyncio.create_task(core.read({"group": "clicks", "ids": ["a", "b", "c"]}))
        await core.store.reading.wait()
        core.store.release()
        await asyncio.gather(first, second)
        assert [row_id for _, row_id, _ in core.store.reads] == ["a", "b", "c"]


async def test_what_is_not_back_in_time_is_unknown_and_fills_the_cache_later(tmp_path: Path) -> None:
    """A spent budget answers unknown, never missing, and the load goes on."""
    async with serving(tmp_path, a_group(**NO_L2), a_group("other", **NO_L2)) as core:
        await core.write("other", "warm", features={"item": "w"})
        core.store.hold()
        results = await core.read(
            {"group": "clicks", "ids": ["slow"]}, {"group": "other", "ids": ["warm"]}, timeout_ms=1
        )
        assert results[0]["rows"][0]["status"] == "unknown"
        assert results[0]["rows"][0]["reason"] == "TierTimeout"
        assert results[1]["rows"][0]["status"] == "found"
        assert core.counters("clicks").unknown == 1
        core.store.release()
        await core.settle()
        assert (await core.row("clicks", "slow"))["source"] == "l1"


async def test_a_key_that_l3_could_not_answer_is_unknown_and_not_remembered_as_missing(
    tmp_path: Path,
) -> None:
    """An outage never creates a negative entry: the next read asks L3 again and finds the row."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        core.store.fail()
        row = await core.row("clicks", "a")
        assert (row["status"], row["reason"]) == ("unknown", "TierUnavailable")
        core.store.recover()
        await core.write("clicks", "a", features={"item": "x"})
        assert (await core.row("clicks", "a"))["status"] == "found"


async def test_rows_that_wait_ready_follow_writes_deadlines_and_catalogs(tmp_path: Path) -> None:
    """The quickest way to answer shows nothing that the others would not."""
    group = a_group(soft=10, hard=60, schema_hash="1", **NO_L2)
    async with serving(tmp_path, group) as core:

        async def shown(feature: str = "item") -> Any:
            for _ in range(3):
                (result,) = await core.read({"group": "clicks", "ids": ["a"], "features": [feature]})
                (plain,) = await core.read({"group": "clicks", "ids": ["a"]})
            assert result["rows"][0]["features"].items() <= plain["rows"][0]["features"].items()
            return result["rows"][0]["features"].get(feature)

        await core.write("clicks", "a", features={"item": "x", "count": 1})
        assert await shown() == "x"
        await core.write("clicks", "a", features={"item": "y"})
        assert await shown() == "y"
        assert await shown("count") == 1
        core.clock.advance(9.5)
        assert await shown() == "y"
        assert core.counters("clicks").refresh_soft == 0
        core.clock.advance(0.5)
        assert await shown() == "y"
        await core.settle()
        assert core.counters("clicks").refresh_soft == 1
        await shown()
        core.store.fail()
        core.clock.advance(-20)  # wall clocks step back
        assert await shown() == "y"
        core.clock.advance(100)
        assert (await core.row("clicks", "a", explain=False))["stale"] is True
        core.store.recover()
        core.clock.advance(2)
        await shown()
        core.deploy(a_group(soft=10, hard=60, local="Disabled", schema_hash="1", **NO_L2))
        asked = len(core.store.reads)
        await shown()
        assert len(core.store.reads) > asked


async def test_hot_reads_are_sampled_into_the_entry(tmp_path: Path) -> None:
    """A sampled read counts for those that are not, so that eviction and early refresh know what is hot."""
    async with serving(tmp_path, a_group(**NO_L2), dice=0.0) as core:
        await core.write("clicks", "a", features={"item": "x"})
        for _ in range(5):
            await core.read({"group": "clicks", "ids": ["a"]})
        assert core.l1.segment(core.plan.groups["clicks"]).entries["a"].reads == 5 * SAMPLE


async def test_a_disabled_l1_is_neither_read_nor_filled(tmp_path: Path) -> None:
    """Every read goes below."""
    async with serving(tmp_path, a_group(local="Disabled", **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        for _ in range(2):
            assert (await core.row("clicks", "a"))["source"] == "l3"
        assert core.l1.bytes == 0
