"""Servers of the kit as processes, and a sidecar that asks them: the example on flights, a slow one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.kit_server import ROOT, KitServer
from tests.servers import HOST
from tests.sidecars import RECORDS, Client, a_sidecar

SPECS = ROOT / "examples" / "flights_on_demand"
OK, NOT_FOUND, TOO_LARGE, UNAVAILABLE = 200, 404, 413, 503
NOON = 1_372_680_000
"""The first of July 2013, in epoch seconds."""
SLOW = """
import asyncio
import msgspec
from pannier_ondemand import FeatureServer

server = FeatureServer()


class Distance(msgspec.Struct):
    miles: float


@server.computes("airport_distance")
async def slow(pair: str) -> Distance:
    await asyncio.sleep(float(pair))
    return Distance(1.0)
"""


@pytest.fixture(scope="module")
def flights() -> Iterator[KitServer]:
    """The example's server."""
    server = KitServer("examples.flights_on_demand.server:server", SPECS)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[KitServer]:
    """A server whose function takes as many seconds as the id says, one call at a time."""
    (tmp_path / "slow_features.py").write_text(SLOW)
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "group.yaml").write_text((SPECS / "airport-distance.yaml").read_text())
    flags = ("--max-in-flight=1", "--drain-seconds=5")
    server = KitServer("slow_features:server", specs, *flags, path=tmp_path)
    try:
        yield server.start()
    finally:
        server.close()


@contextlib.asynccontextmanager
async def a_sidecar_of(server: KitServer, directory: Path) -> AsyncIterator[Client]:
    """One that serves the computed groups beside a stored one."""
    computed = [yaml.safe_load(file.read_text()) for file in sorted(SPECS.glob("*.yaml"))]
    where = f"flight-features.flights={HOST}:{server.port}"
    async with a_sidecar(directory, RECORDS, *computed, on_demand_at=where) as sidecar:
        yield sidecar


async def test_stored_and_computed_features_come_in_one_answer(flights: KitServer, tmp_path: Path) -> None:
    """Real distances and real flights beside a row of a table; what cannot be computed is missing."""
    async with a_sidecar_of(flights, tmp_path) as sidecar:
        await sidecar.write({"group": "user_facts", "id": "u1", "features": {"city": "Seoul"}})
        answer = await sidecar.read(
            {"group": "user_facts", "ids": ["u1"]},
            {"group": "airport_distance", "ids": ["JFK|LAX", "JFK|nowhere"]},
            {"group": "seconds_since_last_flight", "ids": ["N328AA"], "context": {"now": NOON}},
        )
        assert answer.status == OK, answer.body
        stored, distances, since = (result["rows"] for result in answer.json["results"])
        assert stored[0]["features"]["city"] == "Seoul"
        assert distances[0]["features"]["miles"] == pytest.approx(2475, rel=0.005)
        assert distances[1]["status"] == "missing"
        assert 0 < since[0]["features"]["seconds"] < 14 * 86_400


async def test_a_read_without_its_context_fails_alone(flights: KitServer, tmp_path: Path) -> None:
    """Its rows are unknown, with the author's reason; the other group of the same call is answered."""
    async with a_sidecar_of(flights, tmp_path) as sidecar:
        answer = await sidecar.read(
            {"group": "seconds_since_last_flight", "ids": ["N328AA"]},
            {"group": "airport_distance", "ids": ["JFK|LAX"]},
        )
        since, distances = (result["rows"] for result in answer.json["results"])
        assert since[0]["status"] == "unknown"
        assert distances[0]["status"] == "found"


def test_it_tells_of_itself(flights: KitServer) -> None:
    """Alive, ready, counted and documented; another address or too much is a problem document."""
    for path in ("/livez", "/readyz", "/openapi.json"):
        assert flights.ask("GET", path)[0] == OK
    flights.compute("airport_distance", "none", "JFK|LAX")
    assert b'reason="SchemaMismatch"' in flights.ask("GET", "/metrics")[2]
    status, headers, body = flights.ask("GET", "/elsewhere")
    assert (status, headers["Content-Type"]) == (NOT_FOUND, "application/problem+json")
    assert json.loads(body)["reason"] == "UnknownRoute"
    assert flights.ask("POST", "/v1/features", b" " * (8 * 1024 * 1024 + 1))[0] == TOO_LARGE


async def test_more_calls_than_it_takes_are_refused_and_a_stop_ends_those_under_way(slow: KitServer) -> None:
    """503 with Retry-After at once; on SIGTERM the call under way is answered before the process ends."""
    document = json.loads(slow.ask("GET", "/openapi.json")[2])
    assert document["openapi"].startswith("3.1")
    schema_hash = schema_of_distances()
    under_way = asyncio.create_task(asyncio.to_thread(slow.compute, "airport_distance", schema_hash, "1.5"))
    await asyncio.to_thread(slow.wait_until, lambda: b"in_flight 1.0" in slow.ask("GET", "/metrics")[2])
    status, refused, _ = await asyncio.to_thread(slow.compute, "airport_distance", schema_hash, "0")
    assert (status, refused["Retry-After"]) == (UNAVAILABLE, "1")
    os.kill(slow.pid, signal.SIGTERM)
    status, _, answer = await under_way
    assert (status, answer["results"][0]["rows"][0]["status"]) == (OK, "found")
    assert "Traceback" not in slow.output


def schema_of_distances() -> str:
    """The hash that the catalog has of the example's group."""
    from pannier_ondemand.spec_files import groups_of  # noqa: PLC0415 - as an author would look it up

    return groups_of(SPECS)["airport_distance"].schema_hash


def test_functions_that_do_not_fit_do_not_start(tmp_path: Path) -> None:
    """Every misfit by reason and sentence, on one screen."""
    (tmp_path / "wrong.py").write_text(SLOW.replace("miles: float", "miles: str"))
    server = KitServer("wrong:server", SPECS, path=tmp_path)
    with pytest.raises(Exception, match="FeatureTypeMismatch"):
        server.start()
    server.close()
