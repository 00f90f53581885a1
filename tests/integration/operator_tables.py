"""The operator's table keeper on an emulator, through a proxy that counts and breaks calls."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fault_proxy import FaultProxy
from tests.operator.planned_tables import a_wanted

from pannier_operator.aws.call_budget import CallBudget, Urgency
from pannier_operator.aws.dynamodb_client import ClientSettings, DynamoDB
from pannier_operator.clock import ManualClock
from pannier_operator.errors import LeadershipLost
from pannier_operator.planning.observed import NOTHING_REMEMBERED, Remembered
from pannier_operator.planning.wanted import WantedTable
from pannier_operator.reporting.status_document import TableFacts, remembered_from, table_facts
from pannier_operator.table_keeper import Kept, TableKeeper, TableMemory

MUTATING = (
    "CreateTable",
    "DeleteTable",
    "UpdateTable",
    "UpdateTimeToLive",
    "UpdateContinuousBackups",
    "TagResource",
    "UntagResource",
    "PutItem",
)
MAX_PASSES = 60
_names = itertools.count()


@dataclass
class TableUnderTest:
    """One wanted table, what is remembered of it, and the proxy before its emulator."""

    keeper: TableKeeper
    dynamodb: DynamoDB
    proxy: FaultProxy
    clock: ManualClock
    leads: list[bool]
    memory: TableMemory = field(default_factory=TableMemory)
    status: Mapping[str, Any] = field(default_factory=dict)

    async def keep(self, wanted: WantedTable, urgency: Urgency = "resync") -> Kept:
        """One pass; what the operator would write into status is kept as there."""
        kept = await self.keeper.keep(wanted, self.remembered, self.memory, urgency, act_too=True)
        seen, ownership = kept.seen, kept.plan.ownership
        if seen is not None and seen.table is not None and ownership not in {None, "Foreign"}:
            facts = TableFacts(
                table=seen.table, ownership=ownership, ttl=seen.ttl, remembered=kept.remembered
            )
            self.status = {"table": table_facts(facts)}
        return kept

    @property
    def remembered(self) -> Remembered:
        """What status says."""
        return remembered_from(self.status, {}) if self.status else NOTHING_REMEMBERED

    async def settle(self, wanted: WantedTable) -> Kept:
        """Pass after pass, time moving as asked, until nothing is left to do."""
        for _ in range(MAX_PASSES):
            kept = await self.keep(wanted, "edit")
            if kept.again_seconds is None and not kept.failed:
                return kept
            self.clock.advance((kept.again_seconds or 0.0) + 1.0)
        raise AssertionError(f"not settled: {kept}")

    def restart(self) -> None:
        """Forget what only the process knows."""
        self.memory = TableMemory()

    @property
    def mutations(self) -> dict[str, int]:
        """Mutating calls so far, by operation."""
        return {operation: n for operation, n in self.proxy.calls.items() if operation in MUTATING}


@contextlib.asynccontextmanager
async def a_table_on(url: str) -> AsyncIterator[TableUnderTest]:
    """Open everything for one table on an emulator. Needs the fixture `aws_credentials`."""
    clock, leads = ManualClock(), [True]

    def may_write() -> None:
        if not leads[0]:
            raise LeadershipLost("not the leader")

    async with FaultProxy(url) as proxy:
        settings = ClientSettings(endpoint_url=proxy.url, read_timeout_seconds=1.0)
        budget = CallBudget(1000, clock)
        async with DynamoDB(settings, budget=budget, clock=clock, may_write=may_write) as dynamodb:
            yield TableUnderTest(TableKeeper(dynamodb, clock), dynamodb, proxy, clock, leads)


def a_table(changes: dict[str, Any] | None = None, *, uid: str = "uid-1") -> WantedTable:
    """Make a wanted table with a name of its own."""
    name = f"operator.{next(_names)}"
    return a_wanted({"storage.tableName": name, **(changes or {})}, uid=uid)
