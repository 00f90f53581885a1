"""A resource that is being deleted: out of the catalogs, then its rows by deletionPolicy, then the finalizer.

Every step can be the last one before a crash: each looks first, and the finalizer goes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from pannier.spec import FeatureGroup
from pannier_operator.catalogs.group_index import GroupIndex, SeenGroup
from pannier_operator.catalogs.publisher import Publisher
from pannier_operator.clock import Clock
from pannier_operator.errors import AwsFault, KubeFault
from pannier_operator.kube.feature_groups import FeatureGroups
from pannier_operator.planning.claims import claim_of
from pannier_operator.planning.deletion import FINALIZER, Farewell, farewell_dedicated, farewell_shared
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.wanted import WantedTable
from pannier_operator.table_keeper import TableKeeper

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Leaving:
    """A resource on its way out, and the table its rows are in (None = none, or not known)."""

    seen: SeenGroup
    document: Mapping[str, Any]
    group: FeatureGroup | None
    table: WantedTable | None


class Farewells:
    """Takes leave of groups, one step a pass."""

    def __init__(
        self,
        keeper: TableKeeper,
        publisher: Publisher,
        groups: FeatureGroups,
        index: GroupIndex,
        clock: Clock,
    ) -> None:
        self._keeper = keeper
        self._publisher = publisher
        self._groups = groups
        self._index = index
        self._clock = clock

    async def step(self, leaving: Leaving) -> Farewell:
        """Do the next thing; ``done`` once the resource was let go. Raises `KubeFault`."""
        await self._publisher.withdraw(leaving.seen.key)
        if FINALIZER not in finalizers_of(leaving.document):
            return _let_go("nothing holds the resource")
        farewell = await self._rows(leaving)
        if farewell.done:
            await self.release(leaving.seen, leaving.document)
            _log.info("let_go", group=str(leaving.seen.key), because=farewell.finding.message)
        return farewell

    async def _rows(self, leaving: Leaving) -> Farewell:
        if leaving.group is None or leaving.table is None:
            return _let_go("its spec names no table that could be found; whatever there is stays")
        policy = leaving.group.spec.deletion_policy
        if policy == "Retain":
            return _let_go("deletionPolicy is Retain: the rows stay")
        try:
            farewell = await self._plan(leaving, leaving.group, leaving.table)
            if farewell.action is not None:
                await self._keeper.act_alone(leaving.table, farewell.action)
        except AwsFault as fault:
            return _failed(fault)
        return farewell

    async def _plan(self, leaving: Leaving, group: FeatureGroup, table: WantedTable) -> Farewell:
        observer = self._keeper.observer(table, "edit")
        if group.spec.deletion_policy == "Delete":
            return farewell_dedicated(table, await observer.look(table.name, group.spec.group_name))
        mine = claim_of(group, cluster_id=table.owner.cluster_id, uid=leaving.seen.uid, ownership="Claimed")
        held = await observer.claim(table.name, group.spec.group_name)
        return farewell_shared(mine.owner, held, self._clock.now())

    async def release(self, seen: SeenGroup, document: Mapping[str, Any]) -> None:
        """Take our finalizer off, whatever others there are."""
        kept = [name for name in finalizers_of(document) if name != FINALIZER]
        await self.set_finalizers(seen, kept)

    async def set_finalizers(self, seen: SeenGroup, finalizers: list[str]) -> None:
        """Write the list; somebody else's change meanwhile is a conflict and brings another pass."""
        try:
            written = await self._groups.set_finalizers(
                seen.key.namespace, seen.key.name, finalizers, seen.resource_version
            )
        except KubeFault as fault:
            if not fault.is_missing:
                raise
        else:
            self._index.put_written(written)  # guarded by the version: nobody's edit is in it

    def __repr__(self) -> str:
        return f"<Farewells over {self._keeper!r}>"


def finalizers_of(document: Mapping[str, Any]) -> list[str]:
    """Read the finalizers of an object."""
    return list(document["metadata"].get("finalizers") or ())


def _let_go(message: str) -> Farewell:
    return Farewell(finding=Finding("True", "Deleting", message), done=True)


def _failed(fault: AwsFault) -> Farewell:
    """Keep the resource: what AWS refuses may be what protects the rows."""
    finding = Finding("False", fault.reason, fault.message)
    stalled = fault.kind in {"Terminal", "Unsupported"}
    return Farewell(finding=finding, again_seconds=None if stalled else 5.0, stalled=stalled)
