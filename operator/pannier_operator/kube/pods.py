"""Pods that ask for a sidecar, as the API server knows them; and their eviction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from pannier_operator.errors import KubeFault
from pannier_operator.injection.wishes import INJECTED
from pannier_operator.kube.api_client import METADATA_ONLY, KubeApi

_ASKED: Final = "pannier.dev/inject=true"
_SILENT: Final = "!pannier.dev/inject"
_UNTOUCHED: Final = ("kube-system", "kube-public", "kube-node-lease")
_SERVICE: Final = "kubernetes.io/service-name"


class InjectedPod(NamedTuple):
    """A pod that was given a sidecar and runs."""

    name: str
    created: datetime


class Pods:
    """Pods of some namespaces; of all where none are named."""

    def __init__(self, api: KubeApi, namespaces: Sequence[str], home: str) -> None:
        """``home``: the release's namespace, in which nothing is injected."""
        self._api = api
        self._namespaces = namespaces
        self._home = home

    async def asking(self) -> AsyncIterator[dict[str, Any]]:
        """Metadata of every pod that asks for a sidecar, by its own label or its namespace's."""
        for path in [f"/api/v1/namespaces/{name}/pods" for name in self._namespaces] or ["/api/v1/pods"]:
            async for pod in self._api.items(path, {"labelSelector": _ASKED}, accept=METADATA_ONLY):
                if pod["metadata"]["namespace"] not in {*_UNTOUCHED, self._home}:
                    yield pod
        if self._namespaces:
            return  # whose labels may not be read then
        async for namespace in self._api.items(
            "/api/v1/namespaces", {"labelSelector": _ASKED}, accept=METADATA_ONLY
        ):
            name = namespace["metadata"]["name"]
            if name in {*_UNTOUCHED, self._home}:
                continue
            path = f"/api/v1/namespaces/{name}/pods"
            async for pod in self._api.items(path, {"labelSelector": _SILENT}, accept=METADATA_ONLY):
                yield pod

    async def injected(self, namespace: str) -> list[InjectedPod]:
        """Those of a namespace that run, and are not on their way out. Raises `KubeFault`."""
        path, params = f"/api/v1/namespaces/{namespace}/pods", {"fieldSelector": "status.phase=Running"}
        found = []
        async for pod in self._api.items(path, params, accept=METADATA_ONLY):
            metadata = pod["metadata"]
            if INJECTED in (metadata.get("annotations") or {}) and not metadata.get("deletionTimestamp"):
                created = datetime.fromisoformat(metadata["creationTimestamp"])
                found.append(InjectedPod(metadata["name"], created))
        return found

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read one whole; None = it is gone."""
        try:
            return await self._api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        except KubeFault as fault:
            if fault.is_missing:
                return None
            raise

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        """Ask for the end of this very pod; False where its disruption budget says not now."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)
        except KubeFault as fault:
            if fault.status == HTTPStatus.TOO_MANY_REQUESTS or fault.is_missing or fault.is_conflict:
                return False
            raise
        return True

    async def is_served(self, service: str) -> bool:
        """Whether a Service of the release has an endpoint that is ready."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self._home}/endpointslices"
        async for piece in self._api.items(path, {"labelSelector": f"{_SERVICE}={service}"}):
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready", True):
                    return True
        return False

    def __repr__(self) -> str:
        return f"<Pods of {', '.join(self._namespaces) or 'all namespaces'}>"
