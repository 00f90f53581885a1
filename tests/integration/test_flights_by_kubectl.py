"""docs/operations/kubectl.md, "Serve what was declared": its commands are run, and hold what they promise.

kubectl declares the flights, the operator makes tables and catalog, and sidecars that have the catalog
mounted serve it from the same DynamoDB emulator. Nothing passes from the operator to them but the ConfigMap
and the tables.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shlex
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from examples.flights import dataset
from examples.flights.load import Loader
from tests.consistency.fleet import SidecarServer
from tests.control_plane import ApiServer
from tests.integration.operator_cluster import a_cluster, an_operator
from tests.mounted_volume import Volume
from tests.servers import HOST, ROOT

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
PAGE = ROOT / "docs" / "operations" / "kubectl.md"
NAMESPACE = "flights"
NAMES = {path.stem for path in (ROOT / "examples" / "flights").glob("*.yaml")}


def commands() -> list[str]:
    """What the section has people type, block by block."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition("\n## Serve what was declared\n")
    return re.findall(r"^```sh\n(.*?)^```$", section.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


def curl(command: str, sidecar: SidecarServer) -> Any:
    """Do what a curl command would, at this sidecar; gives the decoded answer."""
    program, url, option, body = shlex.split(command)
    assert (program, option) == ("curl", "-d")
    host, path = re.fullmatch(r"http://(127\.0\.0\.1:8470)(/.*)", url).groups()  # type: ignore[union-attr]
    assert host
    connection = http.client.HTTPConnection(HOST, sidecar.port, timeout=30)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == http.client.OK, text
        return json.loads(text)
    finally:
        connection.close()


def sources(answer: Any) -> dict[str, str]:
    """Which tier each group's row came from; every row has to be found."""
    rows = {result["group"]: result["rows"][0] for result in answer["results"]}
    assert {row["status"] for row in rows.values()} == {"found"}, answer
    return {group: row["source"] for group, row in rows.items()}


async def declare(api: ApiServer, folder: Path, dynamodb_url: str) -> dict[str, str]:
    """Run the page's kubectl commands beside an operator; gives the files of the catalog."""
    declares, fetches, *_ = commands()
    (folder / "examples").symlink_to(ROOT / "examples")
    async with a_cluster(api, dynamodb_url, NAMESPACE) as cluster, an_operator(cluster):
        said = await asyncio.to_thread(api.shell, declares, folder)
        assert set(re.findall(r"/(\S+) created$", said, re.MULTILINE)) == NAMES
        assert set(re.findall(r"/(\S+) condition met$", said, re.MULTILINE)) == NAMES
        await asyncio.to_thread(api.shell, fetches, folder)
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/pannier-catalog"
        data: dict[str, str] = (await cluster.call("GET", path))["data"]
    assert {file.name: file.read_text() for file in (folder / "catalog").iterdir()} == data
    return data


async def load_some(sidecar: SidecarServer) -> int:
    """Load the first real rows of every part through the example's loader; gives how many."""
    rows = [
        write for part in dataset.parts(dataset.data_directory(), [2]) for write in islice(part.writes(), 20)
    ]
    some = dataset.Part("some rows", len(rows), lambda: iter(rows))
    async with aiohttp.ClientSession() as session:
        loader = Loader(session, sidecar.url)
        verdicts = await loader.load([some], None, lambda *_: None)
    assert {verdict for counted in verdicts.values() for verdict in counted} == {"written"}, loader.complaints
    assert {group.replace("_", "-") for group in verdicts} == NAMES
    return len(rows)


async def test_what_kubectl_declared_is_served(
    api_server: ApiServer, dynoxide_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Ready to kubectl means: a pod that mounts the catalog writes, and another one reads from every tier."""
    data = await declare(api_server, tmp_path, dynoxide_url)
    mount = tmp_path / "mount"
    mount.mkdir()
    Volume(mount).project(data)
    assert (mount / "..data").is_symlink()
    flags = {
        "catalog": str(mount),
        "store": "dynamodb",
        "dynamodb-endpoint-url": dynoxide_url,
        "redis-url": redis_url,
    }
    _, _, writes, reads = commands()
    one, other = (SidecarServer(flags, makes_tables=False) for _ in range(2))
    with one, other:  # the operator is gone: nobody needs it to serve
        assert await load_some(one) > 80
        answer = await asyncio.to_thread(curl, writes, one)
        assert [result["verdict"] for result in answer["results"]] == ["written"] * 3
        promised = {"recent_departures_of_airport": "l1", "plane_facts": "l2", "airport_profile": "l3"}
        async with asyncio.timeout(30):  # Redis is told behind the answers
            while sources(await asyncio.to_thread(curl, reads, one)) != promised:  # noqa: ASYNC110 - not our process
                await asyncio.sleep(0.05)
        first = await asyncio.to_thread(curl, reads, other)
        assert sources(first) == {**promised, "recent_departures_of_airport": "l2"}
        second = await asyncio.to_thread(curl, reads, other)
        assert sources(second) == promised
        assert values(first) == values(second) == values(await asyncio.to_thread(curl, reads, one))
        newest = first["results"][0]["rows"][0]["records"][0]["features"]
        assert (newest["flight"], newest["destination"]) == ("B61103", "SJU")


def values(answer: Any) -> list[Any]:
    """What was stored, without where it came from."""
    rows = (row for result in answer["results"] for row in result["rows"])
    return [row.get("records") or row["features"] for row in rows]
