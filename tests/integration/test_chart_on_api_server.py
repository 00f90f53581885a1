"""The chart on a real API server: accepted, installed, and its operator has the rights it needs alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.chart.test_chart import VALUES
from tests.chart.test_feature_server_chart import VALUES as SERVER_VALUES
from tests.control_plane import CRDS, ApiServer
from tests.helm import CHART, FEATURE_SERVER_CHART, RELEASE, helm, render
from tests.integration.chart_release import RESTRICTED, Release, a_release, as_yaml
from tests.integration.operator_cluster import OK, Cluster, OperatorProcess, a_cluster
from tests.manifests import a_manifest
from tests.servers import ServerFailed

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
CRD = f"{CRDS}/featuregroups.pannier.dev"
QUICK = {"resyncSeconds": 5, "awsCallsPerSecond": 100, "catalogDelayMs": 50}

NOT_EVERY_DAY = {
    ("get", "featuregroups"),  # what the watch missed
    ("create", "configmaps"),  # asked for within a server-side apply, which the audit calls a patch
    ("delete", "configmaps"),  # shards of a catalog that has shrunk
    ("create", "tokenreviews"),  # of sidecars that ask
}
"""Rights that the quick life of one group makes no visible use of."""
SOMETIMES = {("get", "pods"), ("get", "services"), ("list", "endpointslices")}
"""Of pods that asked for a sidecar and have none, and of computed groups, as other tests leave behind."""


@pytest.fixture(scope="module")
def home(api_server: ApiServer) -> str:
    """The namespace of releases, where only restricted pods may run; and those that values name."""
    for name, labels in (("pannier-system", RESTRICTED), ("reco", {}), ("ads", {}), ("models", {})):
        api_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    return "pannier-system"


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_object_is_accepted_without_a_warning(api_server: ApiServer, home: str, name: str) -> None:
    """Strictly validated by the API server, in a namespace that takes restricted pods only."""
    unknown = ("monitoring.coreos.com/", "cert-manager.io/")
    objects = [o for o in render(VALUES[name], namespace=home) if not o["apiVersion"].startswith(unknown)]
    apply = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    said = api_server.kubectl(*apply, "--force-conflicts", "-f", "-", text=as_yaml(objects))
    assert said.count("serverside-applied") == len(objects)


@pytest.mark.parametrize("name", sorted(SERVER_VALUES))
def test_feature_servers_are_accepted_as_well(api_server: ApiServer, home: str, name: str) -> None:
    """In a namespace that takes restricted pods only, and without a warning."""
    objects = render(SERVER_VALUES[name], namespace=home, chart=FEATURE_SERVER_CHART)
    apply = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    said = api_server.kubectl(*apply, "-f", "-", text=as_yaml(objects))
    assert said.count("serverside-applied") == len(objects)


def test_a_release_comes_and_goes_and_leaves_the_crd(
    api_server: ApiServer, home: str, tmp_path: Path
) -> None:
    """Installed over a CRD that was there, upgraded, uninstalled: groups outlive all of it."""
    with a_release(api_server, home, tmp_path, {}):
        assert (
            api_server.call("GET", CRD)[1]["metadata"]["annotations"]["meta.helm.sh/release-name"] == RELEASE
        )
        reach = ("--kubeconfig", str(api_server.admin.kubeconfig), "--namespace", home)
        said = helm("upgrade", RELEASE, str(CHART), *reach, values=VALUES["webhook"])
        assert "Secret pannier-webhook" in said
        assert f"pannier-webhook.{home}.svc" in said
    assert api_server.call("GET", CRD)[0] == OK


@contextlib.contextmanager
def installed(cluster: Cluster, folder: Path, values: Mapping[str, Any]) -> Iterator[Release]:
    """The chart with quick settings."""
    merged = {**values, "operator": {**QUICK, **values.get("operator", {})}}
    with a_release(cluster.api, "pannier-system", folder, merged) as release:
        cluster.api.wait_until(lambda: release.may("create", "events", namespace=cluster.namespace))
        yield release


@contextlib.asynccontextmanager
async def running(release: Release, cluster: Cluster) -> AsyncIterator[OperatorProcess]:
    """The release's operator, as a child process; it may not have been refused anything."""
    user = release.user()
    operator = release.operator(cluster.proxy.url, user)
    try:
        await asyncio.to_thread(operator.start)
        yield operator
    except BaseException as error:
        error.add_note(f"{operator!r} said:\n{operator.output}")
        raise
    finally:
        await asyncio.to_thread(operator.close)
    assert release.api.refusals(user) == []


@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
async def test_its_operator_does_all_it_has_to_with_its_rights(
    cluster: Cluster, home: str, tmp_path: Path, scope: str
) -> None:
    """Tables, finalizers, status, Events, Lease and the catalogs of consumers, and not one 403."""
    await cluster.make_namespace(f"{cluster.namespace}-ads")
    values = {"operator": {"namespaces": cluster.namespaces}} if scope == "namespaces" else {}
    with installed(cluster, tmp_path, values) as release:
        async with running(release, cluster) as operator:
            grant = [{"namespace": f"{cluster.namespace}-ads", "access": "Read"}]
            unprotected = {"mode": "Dedicated", "dedicated": {"deletionProtection": "Disabled"}}
            name = await cluster.apply(
                {"consumers": grant, "deletionPolicy": "Delete", "storage": unprotected}
            )
            await cluster.ready(name)
            assert "user_facts" in await cluster.catalog(f"{cluster.namespace}-ads")
            await cluster.delete(name)
            await cluster.gone(name)
            assert operator.leads
        assert release.granted() - release.used() - SOMETIMES == NOT_EVERY_DAY


async def test_its_operator_has_no_right_besides(cluster: Cluster, home: str, tmp_path: Path) -> None:
    """Catalogs by name and nothing else that could hold a secret."""
    with installed(cluster, tmp_path, {}) as release:
        team = cluster.namespace
        for verb in ("get", "patch", "create", "delete"):
            assert release.may(verb, "configmaps", name="pannier-catalog-063", namespace=team)
            assert not release.may(verb, "configmaps", name="pannier-catalog-064", namespace=team)
            assert not release.may(verb, "configmaps", name="settings", namespace=team)
        assert not release.may("list", "configmaps")
        assert release.may("list", "configmaps", name="pannier-catalog")
        for verb in ("get", "list", "watch", "create"):
            assert not release.may(verb, "secrets", namespace=team)
            assert release.may(verb, "pods", namespace=team) == (verb in {"get", "list"})
        assert not release.may("create", "pods/eviction", namespace=team)
        assert not release.may("create", "featuregroups.pannier.dev", namespace=team)
        assert not release.may("delete", "featuregroups.pannier.dev", namespace=team)
        assert not release.may("get", "namespaces", name=team)
        assert release.may("get", "namespaces", name="kube-system")
        assert not release.may("update", "leases.coordination.k8s.io", name="other", namespace=home)


WEBHOOK = {"enabled": True, "secretName": "tls", "injectCaFrom": "a/b"}


async def test_the_webhook_tells_at_apply_what_the_operator_would_tell_later(
    cluster: Cluster, home: str, tmp_path: Path
) -> None:
    """Refused with reason and owner, warned of missing namespaces, passed while it is down."""
    table = f"shared-{cluster.namespace}"
    shared = {"storage": {"mode": "Shared", "tableName": table}}
    values = {"webhook": WEBHOOK, "operator": {"sharedTables": [{"name": table}]}}
    other = f"{cluster.namespace}-ads"
    await cluster.make_namespace(other)
    second = {**shared, "/metadata.name": "second", "/metadata.namespace": other}
    with installed(cluster, tmp_path, values) as release:
        async with running(release, cluster):
            await cluster.ready(await cluster.apply(shared))
            with pytest.raises(ServerFailed, match=r"GroupNameTaken.*claimed in this table by .*/user-facts"):
                await kubectl_apply(cluster, second)
            with pytest.raises(ServerFailed, match=f"in namespace {cluster.namespace} the groupName is"):
                await kubectl_apply(cluster, {"/metadata.name": "third", **dedicated(cluster)})
            grant = {"consumers": [{"namespace": "nobody"}], "groupName": "granted", **dedicated(cluster)}
            with pytest.raises(ServerFailed, match=r"NamespaceMissing.*nobody"):
                await kubectl_apply(cluster, {"/metadata.name": "granted", **grant}, "--warnings-as-errors")
            await cluster.ready("granted")
        await kubectl_apply(cluster, second)
        async with running(release, cluster):
            team, cluster.namespace = cluster.namespace, other
            await cluster.told("second", "GroupNameTaken")
            cluster.namespace = team


async def test_inputs_that_lead_round_in_a_circle_are_refused_or_told(
    cluster: Cluster, home: str, tmp_path: Path
) -> None:
    """At apply where the webhook is up, else by the condition; a group that is yet to come is told of."""
    with installed(cluster, tmp_path, {"webhook": WEBHOOK}) as release:
        async with running(release, cluster):
            await kubectl_apply(cluster, computed(cluster, "first", "second"))
            await cluster.told("first", "UnknownInputGroup")
            with pytest.raises(ServerFailed, match=r"InputCycle.*second -> first -> second"):
                await kubectl_apply(cluster, computed(cluster, "second", "first"))
        await kubectl_apply(cluster, computed(cluster, "second", "first"))
        async with running(release, cluster):
            await cluster.told("second", "InputCycle")
            await kubectl_apply(cluster, computed(cluster, "second"))
            for name in ("second", "first"):
                await cluster.told(name, "Published", "ConfigPublished")


async def test_a_service_of_another_namespace_is_refused_at_apply(
    cluster: Cluster, home: str, tmp_path: Path
) -> None:
    """In the words in which the operator tells it, too; what is allowed is looked at."""
    other, third = (f"{cluster.namespace}-{name}" for name in ("models", "ads"))
    for name in (other, third):
        await cluster.make_namespace(name)
    pairs = [{"groupsOf": cluster.namespace, "servicesOf": other}]
    values = {"webhook": WEBHOOK, "onDemand": {"allowedServices": pairs}}
    values["operator"] = {"namespaces": [cluster.namespace]}
    said = f"namespace {cluster.namespace} may not use Services of namespace {third}"
    with installed(cluster, tmp_path, values) as release:
        async with running(release, cluster):
            with pytest.raises(ServerFailed, match=f"ServiceNotAllowed.*{said}"):
                await kubectl_apply(cluster, computed(cluster, "scores", at=third))
            await kubectl_apply(cluster, computed(cluster, "allowed", at=other))
            await cluster.told("allowed", "ServiceMissing")
        await kubectl_apply(cluster, computed(cluster, "scores", at=third))
        async with running(release, cluster):
            await cluster.told("scores", "ServiceNotAllowed")
            conditions = (await cluster.get("scores"))["status"]["conditions"]
            (ready,) = [one for one in conditions if one["type"] == "Ready"]
            assert said in ready["message"]
            assert set(await cluster.catalog()) == {"allowed"}


def computed(cluster: Cluster, name: str, *reads: str, at: str | None = None) -> dict[str, Any]:
    """A group that is computed from a feature of others, by a Service of a namespace."""
    inputs = [{"name": f"of_{one}", "group": one, "features": ["city"]} for one in reads]
    service = {"name": "scores", "port": 8080, **({"namespace": at} if at else {})}
    on_demand = {"service": service, **({"inputs": inputs} if inputs else {})}
    return {
        "/metadata.name": name,
        "/metadata.namespace": cluster.namespace,
        "groupName": name,
        "storage": {"mode": "None"},
        "onDemand": on_demand,
    }


def dedicated(cluster: Cluster) -> dict[str, Any]:
    return {"storage": {"mode": "Dedicated"}, "/metadata.namespace": cluster.namespace}


async def kubectl_apply(cluster: Cluster, changes: dict[str, Any], *flags: str) -> str:
    """Apply a group as a team does."""
    manifest = a_manifest(changes)
    return await asyncio.to_thread(
        cluster.api.kubectl, "apply", "--server-side", *flags, "-f", "-", text=as_yaml([manifest])
    )
