"""Pods that an absent injector missed, on a real API server: told of, and evicted within bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.control_plane import ApiServer
from tests.helm import pick, render
from tests.integration.injected_pods import CREATED, VALUES, Pods, a_container, a_team
from tests.servers import free_port

from pannier_operator.clock import ManualClock
from pannier_operator.injection.template import Template, read_template
from pannier_operator.kube import pods as kube_pods
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.events import Events
from pannier_operator.missed_pods import MOST_EVICTIONS, MissedPods, Watchdog, is_missed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SERVICE = "pannier-injector"


@pytest.fixture(scope="module")
def template() -> Template:
    """The chart's."""
    return read_template(pick(render(VALUES), "ConfigMap", "-injector")["data"]["sidecar.yaml"])


@pytest.fixture
def team(api_server: ApiServer) -> Pods:
    """A namespace of its own."""
    return a_team(api_server)


@pytest.fixture
def home(api_server: ApiServer) -> str:
    """The namespace of the release."""
    name = f"home-{free_port()}"
    api_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
async def api(api_server: ApiServer) -> AsyncIterator[KubeApi]:
    """The administrator's client."""
    async with (
        await find_credentials(str(api_server.admin.kubeconfig)) as credentials,
        KubeApi(credentials, may_write=lambda: None) as opened,
    ):
        yield opened


def look_in(api: KubeApi, team: Pods, home: str, template: Template, **fields: Any) -> MissedPods:
    """Make what looks for missed pods of one team."""
    clock = fields.pop("clock", ManualClock())
    events = Events(api, clock, "operator-0", api_version="v1", kind="Pod")
    asked = kube_pods.Pods(api, [team.namespace], home)
    return MissedPods(asked, events, template, clock, **fields)


async def test_each_missed_pod_is_told_of_once(
    api: KubeApi, team: Pods, home: str, template: Template
) -> None:
    """Not those that have one, did not ask, or could not have one; nor twice."""
    team.made("missed")
    team.made("unasked", labels={})
    team.made("port", spec={"containers": [a_container() | {"ports": [{"containerPort": 8471}]}]})
    team.made("own", spec={"initContainers": [a_container("pannier-sidecar") | {"restartPolicy": "Always"}]})
    team.made("has", {"injected": "sidecar"})
    missed = look_in(api, team, home, template)
    for _ in range(2):
        await missed.look()
        assert missed.count == 1
    events = team.api.call("GET", f"/api/v1/namespaces/{team.namespace}/events")[1]["items"]
    assert [(event["involvedObject"]["name"], event["reason"]) for event in events] == [
        ("missed", "SidecarMissed")
    ]


async def test_a_namespace_that_asks_is_looked_into(
    api: KubeApi, team: Pods, home: str, template: Template
) -> None:
    """Where namespaces may be listed."""
    team.made("missed", labels={})
    label = {"metadata": {"labels": {"pannier.dev/inject": "true"}}}
    path = f"/api/v1/namespaces/{team.namespace}"
    assert team.api.call("PATCH", path, label, "application/merge-patch+json")[0] == 200
    found = [pod["metadata"]["name"] async for pod in kube_pods.Pods(api, [], home).asking()]
    assert "missed" in found
    assert [
        pod
        async for pod in kube_pods.Pods(api, [], team.namespace).asking()
        if pod["metadata"]["namespace"] == team.namespace
    ] == []


@pytest.fixture
def endpoint(team: Pods, home: str) -> Iterator[None]:
    """An injector that is ready."""
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{home}/endpointslices"
    labels = {"kubernetes.io/service-name": SERVICE}
    ready = [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]
    body = {
        "metadata": {"name": "a", "labels": labels},
        "addressType": "IPv4",
        "endpoints": ready,
        "ports": [],
    }
    status, answer = team.api.call("POST", slices, body)
    assert status == CREATED, answer
    yield
    team.api.call("DELETE", f"{slices}/a")


async def test_nobody_is_evicted_while_no_injector_answers(
    api: KubeApi, team: Pods, home: str, template: Template
) -> None:
    """Successors would be missed too."""
    team.made("missed")
    missed = look_in(api, team, home, template, watchdog=Watchdog(SERVICE))
    await missed.look()
    assert (missed.count, missed.evicted) == (1, 0)


async def test_evictions_are_bounded_and_heed_budgets(
    api: KubeApi, team: Pods, home: str, template: Template, endpoint: None
) -> None:
    """Ten a minute; a pod that its budget protects stays."""
    for number in range(MOST_EVICTIONS + 3):
        team.made(f"missed-{number}")
    kept = team.made("kept", labels={"pannier.dev/inject": "true", "app": "kept"})
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    where = f"{team.path}/kept/status"  # no kubelet says so here, and pods that do not run have no budget
    assert team.api.call("PATCH", where, running, "application/merge-patch+json")[0] == 200
    budget = {
        "metadata": {"name": "kept"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "kept"}}},
    }
    path = f"/apis/policy/v1/namespaces/{team.namespace}/poddisruptionbudgets"
    assert team.api.call("POST", path, budget)[0] == CREATED
    clock = ManualClock()
    missed = look_in(api, team, home, template, clock=clock, watchdog=Watchdog(SERVICE))
    await missed.look()
    assert missed.evicted == MOST_EVICTIONS
    clock.advance(59)
    await missed.look()
    assert missed.evicted == MOST_EVICTIONS
    clock.advance(1)
    await missed.look()
    await missed.look()
    assert (missed.evicted, missed.count) == (MOST_EVICTIONS + 3, 1)
    assert team.api.call("GET", f"{team.path}/{kept['metadata']['name']}")[0] == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"phase": "Succeeded"}, False),
        ({"phase": "Failed"}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"annotations": {"pannier.dev/injected": "sidecar"}}, False),
        ({"annotations": {"pannier.dev/l1-mib": "none"}}, False),
    ],
)
def test_what_is_over_or_hopeless_is_not_missed(
    template: Template,
    change: dict[str, Any],
    expected: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    """Nothing would come of its eviction."""
    status = {"phase": change.pop("phase", "Running")}
    pod = {"metadata": {"name": "a", **change}, "spec": {"containers": [a_container()]}, "status": status}
    assert is_missed(pod, template) is expected
