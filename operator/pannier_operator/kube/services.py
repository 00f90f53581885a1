"""Services and the pods behind them, as the API server knows them."""

from __future__ import annotations

from typing import Any, Final

from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi

_SERVICE: Final = "kubernetes.io/service-name"


class Services:
    """Reads Services; never a pod."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read one; None = there is none. Raises `KubeFault`."""
        try:
            return await self._api.get(f"/api/v1/namespaces/{namespace}/services/{name}")
        except KubeFault as fault:
            if fault.is_missing:
                return None
            raise

    async def slices(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """List the EndpointSlices of one. Raises `KubeFault`."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        return [piece async for piece in self._api.items(path, {"labelSelector": f"{_SERVICE}={name}"})]

    def __repr__(self) -> str:
        return f"<Services over {self._api!r}>"
