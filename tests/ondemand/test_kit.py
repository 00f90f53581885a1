"""The server kit without sockets: what it refuses at start, and what it answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from examples.flights_on_demand.server import server as flights
from openapi_spec_validator import OpenAPIV31SpecValidator

from pannier.catalog_building import schema_hash
from pannier.errors import SpecInvalid
from pannier_ondemand import FeatureServer, Unknown, openapi, trace_headers
from pannier_ondemand.testing import TestClient

ROOT = Path(__file__).resolve().parents[2]


class Score(msgspec.Struct):
    score: float
    tags: list[str] = []


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A directory with one computed group."""
    return declare(
        tmp_path, [("score", {"type": "Float64"}), ("tags", {"type": "List", "elementType": "String"})]
    )


def declare(directory: Path, features: Sequence[tuple[str, Mapping[str, str]]]) -> Path:
    group = {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": "scores"},
        "spec": {
            "groupName": "scores",
            "key": {"entity": "user"},
            "features": [{"id": n, "name": name, **more} for n, (name, more) in enumerate(features)],
            "storage": {"mode": "None"},
            "onDemand": {"service": {"name": "scores", "port": 8080}},
        },
    }
    (directory / "scores.yaml").write_text(yaml.safe_dump(group))
    return directory


def reasons(server: FeatureServer, specs: Path) -> set[str]:
    with pytest.raises(SpecInvalid) as refused:
        TestClient(server, specs)
    return {problem.reason for problem in refused.value.problems}


def test_functions_that_do_not_fit_their_group_are_refused_at_start(specs: Path) -> None:
    """Every misfit has its reason: a wrong type, a feature too many, one too few, no such group."""
    server = FeatureServer()

    class Wrong(msgspec.Struct):
        score: int
        more: str

    server.computes("scores")(lambda_of(Wrong))
    assert reasons(server, specs) == {"FeatureTypeMismatch", "FeatureUndeclared", "FeatureNotReturned"}
    other = FeatureServer()
    other.computes("nobody")(lambda_of(Score))
    assert reasons(other, specs) == {"GroupUndeclared"}
    assert reasons(FeatureServer(), specs) == {"NothingToServe"}


def lambda_of(struct: type) -> Any:
    def compute(row_id: str) -> Any:
        return None

    compute.__annotations__ = {"row_id": str, "return": struct}
    return compute


async def test_rows_are_found_missing_or_unknown_each_by_itself(specs: Path) -> None:
    """None is missing; Unknown, a bug and a value that does not fit make their own row unknown."""
    server = FeatureServer()

    @server.computes("scores")
    def score(row_id: str) -> Score | None:
        if row_id == "late":
            raise Unknown("come again", reason="Later")
        if row_id == "bug":
            raise KeyError("secret")
        return None if row_id == "none" else Score(float("nan") if row_id == "nan" else len(row_id))

    with TestClient(server, specs) as client:
        rows = await client.rows("scores", ["ab", "none", "late", "bug", "nan"])
    assert rows["ab"] == {"id": "ab", "status": "found", "features": {"score": 2.0, "tags": []}}
    assert rows["none"]["status"] == "missing"
    assert [rows[name]["reason"] for name in ("late", "bug", "nan")] == [
        "Later",
        "ComputationFailed",
        "NotFinite",
    ]
    assert "secret" not in json.dumps(rows)


async def test_a_batch_is_one_call_and_an_id_left_out_is_unknown(specs: Path) -> None:
    """Never missing: nobody said so."""
    server, asked = FeatureServer(), []

    @server.computes("scores")
    async def scores(ids: Sequence[str]) -> Mapping[str, Score | None]:
        asked.append(list(ids))
        return {"a": Score(1.0), "b": None}

    with TestClient(server, specs) as client:
        rows = await client.rows("scores", ["a", "b", "c", "a"])
    assert asked == [["a", "b", "c"]]
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "found",
        "b": "missing",
        "c": "unknown",
    }


async def test_schemas_of_before_an_appended_feature_are_answered_and_others_refused(specs: Path) -> None:
    """A sidecar with the older catalog gets the features that it knows."""
    server = FeatureServer()

    @server.computes("scores")
    async def score(row_id: str) -> Score:
        return Score(1.0)

    with TestClient(server, specs) as client:
        older = schema_hash(client.groups["scores"].features[:1])
        reads = [{"group": "scores", "schema_hash": h, "ids": ["a"]} for h in (older, "0" * 64)]
        first, second, third = results(await client.call([*reads, {**reads[0], "group": "none"}]))
    assert first["rows"][0]["features"] == {"score": 1.0}
    assert second["error"]["reason"] == "SchemaMismatch"
    assert third["error"]["reason"] == "UnknownGroup"


def results(reply: Any) -> Any:
    return json.loads(reply.body)["results"]


async def test_work_past_the_deadline_is_cancelled_and_the_trace_goes_on(specs: Path) -> None:
    """An asynchronous function is cancelled; it saw the headers to send along."""
    server = FeatureServer()
    seen: list[Any] = []

    @server.computes("scores")
    async def score(row_id: str) -> Score:
        seen.append(dict(trace_headers()))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return Score(1.0)

    with TestClient(server, specs) as client:
        read = {"group": "scores", "schema_hash": client.groups["scores"].schema_hash, "ids": ["a"]}
        reply = await client.call([read], {"Pannier-Deadline-Ms": "20", "traceparent": "00-a-b-01"})
    assert results(reply)[0]["error"]["reason"] == "DeadlineExceeded"
    assert seen == [{"traceparent": "00-a-b-01"}, "cancelled"]


async def test_a_thread_stops_before_its_next_row_when_time_is_up(specs: Path) -> None:
    """A synchronous function is not called for rows that nobody waits for."""
    server, asked, go = FeatureServer(), [], threading.Event()

    @server.computes("scores")
    def score(row_id: str) -> Score:
        asked.append(row_id)
        go.wait(30)
        return Score(1.0)

    client = TestClient(server, specs, threads=1)
    read = {"group": "scores", "schema_hash": client.groups["scores"].schema_hash, "ids": ["a", "b"]}
    reply = await client.call([read], {"Pannier-Deadline-Ms": "50"})
    go.set()
    client.close(wait=True)
    assert results(reply)[0]["error"]["reason"] == "DeadlineExceeded"
    assert asked == ["a"]


async def test_beyond_its_calls_in_flight_a_server_says_when_to_come_again(specs: Path) -> None:
    """503 with Retry-After, at once; the others are answered."""
    server, go, begun = FeatureServer(), asyncio.Event(), asyncio.Event()

    @server.computes("scores")
    async def score(row_id: str) -> Score:
        begun.set()
        await go.wait()
        return Score(1.0)

    with TestClient(server, specs, max_in_flight=1) as client:
        first = asyncio.create_task(client.rows("scores", ["a"]))
        await begun.wait()
        reply = await client.call([])
        go.set()
        assert (reply.status, reply.retry_after_seconds) == (503, 1)
        assert (await first)["a"]["status"] == "found"


async def test_a_context_is_typed_and_refused_where_it_does_not_fit() -> None:
    """The flights: seconds since a real departure."""
    with TestClient(flights, ROOT / "examples/flights_on_demand", ROOT / "examples/flights") as client:
        rows = await client.rows("seconds_since_last_flight", ["N14228", "N0"], {"now": 1357035420 + 60})
        assert rows["N14228"]["features"] == {"seconds": 60}  # it left at 10:17 UTC on New Year's Day
        assert rows["N0"]["status"] == "missing"
        assert await client.rows("seconds_since_last_flight", []) == {}  # a handshake has no context
        for context, reason in ((None, "ContextMissing"), ({"now": "x"}, "ContextInvalid")):
            with pytest.raises(AssertionError, match=reason):
                await client.rows("seconds_since_last_flight", ["N14228"], context)


def test_the_openapi_document_is_valid_and_the_committed_one() -> None:
    """`make reference` mends what differs."""
    OpenAPIV31SpecValidator(json.loads(openapi.document_bytes())).validate()
    committed = ROOT / "docs/reference/on-demand-protocol.openapi.json"
    assert committed.read_text(encoding="utf-8") == openapi.reference_text()
