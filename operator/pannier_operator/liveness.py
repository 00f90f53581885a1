"""Whether events flow: what a list shows must have arrived by watch.

Silence proves nothing, since a quiet cluster has no events. So all metadata is listed every half minute and
compared with the index. What is stale twice in a row was missed by the watch: it is fetched, so that nothing
is lost, and if that happens time and again the process is no longer alive, and a restart brings a new watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pannier_operator.catalogs.group_index import GroupIndex, Key
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.feature_groups import FeatureGroups

_log: Final = structlog.stdlib.get_logger(__name__)
CHECK_SECONDS: Final = 30.0
MISSES: Final = 3
"""Checks in a row that find missed events before the watch is held for dead."""


class EventFlow:
    """Compares list and index, repairs what the watch missed, and judges the watch by it."""

    def __init__(
        self, groups: FeatureGroups, index: GroupIndex, clock: Clock, changed: Callable[[Key], None]
    ) -> None:
        self._groups = groups
        self._index = index
        self._clock = clock
        self._changed = changed
        self._suspects: set[Key] = set()
        self._misses = 0
        self._last_event = clock.monotonic()
        self.missed = 0

    def note_event(self) -> None:
        """Take note that the watch brought something."""
        self._last_event = self._clock.monotonic()

    @property
    def last_event_seconds(self) -> float:
        """How long ago the watch brought something."""
        return self._clock.monotonic() - self._last_event

    @property
    def flows(self) -> bool:
        """Whether the watch brings what happens, as far as is known."""
        return self._misses < MISSES

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except KubeFault as fault:  # nothing can be said of the watch without a list
                _log.warning("list_failed", fault=str(fault))

    async def check(self) -> None:
        """Compare once. Raises `KubeFault`."""
        stale = set(self._index.stale([group async for group in self._groups.all_metadata()]))
        missed = stale & self._suspects
        self._suspects = stale - missed
        self._misses = self._misses + 1 if missed else 0
        self.missed += len(missed)
        for key in missed:
            await self._repair(key)
        if missed:
            _log.warning("events_missed", groups=len(missed), checks=self._misses)

    async def _repair(self, key: Key) -> None:
        try:
            self._index.put(await self._groups.get(key.namespace, key.name))
        except KubeFault as fault:
            if not fault.is_missing:
                raise
            self._index.remove(key)
        self._changed(key)

    def __repr__(self) -> str:
        return f"<EventFlow {'flowing' if self.flows else 'dead'}, {self.missed} events missed>"
