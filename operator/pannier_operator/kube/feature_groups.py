"""FeatureGroups on the API server: list, status by server-side apply, finalizer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION, KIND
from pannier_operator.kube.api_client import METADATA_ONLY, KubeApi

_ALL: Final = f"/apis/{API_VERSION}"


def path_of(namespace: str, name: str = "") -> str:
    """Make the path of one group, or of all in a namespace."""
    return f"{_ALL}/namespaces/{namespace}/{PLURAL}{f'/{name}' if name else ''}"


class FeatureGroups:
    """FeatureGroups of some namespaces; of all where none are named."""

    def __init__(self, api: KubeApi, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._paths = [path_of(namespace) for namespace in namespaces] or [f"{_ALL}/{PLURAL}"]

    async def all(self) -> AsyncIterator[dict[str, Any]]:
        """Every group, whole."""
        async for group in self._listed("application/json"):
            yield {"apiVersion": API_VERSION, "kind": KIND, **group}

    async def all_metadata(self) -> AsyncIterator[dict[str, Any]]:
        """Metadata of every group: little enough to be asked for often."""
        async for group in self._listed(METADATA_ONLY):
            yield group

    async def _listed(self, accept: str) -> AsyncIterator[dict[str, Any]]:
        for path in self._paths:
            async for item in self._api.items(path, accept=accept):
                yield item

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """Read one group as it is now."""
        return await self._api.get(path_of(namespace, name))

    async def apply_status(
        self, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Say all that is known; ``uid`` keeps it from another life of the same name."""
        metadata = {"name": name, "namespace": namespace, "uid": uid}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": status}
        return await self._api.apply(f"{path_of(namespace, name)}/status", body)

    async def set_finalizers(
        self, namespace: str, name: str, finalizers: Sequence[str], resource_version: str
    ) -> dict[str, Any]:
        """Replace the list, if nobody changed the object meanwhile: others may have finalizers too."""
        metadata = {"finalizers": list(finalizers), "resourceVersion": resource_version}
        return await self._api.merge(path_of(namespace, name), {"metadata": metadata})

    def __repr__(self) -> str:
        return f"<FeatureGroups under {', '.join(self._paths)}>"
