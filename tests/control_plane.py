"""A real Kubernetes API server for the tests: etcd and kube-apiserver as child processes on loopback.

``make test-tools`` builds both (``e2e/controlplane``); ``KUBEBUILDER_ASSETS`` names others. No nodes and no
controllers: nothing runs pods, and a namespace that is deleted stays. RBAC decides who may do what; users are
made by `ApiServer.user`, and `tests.permissions` grants them their rights. `tests/conftest.py` hands it out.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import Authority, key_pem
from tests.servers import HOST, ROOT, TOOLS, Server, ServerFailed, free_port

WITHOUT = "PANNIER_NO_CONTROL_PLANE"
LEFT_OUT = bool(os.environ.get(WITHOUT))
CRD = ROOT / "crds" / "featuregroups.pannier.dev.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}

_READING = frozenset({"get", "list", "watch"})


def asset(name: str) -> str:
    """Path of a program of the control plane."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or TOOLS / "controlplane")
    if not (folder / name).exists():
        raise ServerFailed(
            f"{folder} holds no {name}; `make test-tools` builds it. To test without Kubernetes: {WITHOUT}=1"
        )
    return str(folder / name)


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows by a client certificate."""

    name: str
    kubeconfig: Path
    pair: Path
    """Certificate and key in one file."""


class Etcd(Server):
    """etcd that keeps nothing for long."""

    name = "etcd"

    def command(self) -> list[str]:
        peer = f"http://{HOST}:{free_port()}"
        options = {
            "data-dir": str(self.directory / "data"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        return [
            asset("etcd"),
            "--unsafe-no-fsync",
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()

    def compact(self, revision: int) -> None:
        """Forget all history before a revision."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            body = json.dumps({"revision": str(revision), "physical": True})
            connection.request("POST", "/v3/kv/compaction", body)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise ServerFailed(f"etcd does not compact: {answer.read().decode()}")
        finally:
            connection.close()


class ApiServer(Server):
    """kube-apiserver with RBAC, an authority of its own and an administrator."""

    name = "kube-apiserver"

    def __init__(self, etcd: Etcd) -> None:
        super().__init__()
        self._etcd = etcd
        self._authority = Authority()
        server = self._authority.server(HOST)
        self._write("ca.crt", self._authority.certificate)
        self._write("server.crt", server.certificate)
        self._write("server.key", server.key)
        self._write("service-account.key", key_pem(ec.generate_private_key(ec.SECP256R1())))
        self._write("audit.yaml", yaml.safe_dump(_AUDIT))

    def command(self) -> list[str]:
        options = {
            "etcd-servers": self._etcd.url,
            "bind-address": HOST,
            "advertise-address": HOST,
            "secure-port": str(self.port),
            "client-ca-file": self._file("ca.crt"),
            "tls-cert-file": self._file("server.crt"),
            "tls-private-key-file": self._file("server.key"),
            "authorization-mode": "RBAC",
            # nobody makes service accounts here, and pods are never run
            "disable-admission-plugins": "ServiceAccount",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._file("service-account.key"),
            "service-account-signing-key-file": self._file("service-account.key"),
            "service-cluster-ip-range": "10.0.0.0/24",
            "endpoint-reconciler-type": "none",
            "audit-policy-file": self._file("audit.yaml"),
            "audit-log-path": self._file("audit.log"),
        }
        return [asset("kube-apiserver"), *(f"--{name}={value}" for name, value in options.items())]

    def _launch(self) -> None:
        self.admin = self.user("admin", ["system:masters"])
        super()._launch()

    def _file(self, name: str) -> str:
        return str(self.directory / name)

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def compact(self, revision: int) -> None:
        """Have etcd forget what was before a resourceVersion; watches of it end once the cache is new."""
        self._etcd.compact(revision)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"https://{HOST}:{self.port}"

    def answers(self) -> bool:
        status, _ = self.call("GET", "/readyz")
        return status == http.client.OK

    def user(self, name: str, groups: Sequence[str] = ()) -> User:
        """Make a user, who may do nothing yet."""
        pair = self._authority.client(name, groups)
        config = kubeconfig(self.address, self._authority.certificate, (pair.certificate, pair.key))
        return User(
            name=name,
            kubeconfig=self._write(f"{name}.kubeconfig", yaml.safe_dump(config)),
            pair=self._write(f"{name}.pem", pair.certificate + pair.key),
        )

    def trust(self, user: User | None = None) -> ssl.SSLContext:
        """Who this server is, and who asks it: the administrator by default."""
        context = ssl.create_default_context(cafile=self._file("ca.crt"))
        context.load_cert_chain((user or self.admin).pair)
        return context

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        *,
        user: User | None = None,
    ) -> tuple[int, Any]:
        """One request, the administrator's by default; gives status and decoded answer (text if no JSON)."""
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=30, context=self.trust(user))
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Content-Type": content}
            )
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(text) if is_json else text
        finally:
            connection.close()

    def make(self, path: str, manifest: dict[str, Any]) -> Any:
        """Make an object, as administrator."""
        status, answer = self.call("POST", path, manifest)
        if status != http.client.CREATED:
            raise ServerFailed(f"{path}: {status} {answer}")
        return answer

    def kubectl(
        self, *arguments: str, user: User | None = None, text: str = "", folder: Path | None = None
    ) -> str:
        """Run kubectl, the administrator's by default, with text as its input; gives what it prints."""
        done = subprocess.run(
            [asset("kubectl"), *arguments],
            input=text,
            cwd=folder or self.directory,
            env=self._environment(user or self.admin),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def shell(self, script: str, folder: Path) -> str:
        """Run commands that call kubectl as somebody types them, as administrator; gives what they print."""
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=folder,
            env=self._environment(self.admin),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"{script}: {done.stderr}")
        return done.stdout

    def _environment(self, user: User) -> dict[str, str]:
        """Variables of a kubectl that neither reads nor writes the ~/.kube of whoever runs the tests."""
        programs = os.pathsep.join([str(Path(asset("kubectl")).parent), os.environ.get("PATH", os.defpath)])
        return {"PATH": programs, "HOME": str(self.directory), "KUBECONFIG": str(user.kubeconfig)}

    def refusals(self, user: User) -> list[str]:
        """What a user asked for without having the right to."""
        return [
            f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message', '')}"
            for event in self._audited(user)
            if event.get("responseStatus", {}).get("code") == http.client.FORBIDDEN
        ]

    def writes(self, user: User) -> list[str]:
        """What a user changed or tried to, but for Leases, whose renewal is how a leader stays one."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self._audited(user)
            if event["verb"] not in _READING and event.get("objectRef", {}).get("resource") != "leases"
        ]

    def _audited(self, user: User) -> Iterator[dict[str, Any]]:
        logs = sorted(self.directory.glob("audit*.log"))  # the server begins a new one every 100 MB
        told = (json.loads(line) for log in logs for line in log.read_text().splitlines())
        return (event for event in told if event["user"]["username"] == user.name)


def kubeconfig(server: str, authority: str, pair: tuple[str, str]) -> dict[str, Any]:
    """Compose the file by which clients find a server and say who they are."""
    certificate, key = (base64.b64encode(part.encode()).decode() for part in pair)
    trusted = base64.b64encode(authority.encode()).decode()
    user = {"client-certificate-data": certificate, "client-key-data": key}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}
        ],
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": trusted}}],
        "users": [{"name": "test", "user": user}],
    }


@contextlib.contextmanager
def a_control_plane() -> Iterator[ApiServer]:
    """Start an API server that serves FeatureGroups."""
    with Etcd() as etcd, ApiServer(etcd) as server:
        manifest = yaml.safe_load(CRD.read_text(encoding="utf-8"))
        server.make(CRDS, manifest)
        version = manifest["spec"]["versions"][0]["name"]
        groups = f"/apis/{manifest['spec']['group']}/{version}/{manifest['spec']['names']['plural']}"
        server.wait_until(lambda: server.call("GET", groups)[0] == http.client.OK)
        yield server
