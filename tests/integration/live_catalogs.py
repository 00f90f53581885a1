"""Sidecars as in pods of a namespace: a token that proves it, a mounted catalog, the operator's address.

A mounted volume is played by a directory of the test's own: whether, and when, an edit gets there is for the
test to say. Everything else is real: the operator's process, its TLS, tokens of the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.certificates import Authority
from tests.integration.operator_cluster import Cluster, OperatorProcess, an_operator
from tests.servers import HOST, Server, free_port

AUDIENCE = "pannier.dev"
OK = 200


class FeedingOperator:
    """An operator whose catalog endpoint has a certificate of the test's own; owned through ``with``."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        # held, and not listened at: an operator that starts later must find it free
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((HOST, 0))
        self.port = self._held.getsockname()[1]
        pair = self.authority.server(HOST)
        self.files = {name: folder / name for name in ("tls.crt", "tls.key", "ca.crt")}
        self.files["tls.crt"].write_text(pair.certificate)
        self.files["tls.key"].write_text(pair.key)
        self.files["ca.crt"].write_text(self.authority.certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def url(self) -> str:
        """Where sidecars find it."""
        return f"https://{HOST}:{self.port}"

    def flags(self) -> dict[str, str]:
        """What it takes beside what every operator takes."""
        return {
            "catalog_feed": f"{HOST}:{self.port}",
            "catalog_authority": str(self.files["ca.crt"]),
            "admission_certificate": str(self.files["tls.crt"]),
            "admission_key": str(self.files["tls.key"]),
            "catalog_delay_ms": "20",
        }

    @contextlib.asynccontextmanager
    async def running(self, cluster: Cluster, **flags: str) -> AsyncIterator[OperatorProcess]:
        """A replica with it."""
        async with an_operator(cluster, **{**self.flags(), **flags}) as operator:
            yield operator


class PodSidecar(Server):
    """``pannier serve`` as the injector would start it in a pod."""

    name = "pannier-sidecar"

    def __init__(
        self, folder: Path, operator: FeedingOperator, token: str, *, dynamodb_url: str | None = None
    ) -> None:
        """``dynamodb_url``: None = rows are in a file of its own."""
        super().__init__()
        self._dynamodb_url = dynamodb_url
        self.mounted = folder / "catalog"
        self.mounted.mkdir(parents=True)
        self.token = folder / "token"
        self.token.write_text(token)
        self.operator_url = operator.url
        self.authority = operator.files["ca.crt"]
        self.data = free_port()

    def command(self) -> list[str]:
        pannier = str(Path(sys.executable).parent / "pannier")
        flags = {
            "catalog": self.mounted,
            "http": f"{HOST}:{self.data}",
            "admin": f"{HOST}:{self.port}",
            **self._store(),
            "operator-url": self.operator_url,
            "operator-token": self.token,
            "log-format": "json",
        }
        return [pannier, "serve", *(f"--{name}={value}" for name, value in flags.items())]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PANNIER_OPERATOR_AUTHORITY": self.authority.read_text()}

    def _store(self) -> dict[str, Any]:
        if self._dynamodb_url is None:
            return {"store": "embedded", "data-dir": self.mounted.parent / "data"}
        return {"store": "dynamodb", "dynamodb-endpoint-url": self._dynamodb_url}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/livez", timeout=5) as answer:
                return bool(answer.status == OK)
        except OSError:
            return False

    def status(self) -> Any:
        """What it says of itself."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/v1/status", timeout=5) as answer:
            return json.load(answer)

    def soft_ttl(self, group: str) -> int | None:
        """The soft TTL by which it serves a group; None = it does not serve it."""
        for one in self.status()["groups"]:
            if one["group"] == group:
                return int(one["policy"]["local"]["softTTLSeconds"])
        return None


S = TypeVar("S", bound=PodSidecar)


async def a_token(cluster: Cluster, pod: str, namespace: str = "", audience: str = AUDIENCE) -> str:
    """What a kubelet would mount into a pod: made by the API server, bound to the pod."""
    where = f"/api/v1/namespaces/{namespace or cluster.namespace}"
    if not await cluster.exists(f"{where}/serviceaccounts/app"):
        await cluster.call("POST", f"{where}/serviceaccounts", {"metadata": {"name": "app"}})
    spec: dict[str, Any] = {"containers": [{"name": "app", "image": "app"}], "serviceAccountName": "app"}
    spec |= {"automountServiceAccountToken": False}
    made = await cluster.call("POST", f"{where}/pods", {"metadata": {"name": pod}, "spec": spec})
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": made["metadata"]["uid"]}
    asked = {"audiences": [audience], "boundObjectRef": bound, "expirationSeconds": 3600}
    answer = await cluster.call("POST", f"{where}/serviceaccounts/app/token", {"spec": asked})
    return str(answer["status"]["token"])


async def mount(cluster: Cluster, sidecar: PodSidecar) -> None:
    """Play the kubelet: the ConfigMap as it is now."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"
    for file, text in (await cluster.call("GET", path))["data"].items():
        (sidecar.mounted / file).write_text(text)


@contextlib.asynccontextmanager
async def running_in_pods(
    cluster: Cluster, make: Callable[[Path, str], S], folder: Path, *pods: str
) -> AsyncIterator[list[S]]:
    """Sidecars of pods that mount nothing; ``make`` takes a folder and the pod's token."""
    started: list[S] = []
    try:
        for pod in pods:
            sidecar = make(folder / pod, await a_token(cluster, pod))
            started.append(await asyncio.to_thread(sidecar.start))
        yield started
    except BaseException as error:
        for one in started:
            error.add_note(f"{one!r} said:\n{one.output}")
        raise
    finally:
        for one in started:
            await asyncio.to_thread(one.close)
