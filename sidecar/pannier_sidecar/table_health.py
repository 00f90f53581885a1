"""Whether L3 has the table of each group: looked at in the background, for status, never for serving.

A missing table is no reason not to start: the operator may be about to make it, and other groups are served.
Changes are logged once each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog

from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.tiers.l3 import Store

INTERVAL_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
"""Sooner, while something is wrong: whoever repairs a table wants to see it."""

_log: Final = structlog.stdlib.get_logger(__name__)


class TableHealth:
    """The latest look at the tables. Owned through ``async with``: looking is a task of its own.

    With ``create`` missing tables are made as they are missed (development only).
    """

    def __init__(self, store: Store, plan: Callable[[], ReadPlan | None], *, create: bool = False) -> None:
        self._store = store
        self._plan = plan
        self._create = create
        self._task: asyncio.Task[None] | None = None
        self.faults: dict[str, TierError] = {}
        """By group, what is wrong with its table as of the latest look."""
        self.is_known = False
        """Whether there was a look yet."""

    async def look(self) -> None:
        """Look at all tables once."""
        plan = self._plan()
        if plan is None:
            return
        stored = [group for group in plan.groups.values() if group.group.storage_mode != "None"]
        try:
            if self._create and (self.faults or not self.is_known):
                await self._store.create_tables(stored)
            found = await self._store.check(stored)
        except TierError as error:
            found = {group.name: error for group in stored}
        faults = {name: error for name, error in found.items() if error is not None}
        self._log_changes(faults)
        self.faults = faults
        self.is_known = True

    def _log_changes(self, faults: dict[str, TierError]) -> None:
        for name in sorted(faults):
            before = self.faults.get(name)
            if before is None or before.reason != faults[name].reason:
                error = faults[name]
                _log.warning("table_unusable", group=name, reason=error.reason, error=error.message)
        for name in sorted(self.faults.keys() - faults.keys()):
            _log.info("table_usable", group=name)

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged whole; a fault of ours must not end the looking for good
                _log.exception("table_look_failed")
            await asyncio.sleep(RETRY_SECONDS if self.faults or self._plan() is None else INTERVAL_SECONDS)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_looking(), name="table-health")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def __repr__(self) -> str:
        return f"<TableHealth {len(self.faults)} faults>" if self.is_known else "<TableHealth not known yet>"
