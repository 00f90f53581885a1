"""How old an answer may be: soft and hard deadlines, stale-if-error, negatives, expiry, strong reads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier_sidecar.row import Put

NO_L2: dict[str, Any] = {"remote": "Disabled"}


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


async def test_a_strong_read_joins_no_load_that_began_before_it(tmp_path: Path) -> None:
    """What another client wrote before the read began is in it, whoever else is loading the key."""
    group = a_group("trips", timeline=True, max_limit=2, read_consistency="Strong", **NO_L2)
    async with serving(tmp_path, group) as core:
        core.store.hold()
        early = asyncio.create_task(core.row("trips", "a"))
        await core.store.reading.wait()
        await written_behind(core, "trips", "0000000005")
        late = asyncio.create_task(core.row("trips", "a"))
        await asyncio.sleep(0)
        core.store.release()
        assert (await early)["status"] == "missing"
        assert (await late)["status"] == "found"
        for tick in range(10, 50):
            await written_behind(core, "trips", f"{tick:010d}")
        core.store.hold()
        early = asyncio.create_task(core.row("trips", "a", since=3, until=6))
        await core.store.reading.wait()
        core.store.release()
        await written_behind(core, "trips", "0000000004")
        late = asyncio.create_task(core.row("trips", "a", since=3, until=6))
        assert [record["timestamp"] for record in (await late)["records"]] == [5, 4]
        await early


async def written_behind(core: Core, group: str, sort_key: str) -> None:
    """Write to the store as another sidecar would."""
    put = Put(
        plan=core.plan.groups[group],
        id="a",
        sort_key=sort_key,
        mode="replace",
        values={0: b'"x"'},
        event_time_us=int(sort_key) * 1_000_000,
        expires_at=None,
    )
    await core.store.write([put], timeout_seconds=1, now_us=core.clock.now_us())
