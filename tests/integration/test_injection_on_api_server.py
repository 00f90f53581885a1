"""Pods on a real API server that ask for a sidecar: the chart's webhook, as a process, over real HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority
from tests.control_plane import ApiServer
from tests.helm import Object, render
from tests.integration.chart_release import as_yaml
from tests.integration.injected_pods import (
    CREATED,
    DENIED,
    IMAGE,
    OK,
    VALUES,
    InjectorProcess,
    Pods,
    a_container,
    a_team,
    hooked,
    sidecar_of,
    until_injecting,
)
from tests.servers import HOST

from pannier_sidecar.settings import load as sidecar_settings

INTERNAL_ERROR = 500
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What the chart renders."""
    return render(VALUES)


@pytest.fixture
def injector(api_server: ApiServer, objects: list[Object], tmp_path: Path) -> Iterator[InjectorProcess]:
    """A running webhook, and an API server that asks it."""
    authority = Authority()
    with (
        InjectorProcess(tmp_path / "injector", objects, authority.server(HOST)) as process,
        hooked(api_server, objects, process, authority.certificate),
    ):
        until_injecting(api_server)
        yield process


@pytest.fixture
def pods(api_server: ApiServer) -> Pods:
    """A namespace of its own, where only restricted pods may run."""
    return a_team(api_server)


def test_a_labelled_pod_gets_its_sidecar_and_others_do_not(pods: Pods, injector: InjectorProcess) -> None:
    """First among the init containers, native, restricted; the app has the socket's directory."""
    pod = pods.made("app", spec={"initContainers": [a_container("migrate")]})
    first, second = pod["spec"]["initContainers"]
    assert (first["name"], first["restartPolicy"], second["name"]) == ("pannier-sidecar", "Always", "migrate")
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in first["args"][1:])
    settings = sidecar_settings({name.replace("-", "_"): value for name, value in flags.items()}, {})
    assert (settings.l1_bytes, str(settings.catalog)) == (256 << 20, "/etc/pannier/catalog")
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "pannier-socket", "mountPath": "/run/pannier"} in mounts
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    sources = volumes["pannier-catalog"]["projected"]["sources"]
    assert all(source["configMap"]["optional"] for source in sources)
    assert sidecar_of(pods.made("plain", labels={})) is None
    assert "pannier_injector_pods_total" in injector.ask("/metrics")[1]


def test_a_namespace_may_ask_for_all_of_its_pods(pods: Pods, injector: InjectorProcess) -> None:
    """But for those that say no."""
    label = {"metadata": {"labels": {"pannier.dev/inject": "true"}}}
    namespace = pods.path.removesuffix("/pods")
    assert pods.api.call("PATCH", namespace, label, "application/merge-patch+json")[0] == OK
    numbers = iter(range(1_000))
    pods.api.wait_until(lambda: sidecar_of(pods.made(f"app-{next(numbers)}", labels={})) is not None)
    assert sidecar_of(pods.made("no", labels={"pannier.dev/inject": "false"})) is None


def test_bad_annotations_are_refused_and_good_ones_heard(pods: Pods, injector: InjectorProcess) -> None:
    """With a sentence that says what would be right."""
    status, answer = pods.create("bad", {"l1-mbi": "64"})
    assert (status, answer["reason"]) == (DENIED, "AnnotationInvalid")
    assert "did you mean pannier.dev/l1-mib?" in answer["message"]
    sidecar = sidecar_of(pods.made("good", {"l1-mib": "64", "cpu": "250m"}))
    assert sidecar is not None
    assert sidecar["resources"]["requests"] == {"cpu": "250m", "memory": "240Mi"}
    assert "--l1-bytes=64MiB" in sidecar["args"]


@pytest.mark.parametrize("name", ["port", "own"])
def test_pods_that_cannot_have_one_run_without(
    pods: Pods, injector: InjectorProcess, tmp_path: Path, name: str
) -> None:
    """The warning reaches whoever creates the pod."""
    spec: dict[str, Any] = {"containers": [a_container() | {"ports": [{"containerPort": 8471}]}]}
    if name == "own":
        own = a_container("pannier-sidecar") | {"restartPolicy": "Always"}
        spec = {"initContainers": [own]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"pannier.dev/inject": "true"}},
    }
    pod["spec"] = {"containers": [a_container()], "automountServiceAccountToken": False, **spec}
    (tmp_path / "pod.yaml").write_text(as_yaml([pod]))
    said = pods.api.shell(f"kubectl create --namespace {pods.namespace} -f pod.yaml 2>&1", tmp_path)
    assert "no Pannier sidecar was added" in said
    stored = pods.api.call("GET", f"{pods.path}/{name}")[1]
    assert [c["image"] for c in stored["spec"].get("initContainers", ())] == (
        [IMAGE] if name == "own" else []
    )


def test_quotas_and_limits_of_a_namespace_are_met(pods: Pods, injector: InjectorProcess) -> None:
    """A ResourceQuota takes only pods whose containers all say what they need."""
    namespace = pods.path.removesuffix("/pods")
    hard = {"requests.cpu": "1", "requests.memory": "2Gi", "limits.memory": "2Gi"}
    quota = {"metadata": {"name": "team"}, "spec": {"hard": hard}}
    assert pods.api.call("POST", f"{namespace}/resourcequotas", quota)[0] == CREATED
    limits = [{"type": "Container", "max": {"memory": "1Gi"}, "default": {"memory": "32Mi"}}]
    ranged = {"metadata": {"name": "team"}, "spec": {"limits": limits}}
    assert pods.api.call("POST", f"{namespace}/limitranges", ranged)[0] == CREATED
    status, answer = pods.create("app")
    assert status == CREATED or "status unknown for quota" in answer["message"], answer


def test_a_job_with_a_sidecar_is_a_job_that_ends(pods: Pods, injector: InjectorProcess) -> None:
    """Its pods restart never, and the sidecar is native: Kubernetes ends it after the app."""
    pod = pods.made("job", spec={"restartPolicy": "Never"})
    sidecar = sidecar_of(pod)
    assert sidecar is not None
    assert (pod["spec"]["restartPolicy"], sidecar["restartPolicy"]) == ("Never", "Always")


def test_while_no_webhook_answers_pods_start_without(pods: Pods, injector: InjectorProcess) -> None:
    """The chart's default, Ignore: nobody's deployment waits for it."""
    injector.close()
    assert sidecar_of(pods.made("app")) is None


def test_with_fail_only_pods_that_ask_are_refused_while_no_webhook_answers(
    api_server: ApiServer, pods: Pods, tmp_path: Path
) -> None:
    """Others never wait for it; nor do those of kube-system and of the release's namespace."""
    objects, authority = render(VALUES | {"injection": {"failurePolicy": "Fail"}}), Authority()
    with (
        InjectorProcess(tmp_path / "injector", objects, authority.server(HOST)) as process,
        hooked(api_server, objects, process, authority.certificate),
    ):
        until_injecting(api_server)
        process.kill()
        status, answer = pods.create("asking")
        assert status == INTERNAL_ERROR
        assert "failed calling webhook" in answer["message"]
        assert sidecar_of(pods.made("silent", labels={})) is None
        assert Pods(api_server, "kube-system").create("asking", dry_run=True)[0] == CREATED
        process.restart()
        api_server.wait_until(lambda: pods.create("again", dry_run=True)[0] == CREATED)
