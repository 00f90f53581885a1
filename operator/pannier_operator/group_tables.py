"""The table of a group: its own, or a claim in a shared one, or none; kept, and reported in one form."""

from __future__ import annotations

from pannier.spec import FeatureGroup
from pannier_operator.aws.call_budget import Urgency
from pannier_operator.aws.observation import CALLS_OF_A_LOOK
from pannier_operator.catalogs.group_index import Key, SeenGroup
from pannier_operator.clock import Clock
from pannier_operator.planning.claim_plan import plan_shared, unknown_shared_table
from pannier_operator.planning.claims import claim_of
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.observed import Remembered
from pannier_operator.planning.plans import Plan
from pannier_operator.planning.wanted import WantedTable, dedicated_table
from pannier_operator.shared_tables import SharedTables
from pannier_operator.table_keeper import Kept, TableKeeper, TableMemory

_NOTHING_STORED = Plan(
    schema=Finding("True", "Accepted", "the features can be served"),
    table=Finding("True", "NothingStored", "storage.mode is None"),
    ttl=Finding("True", "NothingStored", "storage.mode is None"),
    claim_held=True,
)


class GroupTables:
    """Keeps the tables of all groups."""

    def __init__(
        self, keeper: TableKeeper, shared: SharedTables, clock: Clock, *, cluster_id: str, table_prefix: str
    ) -> None:
        self._keeper = keeper
        self._shared = shared
        self._clock = clock
        self._cluster_id = cluster_id
        self._table_prefix = table_prefix
        self._memories: dict[Key, TableMemory] = {}
        self._dedicated: set[Key] = set()

    def forget(self, key: Key) -> None:
        """Remember nothing more of a group."""
        self._memories.pop(key, None)
        self._dedicated.discard(key)
        self._shared.forget(key)

    def wanted(self, group: FeatureGroup, uid: str) -> WantedTable | None:
        """Return the table that a group's rows are in; None = none, or none that is offered."""
        storage = group.spec.storage
        if storage.mode == "Dedicated":
            return dedicated_table(group, cluster_id=self._cluster_id, uid=uid, prefix=self._table_prefix)
        return self._shared.find(storage.table_name) if storage.table_name else None

    async def keep(
        self, group: FeatureGroup, seen: SeenGroup, remembered: Remembered, urgency: Urgency, *, act_too: bool
    ) -> Kept:
        """Make one pass over the group's table."""
        mode = group.spec.storage.mode
        if mode == "None":
            return Kept(plan=_NOTHING_STORED)
        wanted = self.wanted(group, seen.uid)
        if wanted is None:
            return Kept(plan=unknown_shared_table(group.spec.storage.table_name or "?"))
        memory = self._memories.setdefault(seen.key, TableMemory())
        if mode == "Dedicated":
            self._dedicated.add(seen.key)
            return await self._keeper.keep(wanted, remembered, memory, urgency, act_too=act_too)
        claim = claim_of(group, cluster_id=self._cluster_id, uid=seen.uid, ownership="Claimed")
        table = self._shared.last(wanted.name, seen.key)
        if not table.kept.plan.table.holds:
            return Kept(plan=plan_shared(claim, None, table.kept.plan, self._clock.now()))
        return await self._keeper.keep_claim(table, claim, memory, urgency, act_too=act_too)

    def calls_of_a_pass(self) -> int:
        """Count the control-plane calls of one look at everything."""
        return CALLS_OF_A_LOOK * (len(self._dedicated) + len(self._shared.keys))

    def __repr__(self) -> str:
        return f"<GroupTables of {len(self._memories)} groups>"
