"""Catalogs on the API server: ConfigMaps by server-side apply, the manifest last.

The manifest and the first shard are in ``pannier-catalog``, further shards in ``pannier-catalog-001`` and on:
names that are known beforehand, so that a pod can mount them all in one projected volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pannier.catalog_rendering import MANIFEST
from pannier_operator.catalogs.scope import not_published_in
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import FIELD_MANAGER, METADATA_ONLY, KubeApi

NAME: Final = "pannier-catalog"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
DIGEST: Final = "pannier.dev/catalog-digest"
REVISION: Final = "pannier.dev/catalog-revision"
MAX_SHARDS: Final = 64
"""How many shards a namespace may have; 58 MB of specs."""


class NotOurs(KubeFault):
    """A ConfigMap of the catalog's name that Pannier did not make."""


@dataclass(frozen=True, slots=True)
class StoredCatalog:
    """The files of a namespace's catalog as they are."""

    data: Mapping[str, str]
    shard_maps: int
    """How many ConfigMaps hold them."""


def map_name(shard: int) -> str:
    """Name the ConfigMap of a shard."""
    return f"{NAME}-{shard:03d}" if shard else NAME


def split(data: Mapping[str, str]) -> list[dict[str, str]]:
    """Divide the files of a catalog: one ConfigMap per shard, the manifest with the first."""
    shards = sorted(name for name in data if name != MANIFEST)
    maps = [{name: data[name]} for name in shards] or [{}]
    maps[0] = {MANIFEST: data[MANIFEST], **maps[0]}
    return maps


class CatalogMaps:
    """Reads and writes the catalogs of some namespaces; of all where none are named."""

    def __init__(self, api: KubeApi, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._allowed = frozenset(namespaces)

    async def namespaces(self) -> list[str]:
        """Return every namespace that has a catalog of ours."""
        params = {"fieldSelector": f"metadata.name={NAME}"}
        folders = [f"/api/v1/namespaces/{name}/configmaps" for name in sorted(self._allowed)]
        return [
            item["metadata"]["namespace"]
            for folder in folders or ["/api/v1/configmaps"]
            async for item in self._api.items(folder, params, accept=METADATA_ONLY)
            if _is_ours(item)
        ]

    async def read(self, namespace: str) -> StoredCatalog | None:
        """Read a catalog whole; None = there is none. Raises `NotOurs` where somebody else's has its name."""
        outside = not_published_in(namespace, self._allowed)
        if outside is not None:
            raise KubeFault(0, "NotManaged", outside)
        data: dict[str, str] = {}
        for shard in range(MAX_SHARDS):
            try:
                found = await self._api.get(_path(namespace, map_name(shard)))
            except KubeFault as fault:
                if not fault.is_missing:
                    raise
                return StoredCatalog(data, shard) if shard else None
            if not _is_ours(found):
                message = f"ConfigMap {namespace}/{map_name(shard)} exists and is not Pannier's"
                raise NotOurs(0, "NotOurs", message)
            data |= found.get("data") or {}
        return StoredCatalog(data, MAX_SHARDS)

    async def write(
        self, namespace: str, data: Mapping[str, str], *, annotations: Mapping[str, str], maps_before: int
    ) -> int:
        """Write a catalog: shards, then the manifest, then what is no longer needed. Returns how many."""
        maps = split(data)
        for shard, files in reversed(list(enumerate(maps))):
            metadata = {
                "name": map_name(shard),
                "namespace": namespace,
                "labels": {MANAGED_BY: FIELD_MANAGER},
                "annotations": dict(annotations) if shard == 0 else {},
            }
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}
            await self._api.apply(_path(namespace, map_name(shard)), body)
        for shard in range(len(maps), maps_before):
            await self._api.delete(_path(namespace, map_name(shard)))
        return len(maps)

    def __repr__(self) -> str:
        return f"<CatalogMaps over {self._api!r}>"


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _is_ours(found: Mapping[str, Any]) -> bool:
    labels = found["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == FIELD_MANAGER
