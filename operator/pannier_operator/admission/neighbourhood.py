"""Asks the API server who is around a request: groups of the same groupName, and namespaces that are not.

Nothing is kept between requests, so every replica answers alike, whether it leads or stands by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION, KIND
from pannier_operator.admission.asking import Ask, Neighbour, neighbour_of
from pannier_operator.admission.verdict import Known
from pannier_operator.cluster_identity import find_cluster_id
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.feature_groups import path_of


class Neighbourhood:
    """What the API server knows around one request."""

    def __init__(
        self, api: KubeApi, namespaces: Sequence[str], *, cluster_id: str | None, table_prefix: str
    ) -> None:
        self._api = api
        self._scope = tuple(namespaces)
        self._cluster_id = cluster_id
        self._table_prefix = table_prefix

    async def around(self, ask: Ask) -> Known:
        """Look around; raises `KubeFault`."""
        if self._cluster_id is None:
            self._cluster_id = await find_cluster_id(self._api)
        others = [neighbour async for neighbour in self._others(ask)]
        name = ask.group.spec.group_name
        return Known(
            cluster_id=self._cluster_id,
            neighbours=tuple(other for other in others if other.group.spec.group_name == name),
            readable=tuple(other.entry for other in others if other.is_published) if ask.reads_anew else (),
            scope=self._scope,
            missing=await self._missing(ask.namespaces),
        )

    async def _others(self, ask: Ask) -> AsyncIterator[Neighbour]:
        """Groups of the same groupName; all there are where it depends on what they read."""
        query = {"fieldSelector": f"spec.groupName={ask.group.spec.group_name}"} if not ask.reads_anew else {}
        folders = [path_of(namespace) for namespace in self._scope] or [f"/apis/{API_VERSION}/{PLURAL}"]
        for folder in folders:
            async for item in self._api.items(folder, query):
                neighbour = self._neighbour(item)
                if neighbour is not None and neighbour.entry.key != ask.entry.key:
                    yield neighbour

    def _neighbour(self, item: dict[str, Any]) -> Neighbour | None:
        return neighbour_of({"apiVersion": API_VERSION, "kind": KIND, **item}, self._table_prefix)

    async def _missing(self, namespaces: Sequence[str]) -> frozenset[str]:
        """Find those that are not there; who may not look finds none."""
        found = await asyncio.gather(*map(self._is_missing, namespaces))
        return frozenset(name for name, missing in zip(namespaces, found, strict=True) if missing)

    async def _is_missing(self, namespace: str) -> bool:
        try:
            await self._api.get(f"/api/v1/namespaces/{namespace}")
        except KubeFault as fault:
            return fault.is_missing
        return False

    def __repr__(self) -> str:
        return f"<Neighbourhood of {', '.join(self._scope) or 'all namespaces'}>"
