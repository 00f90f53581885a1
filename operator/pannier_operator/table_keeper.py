"""One table: look, plan, at most one mutation; and what this process remembers of it between passes.

For dedicated tables of groups and for the platform's shared ones alike. Which table is wanted, and what is
said of it, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from pannier_operator.aws.call_budget import Urgency
from pannier_operator.aws.dynamodb_client import DynamoDB
from pannier_operator.aws.mutations import carry_out
from pannier_operator.aws.observation import Observer
from pannier_operator.clock import Clock
from pannier_operator.errors import AwsFault
from pannier_operator.planning import actions as act
from pannier_operator.planning.claim_plan import plan_shared
from pannier_operator.planning.claims import Claim
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.limits import TTL_PAUSE, recent_switches
from pannier_operator.planning.observed import NOTHING_REMEMBERED, Observation, Remembered
from pannier_operator.planning.plans import CREATING_SECONDS, Plan
from pannier_operator.planning.table_plan import plan_table
from pannier_operator.planning.wanted import WantedTable

_log: Final = structlog.stdlib.get_logger(__name__)
LOOK_AGAIN_SECONDS: Final = 2.0
"""After UpdateTable: DescribeTable may still show the table as it was."""
MAX_REPEATS: Final = 3
"""How often one and the same action may succeed without effect before it is given up until the resync."""
PATIENCE: Final = 3
"""How many transient faults in a row are nobody's business."""

LONGEST_WAIT_SECONDS: Final = 2.0
"""How long a worker waits for the call budget; beyond it the pass goes on without a look."""

Drift = Callable[[str], None]
"""Told of each change of a table that was not as declared."""


@dataclass(slots=True)
class TableMemory:
    """What this process knows of a table beyond status."""

    created_at: datetime | None = None
    asked_to_create: bool = False
    tagged_at: datetime | None = None
    ttl_next_change: datetime | None = None
    on_demand_switches: tuple[datetime, ...] = ()
    last_action: act.Action | None = None
    repeats: int = 0
    faults: int = 0
    kept_as: WantedTable | Claim | None = None
    """What it was last as wanted for: whatever differs from that now, somebody else changed."""
    settled_for: WantedTable | Claim | None = None
    """What the last look found to be there as wanted; an edit that leaves it needs no other look."""
    last: Kept | None = None

    def still_good(self, goal: WantedTable | Claim, urgency: Urgency) -> Kept | None:
        """Return what the last look found, if this pass is for an edit that changes nothing in AWS."""
        if urgency == "resync":
            self.repeats = 0
            return None
        return self.last if self.settled_for == goal else None

    def added_to(self, remembered: Remembered) -> Remembered:
        """Add it to what status remembers; the later date of each wins."""
        changes = [when for when in (self.ttl_next_change, remembered.ttl_next_change) if when is not None]
        switches = {*self.on_demand_switches, *remembered.on_demand_switches}
        return replace(
            remembered,
            created_at=self.created_at,
            asked_to_create=self.asked_to_create,
            tagged_at=self.tagged_at,
            ttl_next_change=max(changes, default=None),
            on_demand_switches=tuple(sorted(switches))[-4:],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a pass over a table came to."""

    plan: Plan
    seen: Observation | None = None
    remembered: Remembered = NOTHING_REMEMBERED
    fault: AwsFault | None = None
    acted: bool = False
    again_seconds: float | None = None
    failed: bool = False
    """Tried again with backoff."""
    drifted: bool = False
    """Differences that no edit of ours explains."""
    is_news: bool = True
    """False = a fault that most likely passes: what was said before stands."""

    @property
    def fault_finding(self) -> Finding | None:
        """The fault as a finding."""
        return Finding("False", self.fault.reason, self.fault.message) if self.fault else None


class SharedState(NamedTuple):
    """A shared table, and what was last found of it."""

    wanted: WantedTable
    kept: Kept


class TableKeeper:
    """Keeps tables as wanted, one pass at a time."""

    def __init__(self, dynamodb: DynamoDB, clock: Clock, drift: Drift = lambda _action: None) -> None:
        self._dynamodb = dynamodb
        self._clock = clock
        self._drift = drift

    async def keep(
        self,
        wanted: WantedTable,
        remembered: Remembered,
        memory: TableMemory,
        urgency: Urgency,
        *,
        act_too: bool,
    ) -> Kept:
        """Look at a table and do at most one thing about it; ``act_too`` False = only look."""
        last = memory.still_good(wanted, urgency)
        if last is not None:
            return last
        wait = self._dynamodb.wait_seconds(urgency)
        if wait > LONGEST_WAIT_SECONDS:  # leave the worker to those who only publish
            return Kept(plan=Plan(), is_news=False, again_seconds=wait)
        remembered = memory.added_to(remembered)
        group_name = wanted.claim.group_name if wanted.claim else None
        try:
            seen = await self.observer(wanted, urgency).look(wanted.name, group_name)
        except AwsFault as fault:
            return self._not_seen(memory, fault)
        plan = plan_table(wanted, seen, remembered, self._clock.now())
        kept = Kept(plan=plan, seen=seen, remembered=remembered, again_seconds=plan.again_seconds)
        return await self._settle(wanted, wanted, kept, memory, act_too=act_too)

    async def keep_claim(
        self, table: SharedState, claim: Claim, memory: TableMemory, urgency: Urgency, *, act_too: bool
    ) -> Kept:
        """Look at a group's claim in a shared table that is usable, and do at most one thing about it."""
        shared = table.kept
        last = memory.still_good(claim, urgency)
        if last is not None and last.plan.table == shared.plan.table and last.plan.ttl == shared.plan.ttl:
            return last
        try:
            held = await self.observer(table.wanted, urgency).claim(table.wanted.name, claim.group_name)
        except AwsFault as fault:
            return self._not_seen(memory, fault, shared.plan)
        plan = plan_shared(claim, held, shared.plan, self._clock.now())
        kept = Kept(plan=plan, seen=shared.seen, again_seconds=plan.again_seconds)
        return await self._settle(table.wanted, claim, kept, memory, act_too=act_too)

    async def _settle(
        self, table: WantedTable, goal: WantedTable | Claim, kept: Kept, memory: TableMemory, *, act_too: bool
    ) -> Kept:
        """Do what the plan says, and remember what that came to."""
        plan = kept.plan
        kept = replace(kept, drifted=bool(plan.differences) and memory.kept_as == goal)
        if plan.action is not None and act_too:
            kept = await self._act(table, kept, plan.action, memory)
        memory.faults = memory.faults + 1 if kept.fault else 0
        quiet = kept.fault is not None and kept.failed and memory.faults < PATIENCE and plan.table.holds
        if plan.is_settled and not plan.differences:
            memory.kept_as = goal
        memory.settled_for = goal if plan.is_settled and plan.table.holds and not plan.stalled else None
        memory.last = replace(kept, is_news=not quiet)
        if plan.is_settled:
            memory.last_action = None
        return memory.last

    async def act_alone(self, wanted: WantedTable, action: act.Action) -> None:
        """Carry out one action that needs no plan of the whole table. Raises `AwsFault`."""
        await carry_out(self._dynamodb, action, wanted.name, region=wanted.region, arn=None)
        _log.info("table_changed", table=wanted.name, action=type(action).__name__, owner=str(wanted.owner))

    def observer(self, wanted: WantedTable, urgency: Urgency) -> Observer:
        """Make the observer for a table's region."""
        return Observer(self._dynamodb, wanted.region, urgency)

    def _not_seen(self, memory: TableMemory, fault: AwsFault, shared: Plan | None = None) -> Kept:
        """Nothing is known but of a shared table: say so if it lasts or does not pass by itself."""
        memory.faults += 1
        memory.settled_for = None
        finding = Finding("Unknown", fault.reason, fault.message)
        passing = fault.kind != "Terminal"
        table, ttl = (shared.table, shared.ttl) if shared else (finding, finding)
        plan = Plan(schema=finding, table=table, ttl=ttl, stalled=not passing)
        return Kept(
            plan=plan,
            fault=fault,
            failed=passing,
            again_seconds=self._seconds_until(fault),
            is_news=not passing or memory.faults >= PATIENCE,
        )

    async def _act(self, wanted: WantedTable, kept: Kept, action: act.Action, memory: TableMemory) -> Kept:
        if memory.last_action == action:
            memory.repeats += 1
        else:
            memory.last_action, memory.repeats = action, 0
        if memory.repeats >= MAX_REPEATS:
            message = f"{type(action).__name__} was taken {memory.repeats} times and changed nothing"
            finding = Finding("False", "NoEffect", message)
            return replace(
                kept, plan=with_finding(kept.plan, action, finding, stalled=True), again_seconds=None
            )
        table = kept.seen.table if kept.seen else None
        memory.asked_to_create = memory.asked_to_create or isinstance(action, act.CreateTable)
        try:
            await carry_out(
                self._dynamodb, action, wanted.name, region=wanted.region, arn=table.arn if table else None
            )
        except AwsFault as fault:
            return self._fault_of_action(kept, action, memory, fault)
        _log.info("table_changed", table=wanted.name, action=type(action).__name__, owner=str(wanted.owner))
        if kept.drifted:
            self._drift(type(action).__name__)
        return replace(
            self._remember(kept, action, memory),
            acted=True,
            again_seconds=_look_again(action, memory.repeats),
        )

    def _remember(self, kept: Kept, action: act.Action, memory: TableMemory) -> Kept:
        """Keep what AWS counts or shows late, so that the next pass does not run into it."""
        now = self._clock.now()
        if isinstance(action, act.CreateTable):
            memory.created_at = now
        elif isinstance(action, act.TagTable | act.UntagTable):
            memory.tagged_at = now
        elif isinstance(action, act.EnableTtl | act.DisableTtl):
            memory.ttl_next_change = now + TTL_PAUSE
        elif isinstance(action, act.ChangeBilling) and action.billing == "PayPerRequest":
            table = kept.seen.table if kept.seen else None
            earlier = recent_switches(table, kept.remembered, now) if table else ()
            memory.on_demand_switches = (*earlier, now)[-4:]
        return replace(kept, remembered=memory.added_to(kept.remembered))

    def _fault_of_action(self, kept: Kept, action: act.Action, memory: TableMemory, fault: AwsFault) -> Kept:
        """Decide what a refused action means; raises nothing."""
        if fault.kind in {"AlreadySo", "Conflict"}:
            return replace(kept, again_seconds=_look_again(action, memory.repeats))
        memory.last_action = None
        is_ttl = isinstance(action, act.EnableTtl | act.DisableTtl)
        if fault.kind == "RateLimited" and is_ttl:
            memory.ttl_next_change = fault.until
            kept = replace(kept, remembered=memory.added_to(kept.remembered))
        finding = Finding("False", fault.reason, fault.message)
        stalled = fault.kind in {"Terminal", "Unsupported"}
        passing = fault.kind in {"Transient", "NotFound"}
        return replace(
            kept,
            plan=with_finding(kept.plan, action, finding, stalled=stalled),
            fault=fault,
            again_seconds=None if stalled else self._seconds_until(fault) or kept.plan.again_seconds,
            failed=passing,
        )

    def _seconds_until(self, fault: AwsFault) -> float | None:
        if fault.until is None:
            return None
        return max(1.0, (fault.until - self._clock.now()).total_seconds())

    def __repr__(self) -> str:
        return f"<TableKeeper over {self._dynamodb!r}>"


def with_finding(plan: Plan, action: act.Action, finding: Finding, *, stalled: bool) -> Plan:
    """Say of the condition that an action is for why it could not be done, unless it holds all the same."""
    stalled = stalled or plan.stalled
    if isinstance(action, act.PutClaim):
        return replace(plan, schema=finding, claim_held=False, stalled=stalled)
    if isinstance(action, act.EnableTtl | act.DisableTtl):
        return replace(plan, ttl=finding, stalled=stalled)
    if plan.table.holds:
        return replace(plan, stalled=stalled)
    return replace(plan, table=finding, stalled=stalled)


def _look_again(action: act.Action, repeats: int) -> float:
    """Return when to look after an action: when its effect can be seen, later the more often it had none."""
    if isinstance(action, act.CreateTable | act.DeleteTable):
        return CREATING_SECONDS
    first = LOOK_AGAIN_SECONDS if isinstance(action, act.UpdateTable) else 0.0
    return first + (2.0**repeats if repeats else 0.0)
