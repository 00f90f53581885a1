"""The read plan that is served now: swapped whole when a catalog is adopted, never half of two."""

from __future__ import annotations

from typing import Final

import structlog

from pannier.catalog import Catalog
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import ReadPlan

_log: Final = structlog.stdlib.get_logger(__name__)


class LivePlan:
    """Holds one plan. Paths take it per request, so that each request sees one plan from beginning to end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.current: ReadPlan | None = None

    def get(self) -> ReadPlan | None:
        """The plan that is served; None until a first catalog was adopted."""
        return self.current

    def adopt(self, catalog: Catalog) -> None:
        """Serve a catalog from now on."""
        plan = ReadPlan(catalog)
        before, self.current = self.current, plan
        self._metrics.catalog_revision = plan.revision
        self._metrics.catalog_groups = len(plan.groups)
        changes = {}
        if before is not None:
            old, new = before.groups.keys(), plan.groups.keys()
            changes = {"added": sorted(new - old), "removed": sorted(old - new)}
        _log.info("catalog_adopted", revision=plan.revision, groups=len(plan.groups), **changes)

    def __repr__(self) -> str:
        return f"<LivePlan {self.current!r}>"
