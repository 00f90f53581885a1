"""The read plan that is served now: swapped whole when a catalog is adopted, never half of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from pannier.catalog import Catalog
from pannier_sidecar.clock import Clock
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import GroupPlan, ReadPlan

_log: Final = structlog.stdlib.get_logger(__name__)


class LivePlan:
    """Holds one plan. Paths take it per request, so that each request sees one plan from beginning to end."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.current: ReadPlan | None = None
        self._watchers: list[Callable[[ReadPlan], None]] = []

    def get(self) -> ReadPlan | None:
        """The plan that is served; None until a first catalog was adopted."""
        return self.current

    def watch(self, watcher: Callable[[ReadPlan], None]) -> None:
        """Tell this of the plan that is served, now and whenever it changes."""
        self._watchers.append(watcher)
        if self.current is not None:
            watcher(self.current)

    def latest(self, plan: GroupPlan) -> GroupPlan:
        """A group as it is served now; as it was where it is not served any more."""
        return plan if self.current is None else self.current.groups.get(plan.name, plan)

    def adopt(self, catalog: Catalog) -> None:
        """Serve a catalog from now on. Costs nothing per cached entry: each is looked at when it is read."""
        plan = ReadPlan(catalog, self.current, self._clock.now_us())
        before, self.current = self.current, plan
        self._metrics.catalog_revision = plan.revision
        self._metrics.catalog_groups = len(plan.groups)
        changes = {}
        if before is not None:
            old, new = before.groups.keys(), plan.groups.keys()
            kept = {name for name in old & new if before.groups[name] is plan.groups[name]}
            changes = {
                "added": sorted(new - old),
                "changed": sorted((old & new) - kept),
                "removed": sorted(old - new),
            }
        for watcher in self._watchers:
            watcher(plan)
        _log.info("catalog_adopted", revision=plan.revision, groups=len(plan.groups), **changes)

    def __repr__(self) -> str:
        return f"<LivePlan {self.current!r}>"
