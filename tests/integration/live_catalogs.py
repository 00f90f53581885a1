"""Sidecars as in pods of a namespace: a token that proves it, a mounted catalog, the operator's address.

A mounted volume is played by a directory of the test's own: whether, and when, an edit gets there is for the
test to say. Everything else is real: the operator's process, its TLS, tokens of the API server.
"""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.integration.operator_cluster import Cluster, OperatorProcess, an_operator
from tests.servers import HOST, Server, free_port

AUDIENCE = "pannier.dev"
OK = 200


class FeedingOperator:
    """An operator whose catalog endpoint has a certificate of the test's own authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.port = free_port()
        pair = self.authority.server(HOST)
        self.files = {name: folder / name for name in ("tls.crt", "tls.key", "ca.crt")}
        self.files["tls.crt"].write_text(pair.certificate)
        self.files["tls.key"].write_text(pair.key)
        self.files["ca.crt"].write_text(self.authority.certificate)

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

    def __init__(self, folder: Path, operator: FeedingOperator, token: str) -> None:
        super().__init__()
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
            "store": "embedded",
            "data-dir": self.mounted.parent / "data",
            "operator-url": self.operator_url,
            "operator-ca": self.authority,
            "operator-token": self.token,
            "log-format": "json",
        }
        return [pannier, "serve", *(f"--{name}={value}" for name, value in flags.items())]

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
