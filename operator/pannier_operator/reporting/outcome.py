"""What one pass over a group came to, before it is put into words of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pannier_operator.planning.findings import Difference, Finding
from pannier_operator.planning.plans import NOT_SEEN

NOT_OBSERVED: Final = Finding(
    "Unknown", "SidecarsNotObserved", "the operator has no catalog endpoint, so it hears of no sidecar"
)
ManagementPolicy = Literal["Full", "Observe", "Paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Findings of one pass, and the facts that go into status beside the conditions."""

    generation: int
    management: ManagementPolicy = "Full"
    schema: Finding = NOT_SEEN
    table: Finding = NOT_SEEN
    ttl: Finding = NOT_SEEN
    published: Finding = NOT_SEEN
    served: Finding = NOT_OBSERVED
    on_demand: Finding | None = None
    """None = the group is stored."""
    differences: tuple[Difference, ...] = ()
    drifted: bool = False
    """Nobody edited the spec: somebody changed the table."""
    fault: Finding | None = None
    """What AWS refused or did not answer on the way."""
    in_sync: Finding | None = None
    """Set where it is not judged anew."""
    under_way: bool = False
    """Something is being done or waited for."""
    stalled: bool = False
    """Nothing will change until somebody acts."""
    farewell: Finding | None = None
    """The resource is being deleted, and this is how far that is."""
    facts: Mapping[str, Any] | None = None
    """``schema``, ``table``, ``config`` and ``policy`` of status."""
