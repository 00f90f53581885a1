"""Pods that asked for a sidecar, could have one and have none: told of, and evicted where that is wanted.

They are made while no injector answers (``failurePolicy: Ignore``). A pod that the injector would skip now as
well is none of them: its successor would have no sidecar either, and evicting it would never end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog

from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.injection.mutation import mutate
from pannier_operator.injection.template import Template
from pannier_operator.injection.wishes import INJECTED
from pannier_operator.kube.events import Events
from pannier_operator.kube.pods import Pods
from pannier_operator.reporting.transitions import Note

LOOK_SECONDS: Final = 60.0
MOST_EVICTIONS: Final = 10
"""In a minute."""
_MINUTE: Final = timedelta(minutes=1)
_OVER: Final = frozenset({"Succeeded", "Failed"})
_log: Final = structlog.stdlib.get_logger(__name__)


class Missed(NamedTuple):
    """One of them."""

    namespace: str
    name: str
    uid: str


class Watchdog(NamedTuple):
    """What evicting depends on."""

    service: str
    """The injector's: while it has no endpoint, successors would be missed too."""


def is_missed(pod: Mapping[str, Any], template: Template) -> bool:
    """Whether a running pod should have a sidecar and has none."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    if INJECTED in (metadata.get("annotations") or {}) or metadata.get("deletionTimestamp"):
        return False
    return status.get("phase") not in _OVER and mutate(dict(pod), template).pod is not None


class MissedPods:
    """The leader's look for them; it owns nothing, and ends when its task is cancelled."""

    def __init__(  # noqa: PLR0913 (what it looks at, and the means)
        self,
        pods: Pods,
        events: Events,
        template: Template,
        clock: Clock,
        *,
        watchdog: Watchdog | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pods = pods
        self._events = events
        self._template = template
        self._clock = clock
        self._watchdog = watchdog
        self._sleep = sleep
        self._told: set[Missed] = set()
        self._evicted_at: list[datetime] = []
        self.evicted = 0

    @property
    def count(self) -> int:
        """How many there were at the last look."""
        return len(self._told)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except KubeFault as fault:
                _log.warning("missed_pods", fault=str(fault))
            await self._sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Find them all, tell of those that are new, evict what may be; raises `KubeFault`."""
        missed = await self._find()
        for one in missed - self._told:
            _log.warning("pod_missed", pod=f"{one.namespace}/{one.name}")
            await self._events.post(one.namespace, one.name, one.uid, _NOTE)
        self._told = missed
        if self._watchdog is not None and missed and await self._pods.is_served(self._watchdog.service):
            await self._evict(missed)

    async def _find(self) -> set[Missed]:
        """Metadata of all that ask, and a whole look at the few that bear no mark."""
        found = set()
        async for pod in self._pods.asking():
            metadata = pod["metadata"]
            if INJECTED in (metadata.get("annotations") or {}):
                continue
            whole = await self._pods.get(metadata["namespace"], metadata["name"])
            if whole is not None and is_missed(whole, self._template):
                found.add(Missed(metadata["namespace"], metadata["name"], metadata["uid"]))
        return found

    async def _evict(self, missed: set[Missed]) -> None:
        now = self._clock.now()
        self._evicted_at = [when for when in self._evicted_at if now - when < _MINUTE]
        for one in sorted(missed):
            if len(self._evicted_at) >= MOST_EVICTIONS:
                return
            if await self._pods.evict(*one):
                self._evicted_at.append(now)
                self.evicted += 1
                _log.info("pod_evicted", pod=f"{one.namespace}/{one.name}")

    def __repr__(self) -> str:
        return f"<MissedPods {self.count} known, {self.evicted} evicted>"


_NOTE: Final = Note(
    type="Warning",
    reason="SidecarMissed",
    message="asks for a Pannier sidecar and has none: no injector answered when it was made. Delete it, and"
    ' its successor gets one; `pannier.dev/inject: "false"` stops the asking.',
)
