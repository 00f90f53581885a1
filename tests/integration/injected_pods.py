"""Pods of a real API server and the webhook that gives them sidecars, as a child process with real TLS."""

from __future__ import annotations

import base64
import contextlib
import http.client
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.certificates import Pair
from tests.control_plane import ApiServer
from tests.helm import Object, pick
from tests.integration.chart_release import RESTRICTED, as_yaml
from tests.servers import HOST, Server, free_port

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
IMAGE = "registry.internal/app:1"
VALUES = {"injection": {"mode": "Webhook"}, "sidecar": {"redisUrlSecret": {"name": "redis"}}}
OK, CREATED, DENIED = 200, 201, 403


class InjectorProcess(Server):
    """``pannier webhook`` with the template that the chart renders."""

    name = "pannier-webhook"

    def __init__(self, folder: Path, objects: list[Object], pair: Pair) -> None:
        super().__init__()
        self._folder = folder
        self.port_of_pods = free_port()
        folder.mkdir(exist_ok=True)
        template = pick(objects, "ConfigMap", "-injector")["data"]["sidecar.yaml"]
        (folder / "sidecar.yaml").write_text(template)
        self.renew(pair)

    def renew(self, pair: Pair) -> None:
        """Put another certificate there, as a kubelet does."""
        (self._folder / "tls.crt").write_text(pair.certificate)
        (self._folder / "tls.key").write_text(pair.key)

    def command(self) -> list[str]:
        pannier = str(Path(sys.executable).parent / "pannier")
        files = {"certificate": "tls.crt", "key": "tls.key", "template": "sidecar.yaml"}
        flags = [f"--{flag}={self._folder / file}" for flag, file in files.items()]
        return [
            pannier,
            "webhook",
            f"--listen={HOST}:{self.port_of_pods}",
            f"--admin={HOST}:{self.port}",
            *flags,
        ]

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
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def create(
        self,
        name: str,
        chosen: Mapping[str, str] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> tuple[int, Any]:
        """Create one pod, with annotations that choose; gives the answer of the API server."""
        annotations = {f"pannier.dev/{key}": value for key, value in (chosen or {}).items()}
        wanted = {"pannier.dev/inject": "true"} if labels is None else labels
        # the account's name is what an API server with the plugin ServiceAccount fills in
        account = {"serviceAccountName": "default", "automountServiceAccountToken": False}
        whole = {"containers": [a_container()], **account, **(spec or {})}
        metadata = {"name": name, "labels": wanted, "annotations": annotations}
        path = f"{self.path}?dryRun=All" if dry_run else self.path
        return self.api.call("POST", path, {"metadata": metadata, "spec": whole})

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
    assert "spec" in pod, pod
    found = [c for c in pod["spec"].get("initContainers", ()) if c["name"] == "pannier-sidecar"]
    return found[0] if found else None


def a_team(api: ApiServer) -> Pods:
    """Make a namespace where only restricted pods may run."""
    name = f"team-{free_port()}"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    api.wait_until(lambda: api.call("GET", f"/api/v1/namespaces/{name}")[0] == OK)
    return Pods(api, name)


@contextlib.contextmanager
def hooked(api: ApiServer, objects: list[Object], process: InjectorProcess, bundle: str) -> Iterator[None]:
    """Have the API server ask this process, by the chart's configuration but for its address."""
    hook = pick(objects, "MutatingWebhookConfiguration")
    encoded = base64.b64encode(bundle.encode()).decode()
    for one in hook["webhooks"]:
        path = one["clientConfig"].pop("service", {}).get("path", "/mutate")
        one["clientConfig"] = {"url": f"https://localhost:{process.port_of_pods}{path}", "caBundle": encoded}
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=as_yaml([hook]))
    try:
        yield
    finally:
        api.call("DELETE", f"{HOOKS}/{hook['metadata']['name']}")


def until_injecting(api: ApiServer) -> None:
    """Wait until the API server has heard of the webhook and trusts it."""
    probe, numbers = Pods(api, "default"), iter(range(1_000))

    def injects() -> bool:
        return sidecar_of(probe.create(f"probe-{next(numbers)}", dry_run=True)[1]) is not None

    api.wait_until(injects)
