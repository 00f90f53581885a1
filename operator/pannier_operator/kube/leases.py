"""The Lease of the leader: read, make, take over, renew, each guarded by resourceVersion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A Lease as it was seen."""

    holder: str
    renewed: str
    """Its renewTime, verbatim: compared, never read, since clocks of machines differ."""
    seconds: int
    transitions: int
    resource_version: str


class Leases:
    """One Lease by name. Does not ask whether this replica may write: it is how that is found out."""

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api = api
        self.namespace = namespace
        self._name = name

    @property
    def _folder(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"

    async def read(self) -> Lease | None:
        """Read it; None = there is none yet."""
        try:
            return _lease(await self._api.get(f"{self._folder}/{self._name}"))
        except KubeFault as fault:
            if fault.is_missing:
                return None
            raise

    async def write(self, holder: str, seconds: int, now: datetime, seen: Lease | None) -> Lease:
        """Make it, take it over or renew it; a `KubeFault` with `is_conflict` = somebody was quicker."""
        took_over = seen is not None and seen.holder != holder
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "renewTime": stamp,
            "leaseTransitions": (seen.transitions if seen else 0) + took_over,
        }
        if seen is None or took_over:
            spec["acquireTime"] = stamp
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
        if seen is None:
            return _lease(await self._api.create(self._folder, {**body, "spec": spec}))
        body["metadata"] = {"name": self._name, "resourceVersion": seen.resource_version}
        return _lease(await self._api.replace(f"{self._folder}/{self._name}", {**body, "spec": spec}))

    def __repr__(self) -> str:
        return f"<Leases {self.namespace}/{self._name}>"


def _lease(found: dict[str, Any]) -> Lease:
    spec = found.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        renewed=spec.get("renewTime") or "",
        seconds=spec.get("leaseDurationSeconds") or 0,
        transitions=spec.get("leaseTransitions") or 0,
        resource_version=found["metadata"]["resourceVersion"],
    )
