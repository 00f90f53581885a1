"""Whether sidecars serve what is published: judged with each pass, and again when one of them has news.

A group that is not known to be served waits here; a report that may settle it has it told at once, and all
who wait are looked at again every few seconds, since pods that say nothing bring no news.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from pannier_operator.catalogs.group_index import Key
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.feed.reports import SidecarReports
from pannier_operator.kube.pods import InjectedPod
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.served import Consumers, served

LOOK_SECONDS: Final = 5.0
LISTED_SECONDS: Final = 10.0
"""How long a list of pods holds."""
YOUNG: Final = timedelta(seconds=60)
"""A pod that is younger, and made after what is asked about, counts once it is heard of: it mounts that."""
GRACE_SECONDS: Final = 60.0
"""After a replica began to lead, sidecars may not have found it yet: what was told before stands."""


class Publishes(Protocol):
    """What is published: `pannier_operator.catalogs.publisher`."""

    def standings(self, key: Key) -> Iterator[tuple[str, int]]:
        """Every namespace that is told of a group, and the first revision that has it as it is."""
        ...


class HasPods(Protocol):
    """Pods with a sidecar: `pannier_operator.kube.pods`."""

    async def injected(self, namespace: str) -> Sequence[InjectedPod]:
        """Those of a namespace that run. Raises `KubeFault`."""
        ...


class _Listed(NamedTuple):
    """The pods of a namespace as they were once."""

    at: datetime
    when: float
    """The same moment by the monotonic clock."""
    pods: Sequence[InjectedPod]


class ServedWatch:
    """The leader's part; it owns nothing, and ends when its task is cancelled."""

    def __init__(  # noqa: PLR0913 (what it looks at, and the means)
        self,
        publisher: Publishes,
        reports: SidecarReports,
        pods: HasPods | None,
        wake: Callable[[Key], None],
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``pods``: None = they are not looked at, and only who asks counts."""
        self._publisher = publisher
        self._reports = reports
        self._pods = pods
        self._wake = wake
        self._clock = clock
        self._sleep = sleep
        self._began = clock.monotonic()
        self._open: dict[Key, tuple[str, list[str]]] = {}
        """Groups that are not known to be served -> their names, and the namespaces they wait in."""
        self._waiting: defaultdict[str, set[Key]] = defaultdict(set)
        self._listed: dict[str, _Listed] = {}

    async def judge(self, key: Key, group_name: str, before: Finding | None) -> Finding:
        """Say whether a group is served as published; ``before``: what was told of this very version."""
        finding = self._heard_of(key, group_name)
        if finding.status != "False":
            try:
                finding = served(group_name, [await self._looked_at(one) for one in self._consumers(key)])
            except KubeFault as fault:
                finding = Finding("Unknown", "SidecarsSilent", f"pods cannot be listed: {fault}")
        is_early = self._clock.monotonic() - self._began < GRACE_SECONDS
        if finding.status == "Unknown" and before is not None and before.holds and is_early:
            finding = before
        self._note(key, group_name, is_served=finding.holds)
        return finding

    def forget(self, key: Key) -> None:
        """Have nothing more to do with a group."""
        self._note(key, "", is_served=True)

    def heard(self, namespace: str) -> None:
        """Sidecars of a namespace have news: have it told of which groups they settle the question."""
        for key in [k for k in self._waiting.get(namespace, ()) if self._is_settled(k)]:
            self._wake(key)

    async def run(self) -> None:
        """Have all that wait looked at again, for ever."""
        while True:
            await self._sleep(LOOK_SECONDS)
            for key in list(self._open):
                self._wake(key)

    @property
    def waiting(self) -> int:
        """How many groups are not known to be served."""
        return len(self._open)

    def _is_settled(self, key: Key) -> bool:
        return self._heard_of(key, self._open[key][0]).status != "False"

    def _heard_of(self, key: Key, group_name: str) -> Finding:
        """Judge by what sidecars say alone."""
        return served(group_name, list(self._consumers(key)))

    def _consumers(self, key: Key) -> Iterator[Consumers]:
        for namespace, revision in self._publisher.standings(key):
            yield Consumers(namespace, revision, self._reports.live(namespace))

    async def _looked_at(self, one: Consumers) -> Consumers:
        """Add the pods that nothing is heard of."""
        if self._pods is None:
            return one
        published = datetime.fromtimestamp(one.revision / 1_000, UTC)  # revisions are milliseconds
        pods = await self._injected(self._pods, one.namespace, published)
        # made later than both: it mounted what is published
        settled = max(self._clock.now() - YOUNG, published)
        silent = [pod.name for pod in pods if pod.name not in one.sidecars and pod.created <= settled]
        return Consumers(one.namespace, one.revision, one.sidecars, silent)

    async def _injected(self, pods: HasPods, namespace: str, since: datetime) -> Sequence[InjectedPod]:
        """List pods, unless that was done a moment ago, after ``since``: an older list lacks the youngest."""
        known = self._listed.get(namespace)
        if known is None or known.at <= since or self._clock.monotonic() - known.when >= LISTED_SECONDS:
            at, when = self._clock.now(), self._clock.monotonic()
            known = self._listed[namespace] = _Listed(at, when, await pods.injected(namespace))
        return known.pods

    def _note(self, key: Key, group_name: str, *, is_served: bool) -> None:
        _, left = self._open.pop(key, ("", []))
        for namespace in left:
            self._waiting[namespace].discard(key)
        if is_served:
            return
        namespaces = [namespace for namespace, _ in self._publisher.standings(key)]
        self._open[key] = group_name, namespaces
        for namespace in namespaces:
            self._waiting[namespace].add(key)

    def __repr__(self) -> str:
        return f"<ServedWatch {len(self._open)} groups wait>"
