"""Which settings of a table differ from what is declared, and the change that puts each right.

Only what the spec says is compared; what AWS fills in never becomes a difference (crossplane's providers once
sent 100,000 updates a day for want of that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pannier_operator.planning import actions as act
from pannier_operator.planning.findings import Difference
from pannier_operator.planning.limits import decrease_blocked_until, on_demand_blocked_until
from pannier_operator.planning.observed import ObservedTable, OnDemandLimits, Remembered, Throughput, switch
from pannier_operator.planning.wanted import WantedTable


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, what puts it right, and until when AWS would refuse that."""

    difference: Difference
    action: act.Action
    blocked_until: datetime | None = None


_At: Final = "storage.dedicated"
_Rule = Callable[[WantedTable, ObservedTable, Remembered, datetime], Change | None]


def setting_changes(
    wanted: WantedTable, table: ObservedTable, remembered: Remembered, now: datetime
) -> Iterator[Change]:
    """Find what UpdateTable has to change, most protective first; each call of it takes one."""
    for rule in _RULES:
        change = rule(wanted, table, remembered, now)
        if change is not None:
            yield change


def _protection(wanted: WantedTable, table: ObservedTable, _: Remembered, __: datetime) -> Change | None:
    if wanted.deletion_protected == table.deletion_protected:
        return None
    difference = Difference(
        f"{_At}.deletionProtection",
        switch(on=wanted.deletion_protected),
        switch(on=table.deletion_protected),
    )
    return Change(difference, act.SetDeletionProtection(wanted.deletion_protected))


def _encryption(wanted: WantedTable, table: ObservedTable, _: Remembered, __: datetime) -> Change | None:
    if wanted.kms_key_arn in {None, table.kms_key_arn}:
        return None
    assert wanted.kms_key_arn is not None  # noqa: S101 - told to mypy, which does not narrow by a set
    difference = Difference(f"{_At}.kmsKeyArn", wanted.kms_key_arn, table.kms_key_arn or "a key owned by AWS")
    return Change(difference, act.ChangeEncryption(wanted.kms_key_arn))


def _billing(
    wanted: WantedTable, table: ObservedTable, remembered: Remembered, now: datetime
) -> Change | None:
    if wanted.billing in {None, table.billing} or wanted.billing is None:
        return None
    blocked = on_demand_blocked_until(table, remembered, now) if wanted.billing == "PayPerRequest" else None
    difference = Difference(f"{_At}.billingMode", wanted.billing, table.billing)
    return Change(difference, act.ChangeBilling(wanted.billing, wanted.throughput), blocked)


def _throughput(wanted: WantedTable, table: ObservedTable, _: Remembered, now: datetime) -> Change | None:
    goal = wanted.throughput
    if goal is None or wanted.throughput_is_external or table.billing != "Provisioned":
        return None
    if goal == table.throughput:
        return None
    difference = Difference(f"{_At}.provisionedThroughput", str(goal), str(table.throughput))
    rise = Throughput(max(goal.read, table.throughput.read), max(goal.write, table.throughput.write))
    blocked = decrease_blocked_until(table, goal, now)
    if blocked is not None and rise != table.throughput:
        return Change(difference, act.ChangeThroughput(rise))  # what rises does not wait for what falls
    return Change(difference, act.ChangeThroughput(goal), blocked)


def _ceilings(wanted: WantedTable, table: ObservedTable, _: Remembered, __: datetime) -> Change | None:
    if table.billing != "PayPerRequest" or wanted.billing != "PayPerRequest":
        return None
    goal, found = wanted.on_demand, table.on_demand
    due = OnDemandLimits(
        goal.read if goal.read != found.read else None, goal.write if goal.write != found.write else None
    )
    if due == OnDemandLimits():
        return None
    difference = Difference(f"{_At}.onDemandThroughput", _limits(goal), _limits(found))
    return Change(difference, act.ChangeOnDemandLimits(due))


def _table_class(wanted: WantedTable, table: ObservedTable, _: Remembered, __: datetime) -> Change | None:
    if wanted.table_class in {None, table.table_class} or wanted.table_class is None:
        return None
    difference = Difference(f"{_At}.tableClass", wanted.table_class, table.table_class)
    return Change(difference, act.ChangeTableClass(wanted.table_class))


def _limits(limits: OnDemandLimits) -> str:
    return f"{limits.read or 'any'} read and {limits.write or 'any'} write units"


_RULES: Final[tuple[_Rule, ...]] = (_protection, _encryption, _billing, _throughput, _ceilings, _table_class)
