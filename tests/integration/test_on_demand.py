"""Groups that are computed: feature servers over real sockets, beside stored groups. No tier is touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.builders import a_group
from tests.integration.feature_server import (
    FeatureServer,
    a_computed_group,
    a_feature_server,
    never,
    scored,
)
from tests.integration.redis_commands import commands_of
from tests.integration.serving import Core, serving, until

from pannier.trace_context import enter_trace

CACHED: dict[str, Any] = {"local": "Enabled", "soft": 10, "hard": 60, "stale_if_error": 0}


def failing(_read: dict[str, Any]) -> list[dict[str, Any]]:
    """Not know any row."""
    raise RuntimeError("a bug of the server's author")


async def test_rows_are_computed_and_say_so(tmp_path: Path) -> None:
    """Found with its features, missing as the server says; both from `on_demand`."""

    def rows(read: dict[str, Any]) -> list[dict[str, Any]]:
        return [*scored({"ids": read["ids"][:1]}), {"id": read["ids"][1], "status": "missing"}]

    group = a_computed_group(features={"score": "Int64", "label": {"type": "String", "default": "none"}})
    async with (
        a_feature_server(rows) as server,
        serving(tmp_path, group, feature_servers=server.services) as core,
    ):
        (result,) = await core.read({"group": "score", "ids": ["abc", "x"]}, explain=True)
        found, missing = result["rows"]
        assert found["features"] == {"score": 3, "label": "none"}
        assert (found["defaulted"], found["source"]) == (["label"], "on_demand")
        assert (missing["status"], missing["source"]) == ("missing", "on_demand")
        counters = core.counters("score")
        assert (counters.on_demand, counters.missing, core.store.reads) == (1, 1, [])


async def test_one_call_answers_all_rows_of_a_server(tmp_path: Path) -> None:
    """Groups and ids of one request go together, each id once, by the hash of their schema."""
    groups = a_computed_group("score"), a_computed_group("other", features={"score": "Int64", "more": "Bool"})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, *groups, feature_servers=server.services) as core,
    ):
        results = await core.read(
            {"group": "score", "ids": ["a", "bb", "a"]},
            {"group": "other", "ids": ["ccc"], "features": ["score"]},
        )
        assert [row["features"]["score"] for result in results for row in result["rows"]] == [1, 2, 1, 3]
        assert len(server.headers) == 1
        assert server.asked == [
            {"group": "score", "schema_hash": "score-1", "ids": ["a", "bb"], "features": ["score"]},
            {"group": "other", "schema_hash": "other-1", "ids": ["ccc"], "features": ["score", "more"]},
        ]
        headers = server.headers[0]
        assert (headers["Pannier-Protocol"], headers["Pannier-Deadline-Ms"]) == ("1", "2000")


async def test_no_read_of_a_call_names_more_ids_than_the_protocol_allows(tmp_path: Path) -> None:
    """Several reads of one group make one call of several reads, not one read of them all."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        ids = [f"{number}" for number in range(2_500)]
        results = await core.read(
            *({"group": "score", "ids": ids[start : start + 1_000]} for start in range(0, 2_500, 1_000))
        )
        rows = [row for result in results for row in result["rows"]]
        assert [row["features"]["score"] for row in rows] == [len(row_id) for row_id in ids]
        assert [len(read["ids"]) for read in server.asked] == [1_000, 1_000, 500]
        assert len(server.headers) == 1


async def test_a_server_is_told_the_trace_of_the_request(tmp_path: Path) -> None:
    """W3C trace context goes on; the next request has none of it."""
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        enter_trace(trace)
        await core.row("score", "a")
        enter_trace({})
        await core.row("score", "b")
        assert [{name: h[name] for name in trace if name in h} for h in server.headers] == [trace, {}]


async def test_a_context_is_passed_on_and_its_answer_is_nobody_elses(tmp_path: Path) -> None:
    """Also where the group may be cached: neither served from L1 nor put there."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(**CACHED), feature_servers=server.services) as core,
    ):
        assert (await core.row("score", "ab"))["features"] == {"score": 2}
        for factor in (10, 20, 10):
            row = await core.row("score", "ab", context={"factor": factor})
            assert (row["features"], row["source"]) == ({"score": 2 * factor}, "on_demand")
        assert (await core.row("score", "ab"))["source"] == "l1"
        assert [read.get("context") for read in server.asked] == [
            None,
            {"factor": 10},
            {"factor": 20},
            {"factor": 10},
        ]
        both = await core.read(
            {"group": "score", "ids": ["ab"], "context": {"factor": 3}}, {"group": "score", "ids": ["ab"]}
        )
        assert [result["rows"][0]["features"]["score"] for result in both] == [6, 2]


async def test_a_context_for_a_stored_group_or_a_large_one_is_refused(tmp_path: Path) -> None:
    """In the place of that read; nothing is called."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), a_group(), feature_servers=server.services) as core,
    ):
        stored, large, fine = await core.read(
            {"group": "clicks", "ids": ["a"], "context": {}},
            {"group": "score", "ids": ["a"], "context": {"text": "x" * 20_000}},
            {"group": "score", "ids": ["a"], "context": {}},
        )
        assert stored["error"]["reason"] == "UnexpectedContext"
        assert large["error"]["reason"] == "ContextTooLarge"
        assert fine["rows"][0]["features"] == {"score": 1}
        assert len(server.asked) == 1


async def test_l1_holds_what_the_policy_allows(tmp_path: Path) -> None:
    """Fresh: no call. Soft: served, and computed anew behind it. Hard: computed. Negative: its own time."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(**CACHED), feature_servers=server.services) as core,
    ):
        for source, calls, passes in (("on_demand", 1, 9), ("l1", 1, 2), ("l1", 2, 0), ("l1", 2, 61)):
            assert (await core.row("score", "a"))["source"] == source
            await core.loads.settled()
            assert len(server.asked) == calls
            core.clock.advance(passes)
        assert (await core.row("score", "a"))["source"] == "on_demand"
        server.rows = lambda read: [{"id": row_id, "status": "missing"} for row_id in read["ids"]]
        assert [(await core.row("score", "b"))["source"] for _ in range(2)] == ["on_demand", "l1"]
        core.clock.advance(6)
        assert (await core.row("score", "b"))["source"] == "on_demand"


async def test_what_is_invalidated_is_computed_anew(tmp_path: Path) -> None:
    """Also while it is being computed: that answer goes to those who wait, and no further."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(**CACHED), feature_servers=server.services) as core,
    ):
        await core.row("score", "a")
        await core.writes.invalidate(core.plan, "score", ["a"])
        assert (await core.row("score", "a"))["source"] == "on_demand"
        core.clock.advance(61)
        held = asyncio.Event()

        async def late() -> Any:
            await held.wait()
            server.instead = None
            return await anew(server)

        server.instead = late
        waiting = asyncio.create_task(core.row("score", "a"))
        await until(lambda: len(server.asked) == 3)
        await core.writes.invalidate(core.plan, "score", ["a"])
        held.set()
        assert (await waiting)["source"] == "on_demand"
        assert (await core.row("score", "a"))["source"] == "on_demand"
        assert (await core.row("score", "a"))["source"] == "l1"


async def anew(server: FeatureServer) -> Any:
    """What the server would have answered to its last call."""
    from aiohttp import web  # noqa: PLC0415 (for this one answer)

    read = server.asked[-1]
    return web.json_response({"results": [{"group": read["group"], "rows": server.rows(read)}]})


async def test_a_failing_server_leaves_other_groups_alone(tmp_path: Path) -> None:
    """Stored, computed and failing in one request: each row has its own status."""
    bad = a_computed_group("bad", on_demand={"timeoutMilliseconds": 1_000})
    async with a_feature_server(scored) as server:

        def rows(read: dict[str, Any]) -> list[dict[str, Any]]:
            return failing(read) if read["group"] == "bad" else scored(read)

        server.rows = rows
        async with serving(
            tmp_path, a_group(), a_computed_group(), bad, feature_servers=server.services
        ) as core:
            await core.write("clicks", "a", features={"item": "x"})
            with capture_logs() as logs:
                results = await core.read(
                    *({"group": name, "ids": ["a"]} for name in ("clicks", "score", "bad"))
                )
            rows_of = [result["rows"][0] for result in results]
            assert [row["status"] for row in rows_of] == ["found", "found", "unknown"]
            assert rows_of[2]["reason"] == "TierUnavailable"
            assert "500" in rows_of[2]["message"]
            assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize("timeout_ms", [None, 30])
async def test_a_group_that_must_be_there_fails_the_request(tmp_path: Path, timeout_ms: int | None) -> None:
    """`onFailure: Fail`, also where the request's own budget ran out first."""
    group = a_computed_group(on_demand={"onFailure": "Fail", "timeoutMilliseconds": 200})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_group(), group, feature_servers=server.services) as core,
    ):
        reads = {"group": "clicks", "ids": ["a"]}, {"group": "score", "ids": ["a"]}
        assert (await core.ask(*reads)).status == 200
        server.instead = never
        answer = await core.ask(*reads, timeout_ms=timeout_ms)
        problem = json.loads(answer.body)
        assert (answer.status, problem["reason"]) == (503, "OnDemandFailed")
        assert problem["errors"][0]["path"] == "reads[1]"


async def test_stale_answers_stand_in_where_the_policy_says_so(tmp_path: Path) -> None:
    """Past the hard deadline, and marked."""
    group = a_computed_group(**(CACHED | {"stale_if_error": 300}))
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, group, feature_servers=server.services) as core,
    ):
        await core.row("score", "a")
        core.clock.advance(100)
        server.rows = failing
        row = await core.row("score", "a")
        assert (row["features"], row["stale"], row["source"]) == ({"score": 1}, True, "l1")
        assert (await core.row("score", "other"))["status"] == "unknown"


@pytest.mark.redis
async def test_nothing_of_it_reaches_redis_or_the_store_or_the_log(tmp_path: Path, redis_url: str) -> None:
    """No command names the group or its ids, though the same request makes Redis and L3 busy with others."""
    groups = a_group(), a_computed_group(**CACHED), a_computed_group("secret")
    async with commands_of(redis_url) as commands, a_feature_server(scored) as server:
        with capture_logs() as logs:
            async with serving(
                tmp_path, *groups, redis_url=redis_url, listen_url=redis_url, feature_servers=server.services
            ) as core:
                await ask_everything(core)
                await core.settle()
        await until(lambda: any("clicks" in command for command in commands))
    text = "\n".join(commands) + str(logs)
    for word in ("secret", "score", "whose"):
        assert word not in text, word
    assert {group for group, _, _ in core.store.reads} == {"clicks"}
    assert len(server.asked) >= 4


async def ask_everything(core: Core) -> None:
    """Read, fail to write and invalidate what is computed, next to what is stored."""
    await core.write("clicks", "a", features={"item": "x"})
    for _ in range(2):
        await core.read(
            *({"group": name, "ids": ["whose"]} for name in ("secret", "score")),
            {"group": "clicks", "ids": ["a", "b"]},
            {"group": "secret", "ids": ["whose"], "context": {"of": "whose"}},
        )
    verdict = await core.write("secret", "whose", features={"score": 1})
    assert verdict.verdict == "invalid"
    await core.writes.invalidate(core.plan, "score", ["whose"])
