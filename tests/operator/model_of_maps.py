"""ConfigMaps of catalogs as an API server keeps them, to be damaged, removed and made unreachable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pannier.catalog_rendering import parse
from pannier_operator.errors import KubeFault
from pannier_operator.kube.config_maps import StoredCatalog, split

_DOWN: Final = KubeFault(0, "NoAnswer", "unreachable")


class ModelMaps:
    """The catalogs of all namespaces; each revision that was ever there is remembered."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, str]] = {}
        self.revisions: dict[str, list[int]] = {}
        self.gone: set[str] = set()
        self.reachable = True

    async def namespaces(self) -> list[str]:
        """Every namespace with a catalog."""
        self._must_be_reachable()
        return list(self.data)

    async def read(self, namespace: str) -> StoredCatalog | None:
        """A catalog whole."""
        self._must_be_reachable()
        data = self.data.get(namespace)
        return None if data is None else StoredCatalog(dict(data), len(split(data)) if data else 1)

    async def write(
        self, namespace: str, data: Mapping[str, str], *, annotations: Mapping[str, str], maps_before: int
    ) -> int:
        """Replace a catalog."""
        del annotations, maps_before
        self._must_be_reachable()
        if namespace in self.gone:
            raise KubeFault(404, "NotFound", f"namespaces {namespace!r} not found")
        self.data[namespace] = dict(data)
        self.revisions.setdefault(namespace, []).append(self.revision(namespace))
        return len(split(data))

    @property
    def writes(self) -> int:
        """How often anything was written."""
        return sum(map(len, self.revisions.values()))

    def revision(self, namespace: str) -> int:
        """The revision that stands."""
        return parse(self._files(namespace)).catalog.revision

    def served(self, namespace: str) -> dict[str, tuple[str, int]]:
        """What sidecars are told: resource and hard TTL by groupName."""
        if namespace not in self.data:
            return {}
        groups = parse(self._files(namespace)).catalog.groups
        return {group.group_name: (group.resource, group.policy.local.hard_ttl_seconds) for group in groups}

    def _files(self, namespace: str) -> dict[str, bytes]:
        return {name: text.encode() for name, text in self.data[namespace].items()}

    def _must_be_reachable(self) -> None:
        if not self.reachable:
            raise _DOWN
