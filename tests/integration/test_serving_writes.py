"""Writes, deletes and invalidations through the embedded store: verdicts, and what caches show afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier.catalog import CatalogGroup
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.row import Put, RowKey

NO_L2: dict[str, Any] = {"remote": "Disabled"}


def trips(**fields: Any) -> CatalogGroup:
    """A timeline."""
    return a_group("trips", timeline=True, **NO_L2, **fields)


def items(row: dict[str, Any]) -> list[Any]:
    """What the records shown hold."""
    return [record["features"]["item"] for record in row["records"]]


async def test_every_row_of_a_batch_gets_its_own_verdict_in_order(tmp_path: Path) -> None:
    """Bad rows stand beside good ones; older ones are ignored with their reason and the stamps echoed."""
    async with serving(tmp_path, a_group(**NO_L2), trips()) as core:
        await core.write("clicks", "a", features={"item": "x"}, event_time=5_000_000)
        results = await core.write_all(
            {"group": "clicks", "id": "a", "features": {"item": "old"}, "event_time": 4_000_000},
            {"group": "clicks", "id": "a", "features": {"count": "no"}},
            {"group": "nope", "id": "a", "features": {}},
            {"group": "clicks", "id": "a", "features": {"count": 2}, "event_time": 4_000_000},
            {"group": "trips", "id": "a", "timestamp": 9, "features": {"item": "t"}},
        )
        verdicts = [result.verdict for result in results]
        assert verdicts == ["ignored_older", "invalid", "invalid", "written", "written"]
        assert results[3].event_time == "1970-01-01T00:00:04.000000Z"
        assert results[4].timestamp == 9
        assert (await core.row("clicks", "a"))["features"] == {"item": "x", "count": 2}
        assert core.counters("clicks").writes == {"written": 2, "ignored_older": 1}


async def test_features_ignored_as_older_are_named(tmp_path: Path) -> None:
    """A late partial write says which features it did not change."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "new"}, event_time=9_000_000)
        result = await core.write("clicks", "a", features={"item": "old", "count": 1}, event_time=8_000_000)
        assert (result.verdict, result.ignored_features) == ("written", ("item",))
        assert (await core.row("clicks", "a"))["features"] == {"item": "new", "count": 1}


async def test_a_written_record_in_a_likely_wrong_unit_is_asked_about(tmp_path: Path) -> None:
    """Without retention nothing refuses it: it is stored as asked, and the answer asks."""
    async with serving(tmp_path, a_group("visits", timeline=True, unit="Milliseconds", **NO_L2)) as core:
        slip = await core.write("visits", "a", timestamp=1_700_000_000, features={"item": "x"})
        sound = await core.write("visits", "a", timestamp=1_700_000_000_000, features={"item": "x"})
        assert (slip.verdict, sound.verdict) == ("written", "written")
        assert slip.message == "1970-01-20 in Milliseconds; did you send Seconds?"
        assert not sound.message


async def test_a_write_is_read_back_from_l1_at_once(tmp_path: Path) -> None:
    """WriteThrough puts the state that L3 returned into own L1, whole, also after a partial write."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        await core.write("clicks", "a", features={"count": 2})
        row = await core.row("clicks", "a")
        assert (row["source"], row["features"]) == ("l1", {"item": "x", "count": 2})
        assert core.store.reads == []


async def test_a_write_of_a_missing_key_clears_its_negative_entry(tmp_path: Path) -> None:
    """Missing, written, found: no waiting for the negative TTL."""
    async with serving(tmp_path, a_group(**NO_L2), trips()) as core:
        for group in ("clicks", "trips"):
            assert (await core.row(group, "a"))["status"] == "missing"
        await core.write("clicks", "a", features={"item": "x"})
        await core.write("trips", "a", timestamp=1, features={"item": "x"})
        for group in ("clicks", "trips"):
            assert (await core.row(group, "a"))["status"] == "found"


async def test_a_late_record_of_a_held_timeline_is_merged_without_a_load(tmp_path: Path) -> None:
    """A record written into a held timeline shows in its place."""
    async with serving(tmp_path, trips()) as core:
        for tick in (10, 30):
            await core.write("trips", "a", timestamp=tick, features={"item": str(tick)})
        await core.row("trips", "a")
        asked = len(core.store.reads)
        await core.write("trips", "a", timestamp=20, features={"item": "20"})
        row = await core.row("trips", "a")
        assert (items(row), row["source"]) == (["30", "20", "10"], "l1")
        assert len(core.store.reads) == asked


@pytest.mark.parametrize("local", ["Enabled", "Disabled"])
@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
async def test_own_writes_are_read_whatever_the_policy_and_however_far_a_replica_lags(
    tmp_path: Path, local: Any, write_policy: Any
) -> None:
    """A load after a write reads L3 strongly, so a lagging replica cannot hide it."""
    async with serving(tmp_path, a_group(local=local, write_policy=write_policy, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "old"})
        plan = core.plan.groups["clicks"]
        (lagging,) = await core.store.read_records([RowKey(plan, "a")], strong=True, timeout_seconds=1)
        assert not isinstance(lagging, Exception)
        core.store.lagging["clicks", "a"] = lagging
        await core.write("clicks", "a", features={"item": "new"})
        assert (await core.row("clicks", "a"))["features"] == {"item": "new"}
        core.l1.segment(plan).clear()
        assert (await core.row("clicks", "a"))["features"] == {"item": "new"}


async def test_a_load_that_began_before_a_write_does_not_hide_it(tmp_path: Path) -> None:
    """A reader who comes after the write joins the older load and still sees the write."""
    for group in (a_group(write_policy="Invalidate", **NO_L2), trips(write_policy="Invalidate")):
        extra = {"timestamp": 5} if group.is_timeline else {}
        async with serving(tmp_path / group.group_name, group) as core:
            core.store.hold()
            early = asyncio.create_task(core.row(group.group_name, "a"))
            await core.store.reading.wait()
            await core.write(group.group_name, "a", features={"item": "x"}, **extra)
            late = asyncio.create_task(core.row(group.group_name, "a"))
            await asyncio.sleep(0)
            core.store.release()
            assert (await late)["status"] == "found"
            assert (await early)["status"] == "found"
            assert core.store.reads[-1] == (group.group_name, "a", True)


async def test_a_range_read_that_began_before_a_write_does_not_hide_it(tmp_path: Path) -> None:
    """The same for ranges that are read from L3 directly."""
    async with serving(tmp_path, trips(max_limit=2, write_policy="Invalidate")) as core:
        for tick in range(40):
            await core.write("trips", "a", timestamp=1_000 + tick, features={"item": str(tick)})
        await core.row("trips", "a")
        core.store.hold()
        early = asyncio.create_task(core.row("trips", "a", since=1_001, until=1_002))
        await core.store.reading.wait()
        await core.write("trips", "a", timestamp=1_001, features={"item": "new"})
        core.store.release()
        assert items(await early) == ["2", "new"]


async def test_a_deleted_record_is_missing_and_older_writes_do_not_bring_it_back(tmp_path: Path) -> None:
    """A tombstone stands on every tier; what is newer than it is a new life."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        result = await core.writes.delete(core.plan, "clicks", "a")
        assert result.verdict == "written"
        assert (await core.row("clicks", "a"))["status"] == "missing"
        late = await core.write("clicks", "a", features={"item": "late"}, event_time=1)
        assert late.verdict == "ignored_deleted"
        core.clock.advance(1)
        await core.write("clicks", "a", features={"count": 1})
        assert (await core.row("clicks", "a"))["features"] == {"count": 1}


async def test_one_instant_is_deleted_with_all_its_ties_or_one_of_them(tmp_path: Path) -> None:
    """Without a tie-breaker all records of the instant go, with one only that."""
    async with serving(tmp_path, trips(tie_breaker="item")) as core:
        for tick, item in ((1, "a"), (2, "a"), (2, "b"), (2, "c"), (3, "a")):
            await core.write("trips", "x", timestamp=tick, features={"item": item})
        await core.row("trips", "x")
        result = await core.writes.delete(core.plan, "trips", "x", timestamp="2", tie_breaker="b")
        assert (result.verdict, result.timestamp) == ("written", 2)
        assert items(await core.row("trips", "x")) == ["a", "c", "a", "a"]
        await core.writes.delete(core.plan, "trips", "x", timestamp="2")
        assert items(await core.row("trips", "x")) == ["a", "a"]
        core.l1.segment(core.plan.groups["trips"]).clear()
        assert items(await core.row("trips", "x")) == ["a", "a"]


async def test_an_erased_id_is_gone_at_once_and_nothing_late_brings_it_back(tmp_path: Path) -> None:
    """The fence is the delete, for caches and ranges too; a later event is a new life."""
    async with serving(tmp_path, trips(max_limit=3)) as core:
        now = core.clock.now_us() // 1_000_000
        for tick in range(30):
            await core.write("trips", "x", timestamp=now - 100 + tick, features={"item": str(tick)})
        await core.row("trips", "x")
        result = await core.writes.delete(core.plan, "trips", "x")
        assert result.verdict == "written"
        assert (await core.row("trips", "x"))["status"] == "missing"
        row = await core.row("trips", "x", since=now - 100, until=now - 95)
        assert row["status"] == "missing"
        for mode in ("replace", "force"):
            late = await core.write("trips", "x", timestamp=now - 50, features={"item": "late"}, mode=mode)
            assert late.verdict == "ignored_deleted"
        core.clock.advance(5)
        await core.write("trips", "x", timestamp=now + 5, features={"item": "new"})
        assert items(await core.row("trips", "x")) == ["new"]


async def test_rows_under_a_fence_are_removed_in_pages_and_once_more(tmp_path: Path) -> None:
    """Removal goes on behind the answer, and a second pass follows when its time has come."""
    async with serving(tmp_path, trips()) as core:
        for start in (1, 401, 801):
            await core.write_all(
                *(
                    {"group": "trips", "id": "x", "timestamp": start + tick, "features": {"item": "x"}}
                    for tick in range(400)
                )
            )
        await core.writes.delete(core.plan, "trips", "x")
        nap = await core.naps.get()
        assert core.store.erasures.qsize() == 2, "a second page took what the first had left"
        nap.set_result(None)
        for _ in range(3):
            assert await core.store.erasures.get() == "x"


async def test_an_unanswered_write_is_unknown_and_distrusts_the_cache(tmp_path: Path) -> None:
    """It may be stored: what L1 holds is not served on, and L3 is asked strongly once it is back."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.store.fail()
        assert (await core.write("clicks", "a", features={"item": "y"})).verdict == "unknown"
        assert (await core.row("clicks", "a"))["status"] == "unknown"
        core.store.recover()
        assert (await core.row("clicks", "a"))["features"] == {"item": "x"}
        assert core.store.reads[-1] == ("clicks", "a", True)


async def test_invalidate_shows_what_another_writer_did(tmp_path: Path) -> None:
    """A writer that bypasses Pannier says so; then its rows are served, and cached again after a while."""
    for group in (a_group(soft=500, hard=900, **NO_L2), trips(soft=500, hard=900)):
        name = group.group_name
        extra = {"timestamp": 5} if group.is_timeline else {}
        async with serving(tmp_path / name, group) as core:
            await core.write(name, "a", features={"item": "x"}, **extra)
            await core.row(name, "a")
            await written_behind(core, name, "y")
            shown = await core.row(name, "a")
            assert '"x"' in json.dumps(shown), "the cache does not know yet"
            assert await core.writes.invalidate(core.plan, name, ["a", "b", "a"]) == 2
            for _ in range(2):
                shown = await core.row(name, "a")
                assert '"y"' in json.dumps(shown)
                assert core.store.reads[-1] == (name, "a", True)
            core.clock.advance(61)
            await core.row(name, "a")
            assert (await core.row(name, "a"))["source"] == "l1"


async def written_behind(core: Core, group: str, item: str) -> None:
    """Write to the store without the write path."""
    plan = core.plan.groups[group]
    put = Put(
        plan=plan,
        id="a",
        sort_key="0000000005" if plan.is_timeline else "null",
        mode="force",
        values={0: json.dumps(item).encode()},
        event_time_us=core.clock.now_us() if not plan.is_timeline else 5_000_000,
        expires_at=None,
    )
    (outcome,) = await core.store.write([put], timeout_seconds=1, now_us=core.clock.now_us())
    assert outcome.verdict == "written"


@pytest.mark.parametrize(
    ("group", "row_id", "address", "reason"),
    [
        ("nope", "a", {}, "UnknownGroup"),
        ("clicks", "", {}, "InvalidId"),
        ("clicks", "a", {"timestamp": "1"}, "UnexpectedTimestamp"),
        ("trips", "a", {"tie_breaker": "x"}, "UnexpectedTieBreaker"),
        ("trips", "a", {"timestamp": "x"}, "InvalidTimestamp"),
        ("theirs", "a", {}, "AccessDenied"),
    ],
)
async def test_a_delete_that_names_nothing_is_refused(
    tmp_path: Path, group: str, row_id: str, address: dict[str, str], reason: str
) -> None:
    """The problem says what is wrong with the address."""
    groups = (a_group(**NO_L2), trips(), a_group("theirs", access="Read", **NO_L2))
    async with serving(tmp_path, *groups) as core:
        with pytest.raises(RequestRefused) as refused:
            await core.writes.delete(core.plan, group, row_id, **address)
        assert refused.value.reason == reason


async def test_a_delete_that_l3_does_not_answer_is_unknown(tmp_path: Path) -> None:
    """It may have happened, so nothing that is held is served on."""
    async with serving(tmp_path, trips()) as core:
        await core.write("trips", "a", timestamp=1, features={"item": "x"})
        await core.row("trips", "a")
        core.store.fail()
        assert (await core.writes.delete(core.plan, "trips", "a")).verdict == "unknown"
        assert (await core.row("trips", "a"))["status"] == "unknown"
