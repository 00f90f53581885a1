"""From an edit to the catalog that holds it: a ledger of what is awaited, and the watch that settles it.

Catalogs are parsed as sidecars parse them, digests included, so one that no sidecar could use ends the run.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

from tests.scale.kube_client import KubeClient
from tests.scale.population import edit_of

from pannier.catalog_rendering import parse

CATALOGS = "/api/v1/configmaps"
ONLY_CATALOGS = {"fieldSelector": "metadata.name=pannier-catalog"}


class Arrivals:
    """Edits that are on their way, by group, and how long each took."""

    def __init__(self) -> None:
        self._due: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self.delays: list[float] = []
        self.catalogs = 0
        """Versions of catalogs that came."""

    def expect(self, group: str, edit: int, due: float) -> None:
        """From now on an edit is awaited, counted from when it was due."""
        self._due[group][edit] = due

    def note(self, edits: Mapping[str, int], now: float) -> None:
        """Take in a catalog, which has the latest edit of each group: earlier ones of it are in that."""
        self.catalogs += 1
        for group, latest in edits.items():
            awaited = self._due.get(group, {})
            for edit in [edit for edit in awaited if edit <= latest]:
                self.delays.append(now - awaited.pop(edit))

    @property
    def missing(self) -> int:
        """Edits that no catalog has yet."""
        return sum(len(awaited) for awaited in self._due.values())

    async def follow(self, kube: KubeClient) -> None:
        """Watch the catalogs of all namespaces, anew where the server ends the watch, as it may."""
        while True:
            await self._watch(kube)

    async def _watch(self, kube: KubeClient) -> None:
        async for found in kube.watch(CATALOGS, ONLY_CATALOGS):
            now = time.monotonic()
            parsed = parse({name: text.encode() for name, text in found["data"].items()})
            assert not parsed.rejected, parsed.rejected
            groups = parsed.catalog.groups
            latest = {group.resource: edit_of(group.policy.remote.hard_ttl_seconds) for group in groups}
            self.note(latest, now)

    def __repr__(self) -> str:
        return f"<Arrivals: {len(self.delays)} there, {self.missing} on their way>"
