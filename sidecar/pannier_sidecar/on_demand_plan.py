"""Who computes a group that is not stored: ``spec.onDemand`` of the catalog, compiled."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pannier.catalog import CatalogGroup

_SCHEMES: Final = {"HTTP": "http", "HTTPS": "https"}


class ServerAddress(msgspec.Struct, frozen=True):
    """One path of one Service. There are no free URLs: whom a sidecar may call is what a cluster declares."""

    scheme: str
    service: str
    namespace: str
    port: int
    path: str

    @property
    def host(self) -> str:
        """The Service's name in the cluster's DNS."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def url(self) -> str:
        """Where the request goes."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


class ServerPlan(msgspec.Struct, frozen=True):
    """How one group's feature server is called."""

    address: ServerAddress
    timeout_seconds: float
    max_concurrency: int
    fails_request: bool
    """Whether a read that it does not answer fails the whole request."""


def server_plan(group: CatalogGroup) -> ServerPlan | None:
    """The feature server of a group; None = it is stored."""
    spec: dict[str, Any] | None = group.on_demand
    if spec is None:
        return None
    service: dict[str, Any] = spec["service"]
    return ServerPlan(
        address=ServerAddress(
            scheme=_SCHEMES[service["scheme"]],
            service=service["name"],
            namespace=service.get("namespace") or group.namespace,
            port=service["port"],
            path=service["path"],
        ),
        timeout_seconds=spec["timeoutMilliseconds"] / 1_000,
        max_concurrency=spec["maxConcurrency"],
        fails_request=spec["onFailure"] == "Fail",
    )
