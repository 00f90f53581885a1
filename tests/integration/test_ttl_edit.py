"""An edited TTL, from kubectl to what is cached already in every sidecar: scenario 5."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control_plane import ApiServer
from tests.integration.live_catalogs import FeedingOperator, PodSidecar, running_in_pods
from tests.integration.operator_cluster import Cluster, a_cluster
from tests.servers import HOST

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
LONG = {"softTTLSeconds": 3_600, "hardTTLSeconds": 7_200}
SHORT = {"softTTLSeconds": 1, "hardTTLSeconds": 2}
HOT = {"profile": "Hot", "remote": {"state": "Disabled"}}
PODS = ("a", "b")


class AskedSidecar(PodSidecar):
    """One that is asked for a row."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the data port."""
        request = urllib.request.Request(
            f"http://{HOST}:{self.data}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def age(self) -> float:
        """How long ago the store said what is answered for the row."""
        asked = {"reads": [{"group": "user_facts", "ids": ["u1"]}], "explain": True}
        (row,) = self.call("POST", "/v1/features/read", asked)["results"][0]["rows"]
        assert (row["status"], row["features"]["visits"]) == ("found", 7)
        return float(row["age_seconds"])


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[FeedingOperator]:
    """An operator that sidecars can ask."""
    with FeedingOperator(tmp_path) as made:
        yield made


async def test_what_is_cached_already_obeys_a_shorter_ttl_in_every_sidecar(
    cluster: Cluster, operator: FeedingOperator, tmp_path: Path
) -> None:
    """Cached for hours before, loaded anew seconds after; the table's own TTL was set once and stays."""

    def make(folder: Path, token: str) -> AskedSidecar:
        return AskedSidecar(folder, operator, token, dynamodb_url=cluster.proxy.url)

    async with operator.running(cluster), running_in_pods(cluster, make, tmp_path, *PODS) as running:
        name = await cluster.apply({"retention": {"seconds": 86_400}, "cache": {**HOT, "local": LONG}})
        await cluster.ready(name)
        await cluster.told(name, "Served", "Served")
        put = {"features": {"visits": 7}}
        await asyncio.to_thread(running[0].call, "PUT", "/v1/groups/user_facts/rows/u1", put)

        async def ages() -> list[float]:
            return [await asyncio.to_thread(one.age) for one in running]

        async def are_old() -> bool:
            return min(await ages()) > 2 * SHORT["hardTTLSeconds"]

        async def are_young() -> bool:
            return max(await ages()) <= SHORT["hardTTLSeconds"]

        await cluster.until(are_old)
        await cluster.edit(name, {"cache": {"local": SHORT}})
        await cluster.told(name, "Served", "Served")
        for one in running:
            assert one.soft_ttl("user_facts") == SHORT["softTTLSeconds"]
        await cluster.until(are_young)
        assert cluster.proxy.calls["UpdateTimeToLive"] == 1
