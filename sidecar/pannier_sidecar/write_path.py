"""The order of a write: L3, then L2 (confirmed in the background), then own L1. The answer is given after L3."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.row import Put, Verdict


class WriteResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One row of a write answer, as it is encoded: ``verdict`` and what explains it."""

    group: str
    id: str
    verdict: Verdict
    timestamp: int | None = None
    """Of timelines, in the group's unit."""
    event_time: str | None = None
    """The stamp the write took, RFC 3339; repeating the write with it is idempotent."""
    ignored_features: tuple[str, ...] = ()
    replaced: bool = False
    reason: str = ""
    message: str = ""
    path: str = ""
    """Where in the request the fault lies, for ``invalid``."""


class WritePath:
    """Applies writes, deletes and invalidations. Owned through ``async with``: second erase passes are its tasks."""

    async def write(self, writes: Sequence[Put | WriteResult]) -> list[WriteResult]:
        """Apply what intake made of a request, in order; what intake refused (a `WriteResult`) passes through."""
        raise NotImplementedError

    async def delete(
        self, plan: ReadPlan, group: str, id: str, *, timestamp: str | None = None, tie_breaker: str | None = None
    ) -> WriteResult:
        """Delete a record, one instant of a timeline, or a whole id. Raises `RequestRefused` for a bad address."""
        raise NotImplementedError

    async def invalidate(self, plan: ReadPlan, group: str, ids: Sequence[str]) -> int:
        """Distrust what caches hold of these ids (another writer changed the store); returns how many."""
        raise NotImplementedError
