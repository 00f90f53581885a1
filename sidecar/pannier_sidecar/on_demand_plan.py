"""Who computes a group that is not stored: ``spec.onDemand`` of the catalog, compiled."""

from __future__ import annotations

from typing import Literal

import msgspec

from pannier.catalog import CatalogGroup, CatalogInput
from pannier.errors import Problem, SpecInvalid


class _Service(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    port: int
    scheme: Literal["HTTP", "HTTPS"]
    path: str
    namespace: str | None = None


class _OnDemand(msgspec.Struct, frozen=True, rename="camel"):
    """``onDemand`` of a catalog, as far as this release knows it."""

    service: _Service
    timeout_milliseconds: int
    max_concurrency: int
    on_failure: Literal["Unknown", "Fail"]
    inputs: tuple[CatalogInput, ...] = ()


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
    inputs: tuple[CatalogInput, ...] = ()
    """What is read of other groups before the call, and passed along."""


def server_plan(group: CatalogGroup) -> ServerPlan | None:
    """The feature server of a group; None = it is stored. Raises `SpecInvalid` for one of a later release."""
    if group.on_demand is None:
        return None
    try:
        spec = msgspec.convert(group.on_demand, _OnDemand)
    except msgspec.ValidationError as error:
        message = f"is not known to this release: {error}"
        raise SpecInvalid(
            [Problem(f"groups.{group.group_name}.onDemand", "GroupUnreadable", message)]
        ) from error
    service = spec.service
    return ServerPlan(
        address=ServerAddress(
            scheme=service.scheme.lower(),
            service=service.name,
            namespace=service.namespace or group.namespace,
            port=service.port,
            path=service.path,
        ),
        timeout_seconds=spec.timeout_milliseconds / 1_000,
        max_concurrency=spec.max_concurrency,
        fails_request=spec.on_failure == "Fail",
        inputs=spec.inputs,
    )
