"""DynamoDB's control plane as a model: takes actions, and breaks the test where AWS would refuse.

Not a double for adapter tests (those run on real emulators): it is what the laws of the plan are tried on,
with a clock, delays and limits that no emulator has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pannier_operator.planning import actions as act
from pannier_operator.planning.claims import Claim
from pannier_operator.planning.limits import TTL_PAUSE
from pannier_operator.planning.observed import (
    NO_LIMITS,
    TTL_ATTRIBUTE,
    Observation,
    ObservedTable,
    ObservedTtl,
    OnDemandLimits,
    Recovery,
    Remembered,
    Throughput,
)

NO_TTL = ObservedTtl("DISABLED")
NO_RECOVERY = Recovery(enabled=False)
START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


@dataclass
class ModelAws:
    """One table, or none, at a time that passes when told to."""

    now: datetime = START
    table: ObservedTable | None = None
    ttl: ObservedTtl = NO_TTL
    recovery: Recovery = NO_RECOVERY
    tags: dict[str, str] = field(default_factory=dict)
    claim: Claim | None = None
    busy_until: datetime | None = None
    ttl_changed_at: datetime | None = None
    on_demand_switches: list[datetime] = field(default_factory=list)
    delay: timedelta = timedelta(seconds=7)
    tags_lag: timedelta = timedelta(seconds=3)
    tags_before: dict[str, str] = field(default_factory=dict)
    tagged_at: datetime | None = None
    lives: int = 0
    done: list[act.Action] = field(default_factory=list)

    # -- what the operator sees

    def observe(self) -> Observation:
        """What the calls of one look would answer."""
        self._settle()
        if self.table is None or self.table.status not in {"ACTIVE", "UPDATING"}:
            return Observation(table=self.table)
        lagging = self.tagged_at is not None and self.now - self.tagged_at < self.tags_lag
        return Observation(
            table=self.table,
            ttl=self.ttl,
            recovery=self.recovery,
            tags=dict(self.tags_before if lagging else self.tags),
            claim=self.claim,
        )

    def remembered(self, *, amnesia: bool = False) -> Remembered:
        """What status and the process would know; a new process knows status only."""
        return Remembered(
            table_id=self.table.id if self.table else None,
            ttl_next_change=self.ttl_changed_at and self.ttl_changed_at + TTL_PAUSE,
            on_demand_switches=tuple(self.on_demand_switches[-4:]),
            tagged_at=None if amnesia else self.tagged_at,
        )

    # -- what the operator does

    def apply(self, action: act.Action) -> None:
        """Carry out one action as AWS would."""
        self._settle()
        self.done.append(action)
        if isinstance(action, act.CreateTable):
            self._create(action)
            return
        assert self.table is not None, f"{action} on no table"
        if isinstance(action, act.PutClaim):
            assert action.seen == self.claim, "the condition of the claim fails"
            self.claim = replace(action.claim, version=action.claim.version + 1)
        elif isinstance(action, act.TagTable | act.UntagTable):
            self._tag(action)
        else:
            self._change(action, self.table)

    def _create(self, action: act.CreateTable) -> None:
        assert self.table is None, "ResourceInUseException: the table exists"
        self.lives += 1
        wanted = action.wanted
        self.table = ObservedTable(
            name=wanted.name,
            arn=f"arn:aws:dynamodb:eu-west-1:1:table/{wanted.name}",
            id=f"table-{self.lives}",
            status="CREATING",
            billing=wanted.billing or "PayPerRequest",
            throughput=wanted.throughput or Throughput(0, 0),
            on_demand=wanted.on_demand,
            table_class=wanted.table_class or "Standard",
            deletion_protected=wanted.deletion_protected,
            kms_key_arn=wanted.kms_key_arn,
        )
        self.tags = {**wanted.tags, **wanted.ownership_tags("Created")}
        self.busy_until = self.now + self.delay

    def _tag(self, action: act.TagTable | act.UntagTable) -> None:
        self.tags_before, self.tagged_at = dict(self.tags), self.now
        if isinstance(action, act.TagTable):
            self.tags |= action.tags
        else:
            self.tags = {key: value for key, value in self.tags.items() if key not in action.keys}

    def _change(self, action: act.Action, table: ObservedTable) -> None:
        assert table.status == "ACTIVE", f"ResourceInUseException: {action} while {table.status}"
        if isinstance(action, act.EnableTtl | act.DisableTtl):
            self._change_ttl(action)
        elif isinstance(action, act.SetRecovery):
            assert action.recovery != self.recovery
            self.recovery = action.recovery
        elif isinstance(action, act.DeleteTable):
            assert not table.deletion_protected, "ValidationException: protected against deletion"
            self._become(replace(table, status="DELETING"))
        else:
            self._update(action, table)

    def _change_ttl(self, action: act.EnableTtl | act.DisableTtl) -> None:
        last = self.ttl_changed_at
        assert last is None or self.now - last >= TTL_PAUSE, "ValidationException: changed within the hour"
        self.ttl_changed_at = self.now
        if isinstance(action, act.EnableTtl):
            assert self.ttl.status == "DISABLED"
            self.ttl = ObservedTtl("ENABLING", TTL_ATTRIBUTE)
        else:
            assert self.ttl.status in {"ENABLED", "ENABLING"}
            self.ttl = ObservedTtl("DISABLING", action.attribute)

    def _update(self, action: act.Action, table: ObservedTable) -> None:
        updated = _updated(action, table)
        assert updated != table, "ValidationException: the value will not change"
        if isinstance(action, act.ChangeBilling) and action.billing == "PayPerRequest":
            recent = [when for when in self.on_demand_switches if self.now - when < timedelta(hours=24)]
            assert len(recent) < 4, "LimitExceededException: switched too often"
            self.on_demand_switches.append(self.now)
        self._become(replace(updated, status="UPDATING"))

    def _become(self, table: ObservedTable) -> None:
        self.table, self.busy_until = table, self.now + self.delay

    def _settle(self) -> None:
        """Let what was begun come to its end."""
        if self.ttl_changed_at is not None and self.now - self.ttl_changed_at >= self.delay:
            self.ttl = {
                "ENABLING": ObservedTtl("ENABLED", TTL_ATTRIBUTE),
                "DISABLING": ObservedTtl("DISABLED"),
            }.get(self.ttl.status, self.ttl)
        if self.table is None or self.busy_until is None or self.now < self.busy_until:
            return
        self.busy_until = None
        self.table = None if self.table.status == "DELETING" else replace(self.table, status="ACTIVE")


def _updated(action: act.Action, table: ObservedTable) -> ObservedTable:
    if isinstance(action, act.SetDeletionProtection):
        return replace(table, deletion_protected=action.enabled)
    if isinstance(action, act.ChangeBilling):
        throughput = action.throughput or Throughput(0, 0)
        assert (action.billing == "Provisioned") == (action.throughput is not None)
        limits = table.on_demand if action.billing == "PayPerRequest" else NO_LIMITS
        return replace(table, billing=action.billing, throughput=throughput, on_demand=limits)
    if isinstance(action, act.ChangeThroughput):
        assert table.billing == "Provisioned"
        return replace(table, throughput=action.throughput)
    if isinstance(action, act.ChangeOnDemandLimits):
        due, found = action.limits, table.on_demand
        limits = OnDemandLimits(due.read or found.read, due.write or found.write)
        return replace(table, on_demand=limits)
    if isinstance(action, act.ChangeTableClass):
        return replace(table, table_class=action.table_class)
    assert isinstance(action, act.ChangeEncryption), action
    return replace(table, kms_key_arn=action.kms_key_arn)
