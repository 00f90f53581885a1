"""Says what a pass came to: status if it differs, Events on transitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pannier_operator.catalogs.group_index import GroupIndex, SeenGroup
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.events import Events
from pannier_operator.kube.feature_groups import FeatureGroups
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.conditions import with_finding
from pannier_operator.reporting.outcome import Outcome
from pannier_operator.reporting.status_document import differs, status_of
from pannier_operator.reporting.transitions import transitions


class Listener(NamedTuple):
    """Who hears of reports."""

    told: Callable[[SeenGroup, list[Mapping[str, Any]]], None]
    """Which conditions a group has."""
    edited: Callable[[SeenGroup], None]
    """That a group was edited while its status was on its way."""


_AT_ONCE: Final = 4
"""Status writes under way. Each costs the API server more than a catalog does: where it is busy, having few
of them at a time leaves it to catalogs, which are what sidecars wait for."""


class Reporter:
    """Writes status and Events of groups."""

    def __init__(
        self, groups: FeatureGroups, events: Events, index: GroupIndex, clock: Clock, listener: Listener
    ) -> None:
        self._groups = groups
        self._events = events
        self._index = index
        self._clock = clock
        self._listener = listener
        self._writing = asyncio.Semaphore(_AT_ONCE)

    async def report(self, seen: SeenGroup, document: Mapping[str, Any], outcome: Outcome) -> None:
        """Write the status if anything in it is new; raises `KubeFault`."""
        previous: Mapping[str, Any] = document.get("status") or {}
        await self._write(seen, previous, status_of(outcome, previous, self._clock.now()))

    async def report_one(
        self, seen: SeenGroup, document: Mapping[str, Any], kind: str, found: Finding
    ) -> None:
        """Write one condition anew; raises `KubeFault`."""
        previous: Mapping[str, Any] = document.get("status") or {}
        told = with_finding(previous.get("conditions") or (), kind, found, seen.generation, self._clock.now())
        await self._write(seen, previous, {**previous, "conditions": told})

    async def _write(self, seen: SeenGroup, previous: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        self._listener.told(seen, status["conditions"])
        if not differs(status, previous):
            return
        try:
            async with self._writing:
                written = await self._groups.apply_status(seen.key.namespace, seen.key.name, seen.uid, status)
        except KubeFault as fault:
            if fault.is_missing or fault.is_conflict:
                return  # gone, or another life of the name: there is nobody to tell
            raise
        edited = self._index.put_written(written)
        if edited is not None:  # while the status was on its way: the watch will bring it as nothing new
            self._listener.edited(edited)
        for note in transitions(previous.get("conditions") or (), status["conditions"]):
            await self._events.post(seen.key.namespace, seen.key.name, seen.uid, note)

    def __repr__(self) -> str:
        return f"<Reporter to {self._groups!r}>"
