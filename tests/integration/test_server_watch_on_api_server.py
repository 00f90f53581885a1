"""Feature servers as the operator tells of them: a real API server, the kit's server as a child process.

No endpoints controller runs, so that the test plays it: Services and EndpointSlices are made by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.certificates import Authority, Pair
from tests.control_plane import ApiServer
from tests.helm import FEATURE_SERVER_CHART, helm, pick
from tests.integration.kit_server import KitServer, SecureKitServer
from tests.integration.operator_cluster import MERGE, Cluster, a_cluster, an_operator, an_operator_here
from tests.manifests import a_manifest
from tests.mounted_volume import Volume
from tests.servers import HOST
from tests.sidecars import a_sidecar

from pannier_operator.replica import Patience

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
SOON = Patience(server_seconds=0.2)
SOURCE = """
import msgspec
from pannier_ondemand import FeatureServer

server = FeatureServer()


class Score(msgspec.Struct):
    score: int{more}


@server.computes("scores")
async def scores(user: str) -> Score:
    return Score(len(user){values})
"""
SCORE = {"id": 0, "name": "score", "type": "Int64"}
WORDS = {"id": 1, "name": "words", "type": "String"}


def computed(**service: Any) -> dict[str, Any]:
    """Changes of `a_manifest` that make it a computed group."""
    return {
        "/metadata.name": "scores",
        "groupName": "scores",
        "features": [SCORE],
        "storage": {"mode": "None"},
        "onDemand": {"service": {"name": "scores", "port": 8080, **service}, "timeoutMilliseconds": 2000},
    }


class Scores:
    """A team's feature server, its sources and its specs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "specs").mkdir()
        self.write(with_words=False)
        self.server = KitServer("team_features:server", folder / "specs", path=folder)

    def write(self, *, with_words: bool) -> None:
        """Write its function, of one feature or of two; a restart takes it up."""
        parts = ("\n    words: str", ', "few"') if with_words else ("", "")
        (self._folder / "team_features.py").write_text(SOURCE.format(more=parts[0], values=parts[1]))
        group = a_manifest({**computed(), "features": [SCORE, WORDS] if with_words else [SCORE]})
        (self._folder / "specs" / "scores.yaml").write_text(yaml.safe_dump(group))


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


@pytest.fixture
def scores(tmp_path: Path) -> Iterator[Scores]:
    """A server that runs."""
    made = Scores(tmp_path)
    try:
        made.server.start()
        yield made
    finally:
        made.server.close()


def services_of(cluster: Cluster, name: str = "") -> str:
    return f"/api/v1/namespaces/{cluster.namespace}/services{f'/{name}' if name else ''}"


def slices_of(cluster: Cluster, name: str = "") -> str:
    base = f"/apis/discovery.k8s.io/v1/namespaces/{cluster.namespace}/endpointslices"
    return f"{base}{f'/{name}' if name else ''}"


async def make_service(cluster: Cluster, **spec: Any) -> None:
    body = {"metadata": {"name": "scores"}, "spec": spec}
    await cluster.call("POST", services_of(cluster), body)


async def make_slice(cluster: Cluster, *, ready: bool) -> None:
    """Play the endpoints controller."""
    body = {
        "metadata": {"name": "scores-1", "labels": {"kubernetes.io/service-name": "scores"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"port": 8080}],
    }
    await cluster.call("POST", slices_of(cluster), body)


async def deploy(cluster: Cluster) -> None:
    """A Service with a pod that is ready."""
    await make_service(cluster, ports=[{"port": 8080}])
    await make_slice(cluster, ready=True)


def found_at(cluster: Cluster, scores: Scores) -> str:
    return f"scores.{cluster.namespace}={HOST}:{scores.server.port}"


def of_catalog(mount: Path, cluster: Cluster, where: str) -> dict[str, Any]:
    """Flags of a sidecar that has a mounted catalog and the cluster's tables."""
    return {
        "specs": None,
        "catalog": str(mount),
        "create_tables": None,
        "data_dir": None,
        "store": "dynamodb",
        "dynamodb_endpoint_url": cluster.proxy.url,
        "on_demand_at": where,
    }


async def test_each_thing_that_is_missing_has_its_reason(cluster: Cluster, scores: Scores) -> None:
    """From no Service to a server that answers, and the group is in the catalog all the while."""

    async def told(reason: str) -> None:
        await cluster.told("scores", reason, "OnDemandReady")

    async with an_operator_here(cluster, patience=SOON, on_demand_at=found_at(cluster, scores)):
        scores.server.stop()
        await cluster.apply(computed())
        await told("ServiceMissing")
        await make_service(cluster, type="ExternalName", externalName="example.com", ports=[{"port": 8080}])
        await told("ServiceExternal")
        await cluster.call("DELETE", services_of(cluster, "scores"))
        await make_service(cluster, ports=[{"port": 81}])
        await told("ServicePortMissing")
        ports = {"spec": {"ports": [{"port": 8080}]}}
        await cluster.call("PATCH", services_of(cluster, "scores"), ports, content=MERGE)
        await told("NoEndpoints")
        await make_slice(cluster, ready=False)
        await told("NoEndpoints")
        ready = {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}
        await cluster.call("PATCH", slices_of(cluster, "scores-1"), ready, content=MERGE)
        await told("ServerUnreachable")
        await cluster.told("scores", "ServerUnreachable")
        await cluster.told("scores", "Published", "ConfigPublished")
        await asyncio.to_thread(scores.server.restart)
        await cluster.ready("scores")
        assert await cluster.condition("scores", "OnDemandReady") == ("True", "ServerReady")
        await cluster.edit("scores", {"features": [SCORE, WORDS]})
        await told("SchemaMismatch")
        assert len((await cluster.catalog())["scores"].features) == 2
        scores.write(with_words=True)
        await asyncio.to_thread(scores.server.restart)
        await cluster.ready("scores")
        scores.server.kill()
        await cluster.told("scores", "ServerUnreachable")
        assert "scores" in await cluster.catalog()


async def test_a_sidecar_reads_it_beside_a_stored_group(
    cluster: Cluster, scores: Scores, tmp_path: Path
) -> None:
    """By the catalog that the operator wrote: rows of a table and computed ones in one answer."""
    where = found_at(cluster, scores)
    await deploy(cluster)
    async with an_operator_here(cluster, patience=SOON, on_demand_at=where):
        for name in (await cluster.apply(), await cluster.apply(computed())):
            await cluster.ready(name)
        path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"
        mount = tmp_path / "catalog"
        mount.mkdir()
        for file, text in (await cluster.call("GET", path))["data"].items():
            (mount / file).write_text(text)
    async with a_sidecar(tmp_path, **of_catalog(mount, cluster, where)) as sidecar:
        await sidecar.write({"group": "user_facts", "id": "u1", "features": {"city": "Seoul"}})
        reads = ({"group": "user_facts", "ids": ["u1"]}, {"group": "scores", "ids": ["u1", "user2"]})
        answer = await sidecar.read(*reads)
        stored, values = (result["rows"] for result in answer.json["results"])
        assert stored[0]["features"]["city"] == "Seoul"
        assert [row["features"]["score"] for row in values] == [2, 5]
        scores.server.kill()
        answer = await sidecar.read(*reads)
        stored, values = (result["rows"] for result in answer.json["results"])
        assert stored[0]["status"] == "found"
        assert {row["status"] for row in values} == {"unknown"}


async def test_what_the_chart_deploys_is_found(cluster: Cluster, tmp_path: Path) -> None:
    """Service, specs and arguments of an installed release, with the kit in the place of its pod."""
    folder = tmp_path / "server"
    folder.mkdir()
    scores = Scores(folder)
    specs = {"files": {"scores.yaml": (folder / "specs" / "scores.yaml").read_text()}}
    values = {"image": {"repository": "team"}, "app": "team_features:server", "specs": specs}
    reach = ("--kubeconfig", str(cluster.api.admin.kubeconfig), "--namespace", cluster.namespace)
    await asyncio.to_thread(helm, "install", "scores", str(FEATURE_SERVER_CHART), *reach, values=values)
    text = await asyncio.to_thread(helm, "get", "manifest", "scores", *reach)
    objects = [found for found in yaml.safe_load_all(text) if found]
    (container,) = pick(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    Volume(mounted).project(pick(objects, "ConfigMap")["data"])
    app, *flags = container["args"]
    here = [flag for flag in flags if not flag.startswith(("--specs=", "--http="))]
    with KitServer(app, mounted, *here, path=folder) as server:
        scores.server = server
        async with an_operator_here(cluster, patience=SOON, on_demand_at=found_at(cluster, scores)):
            await cluster.apply(computed())
            await cluster.told("scores", "NoEndpoints")
            await make_slice(cluster, ready=True)
            await cluster.ready("scores")


async def test_https_is_trusted_by_the_authority_that_the_operator_publishes(
    cluster: Cluster, tmp_path: Path
) -> None:
    """By operator and sidecar alike; another one takes its place while both run."""
    old, new = Authority("old"), Authority("new")
    bundle, mount, folder = tmp_path / "bundle.crt", tmp_path / "catalog", tmp_path / "server"
    mount.mkdir()
    folder.mkdir()
    scores, name, volume = Scores(folder), f"scores.{cluster.namespace}.svc", Volume(mount)
    certify(folder, old.server(HOST, name))
    pair = (f"--certificate={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}")
    with SecureKitServer("team_features:server", folder / "specs", *pair, path=folder) as server:
        scores.server = server
        where = found_at(cluster, scores)
        await deploy(cluster)
        async with an_operator_here(cluster, patience=SOON, on_demand_at=where, on_demand_ca=str(bundle)):
            await cluster.apply(computed(scheme="HTTPS"))
            await cluster.told("scores", "ServerUntrusted")
            bundle.write_text(f"# of the platform\n{old.certificate}")
            await cluster.ready("scores")
            await published(cluster, volume, old.certificate)
            async with a_sidecar(tmp_path, **of_catalog(mount, cluster, where)) as sidecar:
                assert [row["status"] for row in await sidecar.rows("scores", "a")] == ["found"]
                bundle.write_text(old.certificate + new.certificate)
                await published(cluster, volume, old.certificate + new.certificate)
                certify(folder, new.server(HOST, name))
                await asyncio.to_thread(server.wait_until, lambda: server.shows(new))
                await asyncio.to_thread(server.restart)  # or the sidecar's connection would go on
                assert [row["status"] for row in await sidecar.rows("scores", "b")] == ["found"]
            await cluster.ready("scores")
            bundle.write_text(old.certificate)
            await cluster.told("scores", "ServerUntrusted")
            await published(cluster, volume, old.certificate)
        async with a_sidecar(tmp_path, **of_catalog(mount, cluster, where)) as sidecar:
            assert [row["status"] for row in await sidecar.rows("scores", "c")] == ["unknown"]


def certify(folder: Path, pair: Pair) -> None:
    (folder / "tls.crt").write_text(pair.certificate)
    (folder / "tls.key").write_text(pair.key)


async def published(cluster: Cluster, volume: Volume, authority: str) -> None:
    """Wait until the catalog comes with this authority, and play the kubelet."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"

    async def is_there() -> bool:
        found = await cluster.call("GET", path)
        return bool(found["data"].get("on-demand-ca.crt") == authority)

    await cluster.until(is_there)
    volume.project((await cluster.call("GET", path))["data"])


async def test_a_server_that_hangs_holds_up_no_other_group(cluster: Cluster, scores: Scores) -> None:
    """More of them than there are workers; stored groups get ready, and nothing is written without news."""
    await deploy(cluster)
    scores.server.pause()
    async with an_operator_here(cluster, patience=SOON, on_demand_at=found_at(cluster, scores)):
        for n in range(12):
            changes = {**computed(), "/metadata.name": f"scores-{n}", "groupName": f"scores_{n}"}
            await cluster.apply(changes)
        await cluster.ready(await cluster.apply())
        for n in range(12):
            await cluster.told(f"scores-{n}", "ServerUnreachable")
        before = await cluster.versions()
        await cluster.apply({"/metadata.name": "later", "groupName": "later"})
        await cluster.ready("later")
        after = await cluster.versions()
        assert {path: version for path, version in after.items() if path in before and "scores" in path} == {
            path: version for path, version in before.items() if "scores" in path
        }
        scores.server.resume()
        await cluster.told("scores-0", "ServerRefuses")  # it computes scores alone


async def test_only_a_service_that_is_not_allowed_takes_a_group_out_of_catalogs(cluster: Cluster) -> None:
    """Permission comes and goes with the operator's flag; the sentence is that of the webhook."""
    elsewhere = f"{cluster.namespace}-models"
    await cluster.make_namespace(elsewhere)
    pair = f"{cluster.namespace}={elsewhere}"
    async with an_operator(cluster, on_demand_services=pair):
        await cluster.apply(computed(namespace=elsewhere))
        await cluster.told("scores", "ServiceMissing", "OnDemandReady")
        assert "scores" in await cluster.catalog()
    async with an_operator(cluster):
        await cluster.told("scores", "ServiceNotAllowed", "OnDemandReady")
        await cluster.told("scores", "ServiceNotAllowed")
        assert await cluster.condition("scores", "ConfigPublished") == ("False", "ServiceNotAllowed")
        assert "scores" not in await cluster.catalog()
        await cluster.edit("scores", {"managementPolicy": "Paused"})
        await cluster.told("scores", "ServiceNotAllowed")
        assert "scores" not in await cluster.catalog()
        await cluster.edit("scores", {"managementPolicy": "Full"})
        await cluster.told("scores", "ServiceNotAllowed")
    async with an_operator(cluster, on_demand_services=f"*={elsewhere}"):
        await cluster.told("scores", "ServiceMissing")
        assert "scores" in await cluster.catalog()
