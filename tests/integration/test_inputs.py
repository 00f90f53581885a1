"""Computed groups with inputs: rows of other groups are read first and passed to the feature server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.builders import a_catalog, a_group
from tests.integration.feature_server import a_computed_group, a_feature_server, never, scored
from tests.integration.serving import serving

from pannier.catalog import CatalogGroup
from pannier_sidecar.api.read_requests import MAX_ROWS
from pannier_sidecar.errors import TierThrottled
from pannier_sidecar.input_reads import rows_fault


def computed(name: str, *inputs: dict[str, Any], **on_demand: Any) -> CatalogGroup:
    """Make a computed group with inputs."""
    declared = [{"features": ["item"], **one} for one in inputs]
    return a_computed_group(name, on_demand={"inputs": declared, **on_demand})


PAIR = computed(
    "pair",
    {"name": "left", "group": "clicks", "idFrom": "IdPart", "part": 0},
    {"name": "right", "group": "clicks", "idFrom": "IdPart", "part": 1},
)


async def test_inputs_are_passed_along_and_the_answer_is_held_nowhere(tmp_path: Path) -> None:
    """Rows aligned with the ids, found or missing; from L1 the second time, and computed all the same."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), PAIR, feature_servers=server.services) as core,
    ):
        await core.write("clicks", "a", features={"item": "x", "count": 1})
        for _ in range(2):
            stored, result = await core.read(
                {"group": "clicks", "ids": ["a"]}, {"group": "pair", "ids": ["a:b", "b:a"]}
            )
            assert [row["status"] for row in result["rows"]] == ["found", "found"]
            assert stored["rows"][0]["features"] == {"item": "x", "count": 1}
        found, missing = (
            {"id": "a", "status": "found", "features": {"item": "x"}},
            {"id": "b", "status": "missing"},
        )
        assert [read["inputs"] for read in server.asked] == [
            {"left": [found, missing], "right": [missing, found]}
        ] * 2
        assert {group for group, _, _ in core.store.reads} <= {"clicks"}


async def test_an_unknown_input_makes_its_rows_unknown_and_no_others(tmp_path: Path) -> None:
    """The throttled group's rows are not asked of the server; those of L1 are, and other groups."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), PAIR, a_computed_group("free"), feature_servers=server.services) as core,
    ):
        await core.write("clicks", "a", features={"item": "x"})
        core.store.error = TierThrottled("l3", "slow down")
        pair, free = await core.read(
            {"group": "pair", "ids": ["a:a", "a:cold"]}, {"group": "free", "ids": ["z"]}
        )
        good, bad = pair["rows"]
        assert (good["status"], bad["status"], bad["reason"]) == ("found", "unknown", "InputUnknown")
        assert "'right'" in bad["message"]
        assert "TierThrottled" in bad["message"]
        assert free["rows"][0]["status"] == "found"
        assert [read["ids"] for read in server.asked if read["group"] == "pair"] == [["a:a"]]


async def test_a_group_that_must_be_there_fails_with_its_input(tmp_path: Path) -> None:
    """`onFailure: Fail` holds for inputs as for the server itself."""
    group = computed("must", {"name": "x", "group": "clicks"}, onFailure="Fail")
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), group, feature_servers=server.services) as core,
    ):
        core.store.error = TierThrottled("l3", "slow down")
        answer = await core.ask({"group": "must", "ids": ["a"]})
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "OnDemandFailed")
        assert server.asked == []


async def test_ids_come_from_the_context_and_bad_ones_are_refused(tmp_path: Path) -> None:
    """In the place of that read; a number is an id as well."""
    asker = computed("near", {"name": "who", "group": "clicks", "idFrom": "Context", "contextKey": "user"})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), PAIR, asker, feature_servers=server.services) as core,
    ):
        near = {"group": "near", "ids": ["p", "q"]}
        fine, without, wrong, whole = await core.read(
            {**near, "context": {"user": 7}},
            near,
            {**near, "context": {"user": True}},
            {"group": "pair", "ids": ["a:b", "a"]},
        )
        assert fine["rows"][0]["status"] == "found"
        assert without["error"]["reason"] == wrong["error"]["reason"] == "InputContextMissing"
        assert whole["error"]["reason"] == "InputIdMissing"
        assert server.asked[0]["inputs"] == {"who": [{"id": "7", "status": "missing"}] * 2}


async def test_inputs_may_be_computed_and_timelines(tmp_path: Path) -> None:
    """Each is read first in its turn; of a timeline the newest records come along."""
    groups = (
        a_group("t", timeline=True),
        computed("low", {"name": "t", "group": "t", "limit": 1}),
        computed("high", {"name": "low", "group": "low", "features": ["score"]}),
    )
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, *groups, feature_servers=server.services) as core,
    ):
        for second in (1, 2):
            await core.write("t", "ab", timestamp=second, features={"item": f"x{second}"})
        assert (await core.row("high", "ab"))["features"] == {"score": 2}
        low, high = server.asked
        (row,) = low["inputs"]["t"]
        assert row["records"] == [{"timestamp": 2, "features": {"item": "x2"}}]
        assert high["inputs"] == {"low": [{"id": "ab", "status": "found", "features": {"score": 2}}]}


@pytest.mark.parametrize("timeout_ms", [100, 300])
async def test_a_slow_input_leaves_other_groups_their_time(tmp_path: Path, timeout_ms: int) -> None:
    """It is unknown within the request's time, and what needs no such input is answered."""
    groups = a_computed_group("slow"), computed("top", {"name": "x", "group": "slow", "features": ["score"]})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), *groups, feature_servers=server.services) as core,
    ):
        server.instead = never
        stored, top = await core.read(
            {"group": "clicks", "ids": ["a"]}, {"group": "top", "ids": ["a"]}, timeout_ms=timeout_ms
        )
        assert stored["rows"][0]["status"] == "missing"
        assert top["rows"][0]["reason"] == "InputUnknown"


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "a"}, "a -> a"),
        ({"a": "nobody"}, "'nobody' is no group"),
        ({"a": "b", "b": "c", "c": "d", "d": "clicks"}, "at most 3"),
    ],
)
async def test_a_catalog_whose_inputs_cannot_be_read_is_served(
    tmp_path: Path, inputs: dict[str, str], says: str
) -> None:
    """Rows are unknown for a reason, without a call and without end; other groups are as they were."""
    groups = [
        computed(name, {"name": "x", "group": used, "features": ["item" if used == "clicks" else "score"]})
        for name, used in inputs.items()
    ]
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), *groups, feature_servers=server.services) as core,
    ):
        stored, bad = await core.read({"group": "clicks", "ids": ["a"]}, {"group": "a", "ids": ["a"]})
        assert stored["rows"][0]["status"] == "missing"
        assert (bad["rows"][0]["status"], bad["rows"][0]["reason"]) == ("unknown", "TierMisconfigured")
        assert says in bad["rows"][0]["message"]
        assert server.asked == []


async def test_a_feature_that_is_removed_makes_rows_unknown(tmp_path: Path) -> None:
    """By a live edit of the input's group; never absent without a word."""
    group = computed("top", {"name": "x", "group": "clicks"})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), group, feature_servers=server.services) as core,
    ):
        assert (await core.row("top", "a"))["status"] == "found"
        clicks = a_group(generation=2)
        item = msgspec.structs.replace(clicks.features[0], state="Removed")
        clicks = msgspec.structs.replace(clicks, features=(item, *clicks.features[1:]))
        core.live.adopt(a_catalog(clicks, group))
        row = await core.row("top", "a")
        assert (row["status"], "was removed" in row["message"]) == ("unknown", True)


async def test_rows_of_inputs_count(tmp_path: Path) -> None:
    """A request is bounded by all the rows that it makes be read."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), PAIR, feature_servers=server.services) as core,
    ):
        reads = [{"group": "pair", "ids": [f"{n}:b{part}" for n in range(900)]} for part in range(2)]
        answer = await core.ask(*reads)
        problem = json.loads(answer.body)
        assert problem["reason"] == "TooManyRows"
        assert rows_fault([], core.plan) is None
        assert f"5400 rows, inputs counted; at most {MAX_ROWS}" in problem["errors"][0]["message"]
        assert server.asked == []
