"""Pods on a real API server that ask for a sidecar: the chart's webhook, as a process, over real HTTPS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import Authority
from tests.control_plane import ApiServer
from tests.helm import Object, pick, render
from tests.integration.chart_release import RESTRICTED, as_yaml
from tests.servers import HOST, Server, free_port

from pannier_sidecar.settings import load as sidecar_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
IMAGE = "registry.internal/app:1"
VALUES = {"injection": {"mode": "Webhook"}, "sidecar": {"redisUrlSecret": {"name": "redis"}}}
OK, CREATED, DENIED = 200, 201, 403


class InjectorProcess(Server):
    """``pannier webhook`` with the template that the chart renders."""

    name = "pannier-webhook"

    def __init__(self, folder: Path, objects: list[Object], authority: Authority) -> None:
        super().__init__()
        self._folder = folder
        self.address = f"{HOST}:{free_port()}"
        folder.mkdir(exist_ok=True)
        template = pick(objects, "ConfigMap", "-injector")["data"]["sidecar.yaml"]
        (folder / "sidecar.yaml").write_text(template)
        self.renew(authority)

    def renew(self, authority: Authority) -> None:
        """Put another certificate there, as a renewal does."""
        pair = authority.server(HOST)
        (self._folder / "tls.crt").write_text(pair.certificate)
        (self._folder / "tls.key").write_text(pair.key)

    def command(self) -> list[str]:
        pannier = str(Path(sys.executable).parent / "pannier")
        files = {"certificate": "tls.crt", "key": "tls.key", "template": "sidecar.yaml"}
        flags = [f"--{flag}={self._folder / file}" for flag, file in files.items()]
        return [pannier, "webhook", f"--listen={self.address}", f"--admin={HOST}:{self.port}", *flags]

    def answers(self) -> bool:
        return self.ask("/readyz")[0] == OK

    def ask(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=5)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


class Pods:
    """Pods of one namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api = api
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def create(
        self,
        name: str,
        chosen: Mapping[str, str] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> tuple[int, Any]:
        """Create one pod, with annotations that choose; gives the answer of the API server."""
        annotations = {f"pannier.dev/{key}": value for key, value in (chosen or {}).items()}
        wanted = {"pannier.dev/inject": "true"} if labels is None else labels
        whole = {"containers": [a_container()], "automountServiceAccountToken": False, **(spec or {})}
        metadata = {"name": name, "labels": wanted, "annotations": annotations}
        return self.api.call("POST", self.path, {"metadata": metadata, "spec": whole})

    def made(self, name: str, chosen: Mapping[str, str] | None = None, **parts: Any) -> Object:
        """Create one that is taken; gives it as it is stored."""
        status, answer = self.create(name, chosen, **parts)
        assert status == CREATED, answer
        stored: Object = self.api.call("GET", f"{self.path}/{name}")[1]
        return stored


def a_container(name: str = "app") -> dict[str, Any]:
    """Make one that may run under restricted Pod Security."""
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    return {"name": name, "image": IMAGE, "securityContext": security, "resources": resources}


def sidecar_of(pod: Object) -> Object | None:
    """The sidecar, if the pod has one."""
    found = [c for c in pod["spec"].get("initContainers", ()) if c["name"] == "pannier-sidecar"]
    return found[0] if found else None


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What the chart renders."""
    return render(VALUES)


@pytest.fixture
def injector(api_server: ApiServer, objects: list[Object], tmp_path: Path) -> Iterator[InjectorProcess]:
    """A running webhook, and an API server that asks it."""
    authority = Authority()
    with (
        InjectorProcess(tmp_path / "injector", objects, authority) as process,
        asked(api_server, objects, process, authority),
    ):
        yield process


@contextlib.contextmanager
def asked(
    api: ApiServer, objects: list[Object], process: InjectorProcess, authority: Authority
) -> Iterator[None]:
    """Have the API server ask this process, by the chart's configuration but for the address."""
    hook = pick(objects, "MutatingWebhookConfiguration")
    bundle = base64.b64encode(authority.certificate.encode()).decode()
    for one in hook["webhooks"]:
        path = one["clientConfig"].pop("service", {}).get("path", "/mutate")
        one["clientConfig"] = {"url": f"https://{process.address}{path}", "caBundle": bundle}
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=as_yaml([hook]))
    where = f"{HOOKS}/{hook['metadata']['name']}"
    try:
        probe = Pods(api, "default")
        numbers = iter(range(1_000))
        api.wait_until(lambda: sidecar_of(probe.made(f"probe-{process.port}-{next(numbers)}")) is not None)
        yield
    finally:
        api.call("DELETE", where)


@pytest.fixture
def pods(api_server: ApiServer, tmp_path: Path) -> Pods:
    """A namespace of its own, where only restricted pods may run."""
    name = f"team-{free_port()}"
    api_server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    api_server.wait_until(lambda: api_server.call("GET", f"/api/v1/namespaces/{name}")[0] == OK)
    return Pods(api_server, name)


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
    namespace = pods.path.split("/")[4]
    (tmp_path / "pod.yaml").write_text(as_yaml([pod]))
    said = pods.api.shell(f"kubectl create --namespace {namespace} -f pod.yaml 2>&1", tmp_path)
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


@contextlib.asynccontextmanager
async def in_flight(pods: Pods, count: int) -> AsyncIterator[asyncio.Task[list[tuple[int, Any]]]]:
    """Create pods one after the other, several at a time, while the block runs."""
    gate = asyncio.Semaphore(8)

    async def create(number: int) -> tuple[int, Any]:
        async with gate:
            return await asyncio.to_thread(pods.create, f"app-{number}")

    async def all_of_them() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(create(number) for number in range(count)))

    task = asyncio.create_task(all_of_them())
    try:
        yield task
    finally:
        await task


async def test_a_renewed_certificate_is_taken_up_while_pods_are_created(
    pods: Pods, injector: InjectorProcess, objects: list[Object]
) -> None:
    """Bundle of both authorities first, then the other pair: every pod gets its sidecar."""
    hook = pick(objects, "MutatingWebhookConfiguration")
    where = f"{HOOKS}/{hook['metadata']['name']}"
    async with in_flight(pods, 200) as created:
        stored = pods.api.call("GET", where)[1]
        other = Authority()
        for position, one in enumerate(stored["webhooks"]):
            old = base64.b64decode(one["clientConfig"]["caBundle"]).decode()
            both = base64.b64encode((old + other.certificate).encode()).decode()
            step = {"op": "replace", "path": f"/webhooks/{position}/clientConfig/caBundle", "value": both}
            assert pods.api.call("PATCH", where, [step], "application/json-patch+json")[0] == OK
        injector.renew(other)
        answers = await created
    assert {status for status, _ in answers} == {CREATED}
    assert all(sidecar_of(pod) for _, pod in answers)


def test_while_no_webhook_answers_pods_start_without(pods: Pods, injector: InjectorProcess) -> None:
    """The chart's default, Ignore: nobody's deployment waits for it."""
    injector.close()
    assert sidecar_of(pods.made("app")) is None
