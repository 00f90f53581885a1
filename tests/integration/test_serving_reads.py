"""Reads through L1 and the embedded store: what is answered, how often L3 is asked, what its faults do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import serving

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


async def test_a_soft_entry_is_served_and_refreshed_once_in_the_background(tmp_path: Path) -> None:
    """Past soft the reader does not wait; one load renews the entry however many readers come."""
    async with serving(tmp_path, a_group(soft=10, hard=60, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(11)
        core.store.hold()
        for _ in range(5):
            row = await core.row("clicks", "a")
            assert (row["source"], row["features"]) == ("l1", {"item": "x"})
        await core.store.reading.wait()
        core.store.release()
        await core.settle()
        assert len(core.store.reads) == 1
        assert core.counters("clicks").refresh_soft == 1
        assert (await core.row("clicks", "a"))["age_seconds"] == 0


async def test_past_hard_the_reader_waits_for_l3(tmp_path: Path) -> None:
    """A value past its hard deadline is not served while L3 answers."""
    group = a_group(soft=10, hard=60, **NO_L2)
    async with serving(tmp_path, group) as core:
        await core.write("clicks", "a", features={"item": "old"})
        key_row = await core.row("clicks", "a")
        assert key_row["source"] == "l1"
        core.clock.advance(60)
        assert (await core.row("clicks", "a"))["source"] == "l3"


async def test_stale_is_served_marked_within_its_allowance_and_then_no_more(tmp_path: Path) -> None:
    """While L3 is down a found row is served past hard, marked; beyond staleIfErrorSeconds it is unknown."""
    async with serving(tmp_path, a_group(soft=10, hard=60, stale_if_error=100, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.store.fail()
        core.clock.advance(61)
        row = await core.row("clicks", "a")
        assert (row["status"], row["stale"], row["features"]) == ("found", True, {"item": "x"})
        asked = len(core.store.reads)
        assert (await core.row("clicks", "a"))["stale"] is True
        assert len(core.store.reads) == asked, "a failed load keeps the next one away for a moment"
        core.clock.advance(100)
        assert (await core.row("clicks", "a"))["status"] == "unknown"
        assert core.counters("clicks").stale == 2


async def test_stale_serving_ends_when_l3_is_back(tmp_path: Path) -> None:
    """A second after the failure L3 is asked again."""
    async with serving(tmp_path, a_group(soft=10, hard=60, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(61)
        core.store.fail()
        assert (await core.row("clicks", "a"))["stale"] is True
        core.store.recover()
        core.clock.advance(1)
        row = await core.row("clicks", "a")
        assert row["source"] == "l3"
        assert "stale" not in row


async def test_a_negative_entry_is_served_for_its_own_ttl(tmp_path: Path) -> None:
    """Missing is cached for the negative TTL, counted as negative, then asked again."""
    async with serving(tmp_path, a_group(soft=10, hard=60, negative=5, **NO_L2)) as core:
        assert (await core.row("clicks", "a"))["source"] == "l3"
        assert (await core.row("clicks", "a"))["source"] == "l1"
        core.clock.advance(5)
        assert (await core.row("clicks", "a"))["source"] == "l3"
        counters = core.counters("clicks")
        assert (counters.missing, counters.negative, counters.l3_missing) == (2, 1, 2)


async def test_an_expired_row_is_not_served_from_a_cache(tmp_path: Path) -> None:
    """Deadlines never pass the row's own end, also when the cache entry would live on."""
    async with serving(tmp_path, a_group(retention=60, soft=500, hard=1_000, negative=1, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        assert (await core.row("clicks", "a"))["status"] == "found"
        core.clock.advance(61)
        assert (await core.row("clicks", "a"))["status"] == "missing"
        core.store.fail()
        core.clock.advance(2_000)
        assert (await core.row("clicks", "a"))["status"] == "unknown"


async def test_a_cached_timeline_is_sliced_again_when_a_record_expires(tmp_path: Path) -> None:
    """The rest of a timeline stays a hit when its oldest record reaches its end."""
    group = a_group(
        "trips", timeline=True, retention=100, retention_basis="EventTime", soft=500, hard=1_000, **NO_L2
    )
    async with serving(tmp_path, group) as core:
        now = core.clock.now_us() // 1_000_000
        await core.write("trips", "a", timestamp=now - 90, features={"item": "old"})
        await core.write("trips", "a", timestamp=now - 10, features={"item": "new"})
        await core.row("trips", "a")
        core.clock.advance(20)
        row = await core.row("trips", "a")
        assert row["source"] == "l1"
        assert [record["features"]["item"] for record in row["records"]] == ["new"]


async def test_a_strong_group_always_asks_l3_strongly(tmp_path: Path) -> None:
    """Caches of a Strong group only serve stale answers while L3 is down."""
    async with serving(tmp_path, a_group(read_consistency="Strong", **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        for _ in range(2):
            assert (await core.row("clicks", "a"))["source"] == "l3"
        assert core.store.reads == [("clicks", "a", True)] * 2
        core.store.fail()
        row = await core.row("clicks", "a")
        assert (row["stale"], row["features"]) == (True, {"item": "x"})


async def test_an_on_demand_group_is_unknown_and_touches_no_tier(tmp_path: Path) -> None:
    """What nobody stores is neither found nor missing here."""
    group = a_group("live", storage_mode="None", local="Disabled", remote="Disabled")
    async with serving(tmp_path, group) as core:
        row = await core.row("live", "a")
        assert (row["status"], row["reason"]) == ("unknown", "OnDemandNotServed")
        assert core.store.reads == []


async def test_a_disabled_l1_is_neither_read_nor_filled(tmp_path: Path) -> None:
    """Every read goes below."""
    async with serving(tmp_path, a_group(local="Disabled", **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        for _ in range(2):
            assert (await core.row("clicks", "a"))["source"] == "l3"
        assert core.l1.bytes == 0
