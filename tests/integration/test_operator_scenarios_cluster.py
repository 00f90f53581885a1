"""The cluster around an operator: refusals at apply, namespaces that go, an API server that comes and goes.

Numbers are those of the scenarios in the operator's checklist.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.control_plane import ApiServer
from tests.integration.operator_cluster import Cluster, OperatorProcess, a_cluster, an_operator
from tests.manifests import a_manifest
from tests.servers import Dynoxide, ServerFailed
from tests.tcp_proxy import TcpProxy

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
FEATURES = [{"id": 0, "name": "city", "type": "String"}, {"id": 1, "name": "visits", "type": "Int64"}]
DELETED = {
    "deletionPolicy": "Delete",
    "storage": {"mode": "Dedicated", "dedicated": {"deletionProtection": "Disabled"}},
}


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


async def kubectl_apply(cluster: Cluster, changes: dict[str, Any], *, timeline: bool = False) -> str:
    """What ``kubectl apply -f -`` says: of a refusal what is on its standard error."""
    manifest = a_manifest(changes, timeline=timeline)
    manifest["metadata"]["namespace"] = cluster.namespace
    try:
        return await asyncio.to_thread(
            cluster.api.kubectl, "apply", "--filename", "-", text=json.dumps(manifest)
        )
    except ServerFailed as refusal:
        return str(refusal)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an id left out", {"features": [FEATURES[0], {**FEATURES[1], "id": 2}]}, "count from 0 without gaps"),
    ("a name twice", {"features": [FEATURES[0], {**FEATURES[1], "name": "city"}]}, "names must be unique"),
    ("soft over hard", {"cache": {"local": {"softTTLSeconds": 9, "hardTTLSeconds": 5}}}, "softTTLSeconds"),
    (
        "Shared with Delete",
        {"storage": {"mode": "Shared", "tableName": "features-online"}, "deletionPolicy": "Delete"},
        "only a Dedicated table can be deleted",
    ),
    (
        "129 features",
        {"features": [{"id": n, "name": f"f{n}", "type": "Int64"} for n in range(129)]},
        "must have at most 128 items",
    ),
    ("a # in a name", {"groupName": "user#facts"}, "spec.groupName"),
]
REFUSED_EDITS: list[tuple[str, dict[str, Any], str]] = [
    (
        "renamed",
        {"features": [{**FEATURES[0], "name": "town"}, FEATURES[1]]},
        "name of a feature is immutable",
    ),
    ("another type", {"features": [FEATURES[0], {**FEATURES[1], "type": "Float64"}]}, "append a new feature"),
    ("a feature less", {"features": FEATURES[:1]}, "features are append-only"),
    ("another groupName", {"groupName": "people"}, "groupName is immutable"),
    ("another storage", {"storage": {"mode": "Shared", "tableName": "online"}}, "storage.mode is immutable"),
    ("a width later", {"key.sortKey.width": 17}, "sortKey.width is immutable"),
    ("a tie-breaker later", {"key.sortKey.tieBreaker": "visits"}, "sortKey.tieBreaker is immutable"),
    ("no sort key any more", {"key": {"entity": "user"}}, "sortKey is immutable"),
]


async def test_03_kubectl_refuses_what_is_wrong_while_no_operator_runs(cluster: Cluster) -> None:
    """Every refusal is a sentence that says what is wrong and what would be right."""
    for title, changes, sentence in REFUSED:
        said = await kubectl_apply(cluster, changes)
        assert "is invalid" in said, (title, said)
        assert sentence in said, (title, said)
    assert "created" in await kubectl_apply(cluster, {"features": FEATURES}, timeline=True)
    for title, changes, sentence in REFUSED_EDITS:
        said = await kubectl_apply(cluster, {"features": FEATURES, **changes}, timeline=True)
        assert "is invalid" in said, (title, said)
        assert sentence in said, (title, said)
    removed = [FEATURES[0], {**FEATURES[1], "state": "Removed"}]
    assert "configured" in await kubectl_apply(cluster, {"features": removed}, timeline=True)
    said = await kubectl_apply(cluster, {"features": FEATURES}, timeline=True)
    assert "a Removed feature cannot come back" in said


@pytest.mark.parametrize("started", ["before", "afterwards"])
async def test_11_a_namespace_with_groups_can_be_deleted(cluster: Cluster, started: str) -> None:
    """Nothing of Pannier's holds a namespace for ever, rows or none, whenever the operator comes."""
    async with contextlib.AsyncExitStack() as running:
        operator = await running.enter_async_context(an_operator(cluster))
        for name, policy in {"kept": {}, "deleted": DELETED}.items():
            await cluster.apply({"/metadata.name": name, "groupName": name, **policy})
            await cluster.ready(name)
        if started == "afterwards":
            operator.stop()
        deletion = asyncio.create_task(delete_namespace(cluster))
        if started == "afterwards":
            await only_the_finalizer_holds(cluster)
            await asyncio.to_thread(operator.start)
        await deletion
        assert cluster.proxy.calls["DeleteTable"] == 1
        assert cluster.proxy.calls["CreateTable"] == 2


async def only_the_finalizer_holds(cluster: Cluster) -> None:
    """Wait until only the group is left whose rows have to go first."""

    async def is_alone() -> bool:
        left = (await cluster.call("GET", cluster.path()))["items"]
        return [item["metadata"]["name"] for item in left] == ["deleted"]

    await cluster.until(is_alone)


async def delete_namespace(cluster: Cluster) -> None:
    """Delete a namespace, and do what the controller of namespaces does, which nothing else here does.

    It deletes all that is in it, again and again, and lets it go once nothing is left.
    """
    path = f"/api/v1/namespaces/{cluster.namespace}"
    contents = [cluster.path(), f"{path}/configmaps", f"{path}/events"]
    contents += [f"/apis/events.k8s.io/v1/namespaces/{cluster.namespace}/events"]
    await cluster.call("DELETE", path)

    async def is_empty() -> bool:
        for kind in contents:
            await cluster.call("DELETE", kind)
        return not any([(await cluster.call("GET", kind))["items"] for kind in contents])

    await cluster.until(is_empty)
    namespace = await cluster.call("GET", path)
    await cluster.call("PUT", f"{path}/finalize", {**namespace, "spec": {"finalizers": []}})
    assert not await cluster.exists(path)


async def test_15_connections_that_break_lose_no_edit(cluster: Cluster) -> None:
    """Cut and refused for a while, edited meanwhile: reconciled as soon as there is a way again."""
    async with TcpProxy("127.0.0.1", cluster.api.port) as way, behind(cluster, way):
        name = await cluster.apply()
        await cluster.ready(name)
        way.cut(refuse=True)
        await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 7}}})
        way.heal()
        await cluster.ready(name)
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 7


async def test_15_black_holed_an_operator_ends_and_its_successor_has_the_edit(cluster: Cluster) -> None:
    """Without the API server it cannot keep the Lease: it says so and ends, as whoever restarts it needs."""
    quick = {"lease_seconds": "6", "lease_renew_seconds": "4", "lease_retry_seconds": "1"}
    async with TcpProxy("127.0.0.1", cluster.api.port) as way, behind(cluster, way, **quick) as operator:
        name = await cluster.apply()
        await cluster.ready(name)
        way.blackhole()
        await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 7}}})

        async def has_ended() -> bool:
            return not await asyncio.to_thread(is_live, operator)

        await cluster.until(has_ended)
        way.heal()
        await asyncio.to_thread(operator.restart)
        await cluster.ready(name)
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 7


async def test_15_an_api_server_that_forgot_its_history_loses_no_edit(own_api_server: ApiServer) -> None:
    """Restarted, etcd compacted, so that the watch's revision is gone (410): it lists anew."""
    api = own_api_server
    with Dynoxide() as dynoxide:
        async with (
            a_cluster(api, dynoxide.url) as cluster,
            an_operator(cluster, lease_seconds="60", lease_renew_seconds="50") as operator,
        ):
            name = await cluster.apply()
            await cluster.ready(name)
            operator.pause()
            for seconds in (7, 8, 9):
                await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": seconds}}})
            newest = (await cluster.get(name))["metadata"]["resourceVersion"]
            await asyncio.to_thread(api.compact, int(newest))
            await asyncio.to_thread(api.restart)
            operator.resume()
            await cluster.ready(name)
            assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 9
            assert await asyncio.to_thread(is_live, operator)


def is_live(operator: OperatorProcess) -> bool:
    """Whether a kubelet would leave it running."""
    try:
        return operator.ask("/livez")[0] == 200
    except OSError:
        return False


@contextlib.asynccontextmanager
async def behind(cluster: Cluster, way: TcpProxy, **flags: str) -> AsyncIterator[OperatorProcess]:
    """Run an operator that reaches the API server by a proxy."""
    config = cluster.user.kubeconfig
    config.write_text(config.read_text().replace(f":{cluster.api.port}", f":{way.port}"))
    async with an_operator(cluster, **flags) as operator:
        yield operator
