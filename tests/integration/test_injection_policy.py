"""Injection without a webhook: the chart's policy gives pods the same sidecar, by the API server itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.certificates import Authority
from tests.control_plane import ApiServer
from tests.helm import Object, render
from tests.integration.chart_release import as_yaml
from tests.integration.injected_pods import (
    IMAGE,
    InjectorProcess,
    Pods,
    a_container,
    a_team,
    hooked,
    sidecar_of,
    until_injecting,
)
from tests.servers import HOST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
VALUES = yaml.safe_load((Path(__file__).parent.parent / "chart" / "values" / "policy.yaml").read_text())
UNPROCESSABLE, CREATED = 422, 201
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "chosen": {"chosen": {"l1-mib": "100", "cpu": "1.5", "log-level": "debug"}},
    "init": {"spec": {"initContainers": [a_container("migrate")]}},
    "last": {"chosen": {"order": "Last"}, "spec": {"initContainers": [a_container("migrate")]}},
    "mounts": {
        "spec": {
            "containers": [
                a_container() | {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                a_container("other"),
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }
    },
    "port": {"spec": {"containers": [a_container() | {"ports": [{"containerPort": 8471}]}]}},
    "volume": {"spec": {"volumes": [{"name": "pannier-socket", "emptyDir": {}}]}},
    "own": {"spec": {"initContainers": [a_container("pannier-sidecar") | {"restartPolicy": "Always"}]}},
    "unasked": {"labels": {}},
    "no": {"labels": {"pannier.dev/inject": "false"}},
}


@pytest.fixture(scope="module")
def pods(api_server: ApiServer) -> Pods:
    """A namespace of its own, where only restricted pods may run."""
    return a_team(api_server)


@pytest.fixture(scope="module")
def by_webhook(
    api_server: ApiServer, pods: Pods, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Object]:
    """What the webhook makes of each pod."""
    authority, objects = Authority(), render({**VALUES, "injection": {"mode": "Webhook"}})
    process = InjectorProcess(tmp_path_factory.mktemp("injector"), objects, authority.server(HOST))
    with process, hooked(api_server, objects, process, authority.certificate):
        until_injecting(api_server)
        return made(pods)


@pytest.fixture(scope="module")
def policy(api_server: ApiServer, pods: Pods, by_webhook: dict[str, Object]) -> Iterator[None]:
    """The policy in force, once no webhook is any more."""
    objects = [one for one in render(VALUES) if "AdmissionPolicy" in one["kind"]]
    assert len(objects) == 4
    api_server.kubectl("apply", "--server-side", "-f", "-", text=as_yaml(objects))
    try:
        until_injecting(api_server)
        api_server.wait_until(lambda: pods.create("bad", {"l1-mbi": "1"}, dry_run=True)[0] == UNPROCESSABLE)
        yield
    finally:
        api_server.kubectl("delete", "-f", "-", text=as_yaml(objects))


def made(pods: Pods) -> dict[str, Object]:
    """What becomes of each pod, but for what differs from pod to pod."""
    found = {}
    for name, case in CASES.items():
        status, answer = pods.create(name, dry_run=True, **copy.deepcopy(case))
        assert status == CREATED, answer
        found[name] = {"spec": answer["spec"], "annotations": answer["metadata"].get("annotations", {})}
    return found


def test_the_pods_are_those_of_the_webhook(pods: Pods, by_webhook: dict[str, Object], policy: None) -> None:
    """Field by field, whatever the pod; and left alone where the webhook leaves it alone."""
    by_policy = made(pods)
    for name in CASES:
        assert by_policy[name] == by_webhook[name], name
    assert [name for name in CASES if sidecar_of(by_policy[name]) is None] == [
        "port",
        "volume",
        "unasked",
        "no",
    ]
    own = sidecar_of(by_policy["own"])
    assert own is not None
    assert own["image"] == IMAGE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l1_mib", "64"),
        ("l1-mib", "64Mi"),
        ("l1-mib", "7"),
        ("l1-mib", "4097"),
        ("cpu", "5"),
        ("cpu", "0"),
        ("cpu", "fast"),
        ("log-level", "loud"),
        ("order", "Middle"),
    ],
)
def test_what_a_pod_may_not_choose_is_refused(pods: Pods, policy: None, name: str, value: str) -> None:
    """With the webhook's reason, and what would be right."""
    status, answer = pods.create("bad", {name: value})
    assert status == UNPROCESSABLE
    assert (
        f"AnnotationInvalid: {'of annotations' if name == 'l1_mib' else f'pannier.dev/{name} takes'}"
        in answer["message"]
    )
