"""The tables that the platform offers to groups with storage.mode Shared: what they are, and keeping them.

Their settings belong to the platform (``--shared-tables FILE``), not to any group in them. They have no
resource of their own, so their state is in the log and in the TableReady of every group that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import structlog
import yaml
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from pannier.spec_base import REGION_PATTERN, TABLE_NAME_PATTERN, SpecModel
from pannier.spec_storage import DedicatedTable
from pannier_operator.aws.call_budget import Urgency
from pannier_operator.catalogs.group_index import Key
from pannier_operator.errors import CannotStart
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.observed import USABLE, Remembered
from pannier_operator.planning.plans import Plan
from pannier_operator.planning.wanted import WantedTable, shared_table
from pannier_operator.table_keeper import Kept, SharedState, TableKeeper, TableMemory
from pannier_operator.work_queue import Done

_log: Final = structlog.stdlib.get_logger(__name__)


class SharedTableSpec(SpecModel):
    """One entry of the list."""

    name: Annotated[str, StringConstraints(min_length=3, max_length=255, pattern=TABLE_NAME_PATTERN)]
    """DynamoDB table that groups name in storage.tableName."""
    region: Annotated[str, StringConstraints(max_length=32, pattern=REGION_PATTERN)] | None = None
    """AWS region; absent = the operator's."""
    adoption: Literal["Never", "IfCompatible"] = "Never"
    """What to do if the table exists without Pannier's tags."""
    settings: DedicatedTable | None = None
    """As storage.dedicated of a group."""


class SharedKey(NamedTuple):
    """A shared table in the work queue."""

    table: str

    def __str__(self) -> str:
        return f"shared table {self.table}"


_LIST: Final = TypeAdapter(Annotated[list[SharedTableSpec], Field(max_length=256)])


def read_shared_tables(path: str | None) -> tuple[SharedTableSpec, ...]:
    """Read the platform's list; raises `CannotStart` with everything wrong with it."""
    if path is None:
        return ()
    try:
        found = _LIST.validate_python(yaml.safe_load(Path(path).read_text(encoding="utf-8")) or [])
    except (OSError, yaml.YAMLError) as error:
        raise CannotStart(f"--shared-tables {path} cannot be read: {error}") from error
    except ValidationError as invalid:
        faults = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in invalid.errors(include_url=False)
        )
        raise CannotStart(f"--shared-tables {path}: {faults}") from invalid
    names = [spec.name for spec in found]
    if len(set(names)) < len(names):
        raise CannotStart(f"--shared-tables {path} names a table twice")
    return tuple(found)


class SharedTables:
    """Every shared table with what was last found of it."""

    def __init__(
        self,
        specs: Iterable[SharedTableSpec],
        keeper: TableKeeper,
        *,
        cluster_id: str,
        wake: Callable[[Key], None],
    ) -> None:
        self._keeper = keeper
        self._wake = wake
        self._wanted = {spec.name: _wanted(spec, cluster_id) for spec in specs}
        self._memories = {name: TableMemory() for name in self._wanted}
        self._remembered = dict.fromkeys(self._wanted, Remembered())
        self._kept: dict[str, Kept] = {}
        self._users: dict[str, set[Key]] = {name: set() for name in self._wanted}

    @property
    def keys(self) -> list[SharedKey]:
        """Keys for the work queue."""
        return [SharedKey(name) for name in self._wanted]

    def recall(self, document: Mapping[str, Any]) -> None:
        """Learn from a group in it that a table was there before: losing one loses rows."""
        table = (document.get("status") or {}).get("table") or {}
        name = (document.get("spec") or {}).get("storage", {}).get("tableName")
        if name in self._wanted and table.get("ownership") == "Claimed" and table.get("status") in USABLE:
            known = table.get("id") or table.get("arn")
            self._remembered[name] = Remembered(table_id=known, was_usable=True)

    def find(self, name: str) -> WantedTable | None:
        """Return a table that the platform offers; None where it offers none of that name."""
        return self._wanted.get(name)

    def last(self, name: str, asking: Key) -> SharedState:
        """Return what was last found of a table; who asks is woken when that changes."""
        self._users[name].add(asking)
        return SharedState(self._wanted[name], self._kept.get(name, Kept(plan=Plan())))

    def forget(self, key: Key) -> None:
        """Wake a group no more: it is gone."""
        for users in self._users.values():
            users.discard(key)

    async def reconcile(self, key: SharedKey, urgency: Urgency) -> Done:
        """Keep one table; the groups in it hear of what they have to tell."""
        wanted, memory = self._wanted[key.table], self._memories[key.table]
        before = self._kept.get(key.table)
        kept = await self._keeper.keep(wanted, self._remembered[key.table], memory, urgency, act_too=True)
        if kept.is_news or before is None:
            self._kept[key.table] = kept
            self._note(key.table, kept, before)
        return Done(kept.again_seconds, failed=kept.failed)

    def _note(self, name: str, kept: Kept, before: Kept | None) -> None:
        table = kept.seen.table if kept.seen else None
        if kept.plan.table.holds and table is not None:
            self._remembered[name] = Remembered(table_id=table.id or table.arn, was_usable=True)
        if before is not None and _told(before) == _told(kept):
            return
        for finding in _told(kept):
            _log.info("shared_table", table=name, reason=finding.reason, message=finding.message)
        for key in self._users[name]:
            self._wake(key)

    def __repr__(self) -> str:
        return f"<SharedTables {', '.join(self._wanted) or 'none'}>"


def _told(kept: Kept) -> tuple[Finding, Finding]:
    """What every group in the table tells of it: TableReady and TTLApplied."""
    return kept.plan.table, kept.plan.ttl


def _wanted(spec: SharedTableSpec, cluster_id: str) -> WantedTable:
    return shared_table(
        spec.name,
        spec.settings,
        cluster_id=cluster_id,
        region=spec.region,
        may_adopt=spec.adoption == "IfCompatible",
    )
