"""Whether events flow: what a list shows must have arrived by watch.

Silence proves nothing, since a quiet cluster has no events. So all metadata is listed every half minute and
compared with the index. What is stale twice in a row was missed by the watch: it is fetched, so that nothing
is lost. If that happens time and again in a namespace whose events do not come either, the process is no
longer alive, and a restart brings a new watch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
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
"""Checks that find missed events of a namespace, with no event of it in between, before its watch is dead.

Not checks in a row: an edit is a suspicion first, so one that finds nothing may only not be sure yet.
"""


class EventFlow:
    """Compares list and index, repairs what the watch missed, and judges the watch by it."""

    def __init__(
        self,
        groups: FeatureGroups,
        index: GroupIndex,
        clock: Clock,
        changed: Callable[[Key], None],
        *,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._groups = groups
        self._index = index
        self._clock = clock
        self._changed = changed
        self._check_seconds = check_seconds
        self._suspects: set[Key] = set()
        self._misses: Counter[str] = Counter()
        self._last_event = clock.monotonic()
        self.missed = 0

    def note_event(self, namespace: str) -> None:
        """Take note that the watch brought something: each namespace may have a watch of its own."""
        self._last_event = self._clock.monotonic()
        self._misses.pop(namespace, None)

    @property
    def last_event_seconds(self) -> float:
        """How long ago the watch brought something."""
        return self._clock.monotonic() - self._last_event

    @property
    def flows(self) -> bool:
        """Whether the watch brings what happens, as far as is known."""
        return max(self._misses.values(), default=0) < MISSES

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                await self.check()
            except KubeFault as fault:  # nothing can be said of the watch without a list
                _log.warning("list_failed", fault=str(fault))

    async def check(self) -> None:
        """Compare once. Raises `KubeFault`."""
        stale = set(self._index.stale([group async for group in self._groups.all_metadata()]))
        missed = stale & self._suspects
        self._suspects = stale
        for key in missed:
            await self._repair(key)
        self._misses.update({key.namespace for key in missed})
        if missed:
            _log.warning("events_missed", groups=len(missed), checks=max(self._misses.values()))

    async def _repair(self, key: Key) -> None:
        try:
            self._index.put(await self._groups.get(key.namespace, key.name))
        except KubeFault as fault:
            if not fault.is_missing:
                raise
            self._index.remove(key)
        self._suspects.discard(key)
        self.missed += 1
        self._changed(key)

    def __repr__(self) -> str:
        return f"<EventFlow {'flowing' if self.flows else 'dead'}, {self.missed} events missed>"
