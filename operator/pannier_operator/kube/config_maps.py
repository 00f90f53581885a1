"""Catalogs on the API server: ConfigMaps, the manifest last.

They are made by server-side apply, since RBAC can allow that for their names only, and replaced from then on
if they are still as they were seen: that costs the API server half of an apply, and overwrites nobody unseen.

The manifest and the first shard are in ``pannier-catalog``, further shards in ``pannier-catalog-001`` and on:
names that are known beforehand, so that a pod can mount them all in one projected volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pannier.catalog_feed import BESIDE
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
    """Divide the files of a catalog: one ConfigMap per shard, what is about all with the first."""
    first = {name: data[name] for name in (MANIFEST, *BESIDE) if name in data}
    maps = [{name: data[name]} for name in sorted(data.keys() - first.keys())] or [{}]
    maps[0] = {**first, **maps[0]}
    return maps


class CatalogMaps:
    """Reads and writes the catalogs of some namespaces; of all where none are named."""

    def __init__(self, api: KubeApi, namespaces: Sequence[str] = ()) -> None:
        self._api = api
        self._allowed = frozenset(namespaces)
        self._seen: dict[str, dict[str, Any]] = {}

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
                self._seen.pop(_path(namespace, map_name(shard)), None)
                return StoredCatalog(data, shard) if shard else None
            if not _is_ours(found):
                message = f"ConfigMap {namespace}/{map_name(shard)} exists and is not Pannier's"
                raise NotOurs(0, "NotOurs", message)
            self._see(found)
            data |= found.get("data") or {}
        return StoredCatalog(data, MAX_SHARDS)

    async def write(
        self, namespace: str, data: Mapping[str, str], *, annotations: Mapping[str, str], maps_before: int
    ) -> int:
        """Write a catalog: shards, then the manifest, then what is no longer needed. Returns how many.

        Raises `KubeFault` with `is_conflict` where somebody changed it since it was read or written.
        """
        maps = split(data)
        for shard, files in reversed(list(enumerate(maps))):
            metadata = {
                "name": map_name(shard),
                "namespace": namespace,
                "labels": {MANAGED_BY: FIELD_MANAGER},
                "annotations": dict(annotations) if shard == 0 else {},
            }
            await self._put(_path(namespace, map_name(shard)), metadata, files)
        for shard in range(len(maps), maps_before):
            path = _path(namespace, map_name(shard))
            self._seen.pop(path, None)
            await self._api.delete(path)
        return len(maps)

    async def _put(self, path: str, metadata: Mapping[str, Any], files: Mapping[str, str]) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}
        seen = self._seen.pop(path, None)  # whatever comes of it, that is not how it is any more
        if seen is not None:
            try:
                self._see(await self._api.replace(path, {**body, "metadata": _added(seen, metadata)}))
            except KubeFault as fault:
                if not fault.is_missing:
                    raise
            else:
                return
        self._see(await self._api.apply(path, body))

    def _see(self, found: Mapping[str, Any]) -> None:
        """Keep the metadata of a ConfigMap: its version, and what others have added."""
        metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
        self._seen[_path(metadata["namespace"], metadata["name"])] = metadata

    def __repr__(self) -> str:
        return f"<CatalogMaps over {self._api!r}>"


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _added(seen: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Put our labels and annotations to those of others."""
    both = {kind: {**seen.get(kind, {}), **ours[kind]} for kind in ("labels", "annotations")}
    return {**seen, **both}


def _is_ours(found: Mapping[str, Any]) -> bool:
    labels = found["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == FIELD_MANAGER
