"""A plan: what is found, what differs, the one mutation to make now, when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pannier_operator.planning.actions import Action
from pannier_operator.planning.claims import Ownership
from pannier_operator.planning.findings import Difference, Finding

CREATING_SECONDS: Final = 5.0
UPDATING_SECONDS: Final = 10.0
DISABLING_SECONDS: Final = 60.0

NOT_SEEN: Final = Finding("Unknown", "NotSeenYet", "not looked at yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What follows from one look at a table. At most one mutation: after it, look again."""

    table: Finding = NOT_SEEN
    """For condition TableReady."""
    ttl: Finding = NOT_SEEN
    """For condition TTLApplied."""
    schema: Finding = NOT_SEEN
    """For condition SchemaAccepted: whether the claim is, or can be, held."""
    claim_held: bool = False
    """The claim says what the spec says: the schema may be published."""
    ownership: Ownership | None = None
    differences: tuple[Difference, ...] = ()
    action: Action | None = None
    again_seconds: float | None = None
    """When to look again if nothing happens; None = with the next resync."""
    stalled: bool = False
    """Nothing will change until somebody acts."""

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left to do or to wait for."""
        return self.action is None and self.again_seconds is None
