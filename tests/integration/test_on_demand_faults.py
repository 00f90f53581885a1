"""Feature servers that fail, one way at a time: the row is unknown for a reason that says what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.builders import a_group
from tests.certificates import Authority
from tests.integration.feature_server import (
    FeatureServer,
    a_computed_group,
    a_feature_server,
    never,
    scored,
)
from tests.integration.serving import Core, serving, until
from tests.servers import HOST, free_port

from pannier.option_values import Address
from pannier_sidecar.circuit import FIRST_PAUSE_US, TIMEOUTS_TO_OPEN
from pannier_sidecar.on_demand.server_client import MAX_ANSWER_BYTES

Instead = Callable[[], Awaitable[web.StreamResponse]]


def answering(body: Any, status: int = 200, **more: Any) -> Instead:
    """Answer this; text and bytes as they are, all else as JSON."""

    async def answer() -> web.StreamResponse:
        if isinstance(body, str | bytes):
            return web.Response(body=body, status=status, **{"content_type": "application/json", **more})
        return web.json_response(body, status=status, **more)

    return answer


async def too_much() -> web.StreamResponse:
    """Answer more than anyone reads."""
    body = io.BytesIO(b"x" * (MAX_ANSWER_BYTES + 1))
    return web.Response(body=body, content_type="application/json")


def rows(*given: dict[str, Any], **more: Any) -> Instead:
    """Answer these rows."""
    return answering({"results": [{"group": "score", "rows": list(given), **more}]})


def row(**fields: Any) -> dict[str, Any]:
    """Make the row that is asked for, but for these fields."""
    return {"id": "a", "status": "found", "features": {"score": 1}, **fields}


@pytest.mark.parametrize(
    ("instead", "reason", "says"),
    [
        pytest.param(answering("<html>"), "TierGarbled", "none of the protocol", id="no JSON"),
        pytest.param(answering(b"\xff\xfe"), "TierGarbled", "none of the protocol", id="no text"),
        pytest.param(answering("{}"), "TierGarbled", "none of the protocol", id="no results"),
        pytest.param(
            answering('{"results":[],"more":' + "[" * 100_000 + "]" * 100_000 + "}"),
            "TierGarbled",
            "none of the protocol",
            id="nested beyond measure",
        ),
        pytest.param(answering({"results": []}), "TierGarbled", "0 reads", id="too few results"),
        pytest.param(
            answering(json.dumps({"results": []}), content_type="text/html"),
            "TierGarbled",
            "text/html",
            id="html",
        ),
        pytest.param(
            answering({"results": [{"group": "other", "rows": []}]}),
            "TierGarbled",
            "'other'",
            id="wrong group",
        ),
        pytest.param(rows(), "TierGarbled", "left this id out", id="id left out"),
        pytest.param(rows(row(), row()), "TierGarbled", "twice", id="id twice"),
        pytest.param(rows(row(), row(id="b")), "TierGarbled", "not asked", id="id not asked"),
        pytest.param(rows(row(status="there")), "TierGarbled", "status", id="no such status"),
        pytest.param(rows(row(features={"score": "1"})), "TierGarbled", "score", id="wrong type"),
        pytest.param(rows(row(features={"score": 2**63})), "TierGarbled", "score", id="out of range"),
        pytest.param(rows(row(features={"rank": 1})), "TierGarbled", "'rank'", id="no such feature"),
        pytest.param(
            rows(row(status="unknown", reason="NoModel", message="is loading")),
            "TierUnavailable",
            "NoModel",
            id="said",
        ),
        pytest.param(
            rows(error={"reason": "SchemaMismatch", "detail": "has x-2"}),
            "TierMisconfigured",
            "x-2",
            id="schema",
        ),
        pytest.param(rows(error={"reason": "Busy"}), "TierUnavailable", "Busy", id="error of a read"),
        pytest.param(answering("no", 500), "TierUnavailable", "500", id="500"),
        pytest.param(
            answering({"reason": "UnknownGroup", "detail": "no score"}, 404),
            "TierMisconfigured",
            "no score",
            id="404",
        ),
        pytest.param(
            answering("", 302, headers={"Location": "/v1/features"}), "TierMisconfigured", "302", id="302"
        ),
        pytest.param(
            answering(gzip.compress(b" " * 1_000_000), headers={"Content-Encoding": "gzip"}),
            "TierGarbled",
            "'gzip'",
            id="compressed",
        ),
        pytest.param(
            answering(gzip.compress(b"{}"), 503, headers={"Content-Encoding": "gzip"}),
            "TierUnavailable",
            "503",
            id="compressed 503",
        ),
        pytest.param(too_much, "TierGarbled", "longer than", id="too much"),
        pytest.param(never, "TierTimeout", "within 0.3 s", id="too late"),
    ],
)
async def test_a_bad_answer_makes_the_row_unknown(
    tmp_path: Path, instead: Instead, reason: str, says: str
) -> None:
    """For a reason, and never missing; stored groups of the request are answered."""
    group = a_computed_group(on_demand={"timeoutMilliseconds": 300})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, group, a_group(), feature_servers=server.services) as core,
    ):
        server.instead = instead
        stored, computed = await core.read(
            {"group": "clicks", "ids": ["a"]}, {"group": "score", "ids": ["a"]}
        )
        assert stored["rows"][0]["status"] == "missing"
        (answer,) = computed["rows"]
        assert (answer["status"], answer["reason"]) == ("unknown", reason)
        assert says in answer["message"]
        assert core.metrics.last_errors["on_demand"] == reason


async def test_one_bad_row_leaves_the_others_alone(tmp_path: Path) -> None:
    """Values are judged row by row."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        server.instead = rows(row(features={"score": "x"}), row(id="b", features={"score": None}))
        (result,) = await core.read({"group": "score", "ids": ["a", "b"]})
        assert [answer["status"] for answer in result["rows"]] == ["unknown", "found"]
        assert result["rows"][1]["features"] == {"score": None}


async def test_a_server_that_is_not_there_is_unknown_at_once(tmp_path: Path) -> None:
    """After the one retry that is paid for."""
    nowhere = {"scores.shop": Address("127.0.0.1", free_port())}
    async with serving(tmp_path, a_computed_group(), feature_servers=nowhere) as core:
        answer = await core.row("score", "a")
        assert (answer["status"], answer["reason"]) == ("unknown", "TierUnavailable")
        assert "shop/scores:80 cannot be reached" in answer["message"]


async def test_a_hiccup_is_tried_again(tmp_path: Path) -> None:
    """One 500 of one pod is no answer to the app."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        await fails_once(server)
        assert (await core.row("score", "a"))["status"] == "found"
        assert len(server.asked) == 2
        assert circuit(core) == "closed"


async def fails_once(server: FeatureServer) -> None:
    """Answer 500 to the next call only."""

    async def once() -> web.StreamResponse:
        server.instead = None
        return web.Response(status=500)

    server.instead = once


async def test_the_circuit_opens_and_closes_again(tmp_path: Path) -> None:
    """After failures in a row nobody calls for a while; then one call is tried, and what it finds counts."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        server.instead = answering("no JSON")
        for _ in range(TIMEOUTS_TO_OPEN):
            assert (await core.row("score", "a"))["reason"] == "TierGarbled"
        assert circuit(core) == "open"
        answer = await core.row("score", "a")
        assert (answer["reason"], len(server.asked)) == ("TierUnavailable", TIMEOUTS_TO_OPEN)
        assert "not asked" in answer["message"]
        server.instead = None
        core.clock.advance(FIRST_PAUSE_US / 1_000_000)
        assert (await core.row("score", "a"))["status"] == "found"
        assert circuit(core) == "closed"


async def test_a_wrong_schema_is_no_outage(tmp_path: Path) -> None:
    """The server is there, and says so every time: nothing gets better by not asking."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        server.instead = answering({"reason": "SchemaMismatch", "detail": "has x-2"}, 409)
        for _ in range(5):
            assert (await core.row("score", "a"))["reason"] == "TierMisconfigured"
        assert (len(server.asked), circuit(core)) == (5, "closed")


async def test_what_is_over_max_concurrency_fails_at_once(tmp_path: Path) -> None:
    """It does not wait, and says nothing of the server."""
    group = a_computed_group(on_demand={"maxConcurrency": 2, "timeoutMilliseconds": 10_000})
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, group, feature_servers=server.services) as core,
    ):
        may_answer = asyncio.Event()

        async def held() -> web.StreamResponse:
            await may_answer.wait()
            return web.Response(status=500)

        server.instead = held
        waiting = [asyncio.create_task(core.row("score", row_id)) for row_id in ("a", "b")]
        await until(lambda: len(server.asked) == 2)
        assert (await core.row("score", "c"))["reason"] == "TierOverloaded"
        assert len(server.asked) == 2
        server.instead = None
        may_answer.set()
        assert [(await answer)["status"] for answer in waiting] == ["found", "found"]


async def test_readers_of_one_row_share_a_call(tmp_path: Path) -> None:
    """However many they are; one that gives up takes nothing from the others."""
    async with (
        a_feature_server(scored) as server,
        serving(tmp_path, a_computed_group(), feature_servers=server.services) as core,
    ):
        may_answer = asyncio.Event()

        async def held() -> web.StreamResponse:
            await may_answer.wait()
            return await rows(row())()

        server.instead = held
        waiting = [asyncio.create_task(core.row("score", "a")) for _ in range(20)]
        await until(lambda: bool(server.asked))
        waiting.pop(0).cancel()
        may_answer.set()
        assert {(await answer)["status"] for answer in waiting} == {"found"}
        assert len(server.asked) == 1


@pytest.mark.parametrize(("name", "status"), [("scores.shop.svc", "found"), ("other.shop.svc", "unknown")])
async def test_https_trusts_the_given_authority_and_the_services_name(
    tmp_path: Path, name: str, status: str
) -> None:
    """Whoever has the Service's name in a certificate of that authority, and nobody else."""
    authority = Authority()
    pair = authority.server(HOST, name)
    for file, text in (("ca", authority.certificate), ("crt", pair.certificate), ("key", pair.key)):
        (tmp_path / file).write_text(text)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    group = a_computed_group(on_demand={"scheme": "HTTPS"})
    async with (
        a_feature_server(scored, tls) as server,
        serving(tmp_path, group, feature_servers=server.services, on_demand_ca=tmp_path / "ca") as core,
    ):
        assert (await core.row("score", "a"))["status"] == status


def circuit(core: Core) -> str:
    """The state that metrics show."""
    return core.metrics.circuits["on_demand shop/scores:80"]
