"""A real Kubernetes API server for the tests: etcd and kube-apiserver as child processes on loopback.

Both are taken from ``KUBEBUILDER_ASSETS``, the folder that envtest uses as well. No nodes, no controllers:
enough to learn what an API server thinks of a CustomResourceDefinition and of objects of it.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.servers import HOST, Server, ServerFailed, find_tool, free_port

TOKEN = "test-token"


def assets() -> Path | None:
    """Folder of etcd and kube-apiserver, if there is one."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(folder) if folder and (Path(folder) / "kube-apiserver").exists() else None


def _asset(name: str) -> str:
    folder = assets()
    if folder is None:
        raise ServerFailed(f"{name} is wanted, but KUBEBUILDER_ASSETS names no folder that holds it")
    return str(folder / name)


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
            _asset("etcd"),
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


class ApiServer(Server):
    """kube-apiserver that allows everything to the bearer of `TOKEN`."""

    name = "kube-apiserver"

    def __init__(self, etcd: Etcd) -> None:
        super().__init__()
        self._etcd = etcd
        self._key = self.directory / "service-account.key"
        (self.directory / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        make_key = [find_tool("openssl"), "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]
        subprocess.run([*make_key, str(self._key)], check=True, capture_output=True)

    def command(self) -> list[str]:
        options = {
            "etcd-servers": self._etcd.url,
            "bind-address": HOST,
            "advertise-address": HOST,
            "secure-port": str(self.port),
            "cert-dir": str(self.directory / "certificates"),
            "token-auth-file": str(self.directory / "tokens.csv"),
            "authorization-mode": "AlwaysAllow",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(self._key),
            "service-account-signing-key-file": str(self._key),
            "service-cluster-ip-range": "10.0.0.0/24",
            "endpoint-reconciler-type": "none",
        }
        return [_asset("kube-apiserver"), *(f"--{name}={value}" for name, value in options.items())]

    def answers(self) -> bool:
        status, _ = self.call("GET", "/readyz")
        return status == http.client.OK

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request; gives the status and the decoded answer (text where it is no JSON)."""
        # the certificate is the server's own of this run; nothing but this machine is talked to
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=30, context=context)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(text) if is_json else text
        finally:
            connection.close()
