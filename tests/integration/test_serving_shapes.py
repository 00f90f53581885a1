"""What a read may ask, and what stands in its place when it may not: shapes, ranges, partial answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier.catalog import CatalogGroup

NO_L2: dict[str, Any] = {"remote": "Disabled"}


def trips(**fields: Any) -> CatalogGroup:
    """A timeline of at most four records per answer."""
    return a_group("trips", timeline=True, max_limit=4, default_limit=2, **NO_L2, **fields)


async def filled(core: Core, count: int, start: int = 1_000) -> None:
    """Write records with ticks from ``start`` and a count of their own."""
    for number in range(count):
        await core.write("trips", "a", timestamp=start + number, features={"item": "x", "count": number})


def ticks(row: dict[str, Any]) -> list[int]:
    """Timestamps of the records shown."""
    return [record["timestamp"] for record in row["records"]]


async def test_one_bad_read_does_not_take_the_others_down(tmp_path: Path) -> None:
    """A problem stands in the place of each read that cannot be answered."""
    async with serving(tmp_path, a_group(**NO_L2), trips()) as core:
        bad: list[tuple[dict[str, Any], str, str]] = [
            ({"group": "nope", "ids": ["a"]}, "UnknownGroup", "reads[0].group"),
            ({"group": "clicks", "ids": ["a"], "features": ["item", "no"]}, "UnknownFeature", "features[1]"),
            ({"group": "trips", "ids": ["a"], "limit": 5}, "LimitOutOfRange", "limit"),
            ({"group": "trips", "ids": ["a"], "limit": 0}, "LimitOutOfRange", "limit"),
            ({"group": "clicks", "ids": ["a"], "limit": 1}, "LimitNotAllowed", "limit"),
            ({"group": "trips", "ids": ["a"], "since": 9, "until": 8}, "ReversedRange", "since"),
            ({"group": "clicks", "ids": ["a"], "since": 9}, "RangeNotAllowed", "since"),
            ({"group": "trips", "ids": ["a"], "until": "soon"}, "InvalidTimestamp", "until"),
            ({"group": "clicks", "ids": []}, "NoIds", "ids"),
            ({"group": "clicks", "ids": ["a", ""]}, "InvalidId", "ids[1]"),
            ({"group": "clicks", "ids": ["é" * 129]}, "IdTooLong", "ids[0]"),
            ({"group": "clicks", "ids": ["a"], "max_age_seconds": -1}, "OutOfRange", "max_age_seconds"),
        ]
        results = await core.read(*(read for read, _, _ in bad), {"group": "clicks", "ids": ["a"]})
        for (read, reason, path), result in zip(bad, results[:-1], strict=True):
            assert result["group"] == read["group"]
            assert result["error"]["reason"] == reason
            assert path in result["error"]["errors"][0]["path"]
        assert results[-1]["rows"][0]["status"] == "missing"


@pytest.mark.parametrize(
    ("reads", "status"),
    [
        ([{"group": "no", "ids": ["a"]}], 404),
        ([{"group": "no", "ids": ["a"]}, {"group": "nor", "ids": ["a"]}], 404),
        ([{"group": "no", "ids": ["a"]}, {"group": "clicks", "ids": [""]}], 422),
        ([], 422),
        ([{"group": "clicks", "ids": ["a"]}] * 101, 422),
        ([{"group": "clicks", "ids": ["a"] * 1_000}] * 6, 422),
    ],
)
async def test_a_request_without_a_valid_read_is_refused_whole(
    tmp_path: Path, reads: list[dict[str, Any]], status: int
) -> None:
    """404 where only groups are unknown, 422 for whatever else, as problem documents."""
    async with serving(tmp_path, a_group(**NO_L2)) as core:
        answer = await core.ask(*reads)
        assert answer.status == status
        assert json.loads(answer.body)["status"] == status


async def test_a_range_inside_the_entry_is_a_hit_and_one_outside_asks_l3(tmp_path: Path) -> None:
    """Ranges are cut out of what L1 covers; older ones go to L3 and are not cached."""
    async with serving(tmp_path, trips()) as core:
        await filled(core, 30)
        await core.row("trips", "a")
        loaded = len(core.store.ranges)
        inside = await core.row("trips", "a", since=1_027, until=1_028, limit=4)
        assert (ticks(inside), inside["source"], "more" in inside) == ([1_028, 1_027], "l1", False)
        assert len(core.store.ranges) == loaded
        outside = await core.row("trips", "a", since=1_002, until=1_009, limit=3)
        assert (ticks(outside), outside["source"], outside["more"]) == ([1_009, 1_008, 1_007], "l3", True)
        again = await core.row("trips", "a", since=1_002, until=1_009, limit=3)
        assert again["source"] == "l3"


async def test_a_timeline_with_nothing_in_range_is_found_without_records(tmp_path: Path) -> None:
    """Existing and empty are told apart from missing, also where only L3 knows the range."""
    async with serving(tmp_path, trips()) as core:
        await filled(core, 30)
        row = await core.row("trips", "a", since=10, until=20)
        assert (row["status"], row["records"]) == ("found", [])
        assert (await core.row("trips", "none", since=10, until=20))["status"] == "missing"


@pytest.mark.parametrize(
    "bounds", [{"until": 20}, {"since": 0, "until": 20}, {"since": -5, "until": -1}, {"since": 10**20}]
)
async def test_a_range_that_is_open_below_and_holds_nothing_is_no_missing_timeline(
    tmp_path: Path, bounds: dict[str, int]
) -> None:
    """It reached the end of the rows, and still knows nothing of those above it."""
    async with serving(tmp_path, trips()) as core:
        await filled(core, 30)
        row = await core.row("trips", "a", **bounds)
        assert (row["status"], row["records"], row["source"]) == ("found", [], "l3")
        assert core.counters("trips").missing == 0
        assert (await core.row("trips", "none", **bounds))["status"] == "missing"


async def test_since_before_the_lookback_is_clamped_and_echoed(tmp_path: Path) -> None:
    """No read reaches behind maxLookbackSeconds, asked or not; a record that falls behind leaves the hit."""
    async with serving(tmp_path, trips(max_lookback=100, soft=500, hard=900)) as core:
        now = core.clock.now_us() // 1_000_000
        for age in (150, 90, 10):
            await core.write("trips", "a", timestamp=now - age, features={"item": "x"})
        (result,) = await core.read({"group": "trips", "ids": ["a"], "since": "-1d"})
        assert result["since"] == now - 100
        assert ticks(result["rows"][0]) == [now - 10, now - 90]
        assert ticks(await core.row("trips", "a")) == [now - 10, now - 90]
        (inside,) = await core.read({"group": "trips", "ids": ["a"], "since": now - 50})
        assert "since" not in inside
        core.clock.advance(20)
        assert ticks(await core.row("trips", "a")) == [now - 10]


async def test_defaults_are_served_and_named_and_missing_rows_get_none(tmp_path: Path) -> None:
    """A feature that a found row lacks is its default or left out; a stored null is null."""
    features: dict[str, Any] = {"a": "String", "b": {"type": "Int64", "default": 7}, "c": "String"}
    async with serving(tmp_path, a_group(features=features, **NO_L2)) as core:
        await core.write("clicks", "x", features={"a": None})
        row = await core.row("clicks", "x", explain=False)
        assert row == {"id": "x", "status": "found", "features": {"a": None, "b": 7}, "defaulted": ["b"]}
        row = await core.row("clicks", "x", explain=False, features=["b"])
        assert row == {"id": "x", "status": "found", "features": {"b": 7}, "defaulted": ["b"]}
        row = await core.row("clicks", "x", explain=False, features=["c"])
        assert row == {"id": "x", "status": "found", "features": {}}
        assert await core.row("clicks", "none", explain=False) == {"id": "none", "status": "missing"}


async def test_removed_features_are_not_served_and_deprecated_ones_are_counted(tmp_path: Path) -> None:
    """The state of a feature decides what a read may name."""
    old = {"type": "String", "state": "Deprecated"}
    group = a_group(features={"a": "String", "old": old}, schema_hash="1", **NO_L2)
    async with serving(tmp_path, group) as core:
        await core.write("clicks", "x", features={"a": "1", "old": "2"})
        for _ in range(2):
            await core.read({"group": "clicks", "ids": ["x"], "features": ["old"]})
        assert core.counters("clicks").deprecated == 2
        gone = {"type": "String", "state": "Removed"}
        core.deploy(a_group(features={"a": "String", "old": gone}, schema_hash="2", **NO_L2))
        assert (await core.row("clicks", "x"))["features"] == {"a": "1"}
        answer = await core.ask({"group": "clicks", "ids": ["x"], "features": ["old"]})
        assert (answer.status, json.loads(answer.body)["reason"]) == (422, "UnknownFeature")


async def test_rows_older_than_max_age_are_marked(tmp_path: Path) -> None:
    """Event time, not cache age, decides what is outdated."""
    async with serving(tmp_path, a_group(soft=500, hard=900, **NO_L2), trips()) as core:
        await core.write("clicks", "a", features={"item": "x"})
        now = core.clock.now_us() // 1_000_000
        await core.write("trips", "a", timestamp=now - 70, features={"item": "x"})
        core.clock.advance(61)
        assert (await core.row("clicks", "a", max_age_seconds=60))["outdated"] is True
        assert "outdated" not in await core.row("clicks", "a", max_age_seconds=62)
        assert (await core.row("trips", "a", max_age_seconds=120))["outdated"] is True
        assert "outdated" not in await core.row("trips", "none", max_age_seconds=0)
        assert core.counters("clicks").outdated == 1


async def test_int64_as_string_reaches_every_depth(tmp_path: Path) -> None:
    """Int64 values are quoted in scalars, lists, sets and maps; everything else stays."""
    features = {
        "n": "Int64",
        "f": "Float64",
        "l": "List<Int64>",
        "s": "Set<Int64>",
        "m": "Map<Int64>",
        "j": "Json",
    }
    group = a_group(features=features, **NO_L2)
    values = {"n": 2**63 - 1, "f": 1.0, "l": [1, None], "s": [2, 10], "m": {"k": -1}, "j": {"n": 1}}
    async with serving(tmp_path, group) as core:
        await core.write("clicks", "a", features=values)
        answer = await core.ask({"group": "clicks", "ids": ["a"]}, int64="string")
        row = json.loads(answer.body)["results"][0]["rows"][0]
        assert row["features"] == {
            "n": "9223372036854775807",
            "f": 1.0,
            "l": ["1", None],
            "s": ["2", "10"],
            "m": {"k": "-1"},
            "j": {"n": 1},
        }
        assert (await core.row("clicks", "a"))["features"] == values


async def test_explain_tells_source_age_event_time_and_timings(tmp_path: Path) -> None:
    """The notes of a row and the stages of a request are there when asked for, and only then."""
    async with serving(tmp_path, a_group(soft=500, hard=900, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"}, event_time="2020-01-01T00:00:00Z")
        core.clock.advance(1.5)
        answer = await core.ask({"group": "clicks", "ids": ["a"]}, explain=True)
        (row,) = json.loads(answer.body)["results"][0]["rows"]
        assert (row["source"], row["age_seconds"]) == ("l1", 1.5)
        assert row["event_time"] == "2020-01-01T00:00:00.000000Z"
        assert "total;dur=" in answer.timings
        plain = await core.ask({"group": "clicks", "ids": ["a"]})
        assert b"source" not in plain.body
        assert plain.timings == ""


async def test_an_edited_ttl_applies_to_what_is_cached(tmp_path: Path) -> None:
    """Entries made under another policy are judged by the new one, without being loaded again."""
    async with serving(tmp_path, a_group(soft=500, hard=900, **NO_L2)) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(30)
        core.deploy(a_group(soft=10, hard=60, generation=2, schema_hash="clicks-1", **NO_L2))
        assert (await core.row("clicks", "a"))["source"] == "l1"
        await core.settle()
        assert core.counters("clicks").refresh_soft == 1
        core.deploy(a_group(soft=1, hard=2, generation=3, schema_hash="clicks-1", **NO_L2))
        core.clock.advance(3)
        assert (await core.row("clicks", "a"))["source"] == "l3"
        core.deploy(a_group(local="Disabled", generation=4, schema_hash="clicks-1", **NO_L2))
        assert (await core.row("clicks", "a"))["source"] == "l3"


async def test_an_edited_limit_shows_at_once(tmp_path: Path) -> None:
    """The default answer is put together again under a new default limit, from what is held."""
    async with serving(tmp_path, trips(schema_hash="t", soft=500, hard=900)) as core:
        await filled(core, 4)
        await core.row("trips", "a")
        asked = len(core.store.reads)
        core.deploy(
            a_group(
                "trips",
                timeline=True,
                max_limit=4,
                default_limit=3,
                schema_hash="t",
                soft=500,
                hard=900,
                **NO_L2,
            )
        )
        assert ticks(await core.row("trips", "a")) == [1_003, 1_002, 1_001]
        assert len(core.store.reads) == asked


async def test_another_schema_is_a_miss(tmp_path: Path) -> None:
    """Bytes rendered under other names or defaults are never spliced."""
    async with serving(tmp_path, a_group(features={"a": "String"}, schema_hash="1", **NO_L2)) as core:
        await core.write("clicks", "x", features={"a": "1"})
        renamed = a_group(
            features={"a": "String", "b": {"type": "String", "default": "new"}}, schema_hash="2", **NO_L2
        )
        core.deploy(renamed)
        row = await core.row("clicks", "x")
        assert (row["source"], row["features"]) == ("l3", {"a": "1", "b": "new"})


async def test_a_group_of_the_same_name_elsewhere_is_a_miss(tmp_path: Path) -> None:
    """A group that moved to another namespace or table has other rows, whatever its schema."""
    async with serving(tmp_path, a_group(schema_hash="1", **NO_L2)) as core:
        await core.write("clicks", "x", features={"item": "shop"})
        core.deploy(a_group(schema_hash="1", namespace="depot", table="pannier.depot.clicks", **NO_L2))
        await core.store.create_tables(list(core.plan.groups.values()))
        assert (await core.row("clicks", "x"))["status"] == "missing"
