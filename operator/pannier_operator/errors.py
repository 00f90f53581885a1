"""Faults of AWS and Kubernetes in the operator's words.

::

    PannierError
    └── OperatorError
        ├── AwsFault         a call to DynamoDB that brought no answer, classified
        ├── KubeFault        a request that the API server refused or did not answer
        ├── LeadershipLost   this replica may not write any more
        └── CannotStart      something without which the operator does not begin
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pannier.errors import PannierError

FaultKind = Literal[
    "Transient", "Terminal", "RateLimited", "NotFound", "AlreadySo", "Conflict", "Unsupported"
]
"""Transient: again, later. Terminal: not before somebody acts (or the next resync). RateLimited: not before a
date. AlreadySo: nothing to change. Conflict: it is not as it was seen; look again. Unsupported: the endpoint
does not know the operation, as emulators do not."""


class OperatorError(PannierError):
    """Root of what the operator raises on purpose."""


@dataclass(eq=False, kw_only=True)
class AwsFault(OperatorError):
    """A call to DynamoDB failed."""

    kind: FaultKind
    operation: str
    code: str
    """AWS's own word."""
    reason: str
    """One of the documented reasons of conditions."""
    message: str
    until: datetime | None = None
    """From when AWS takes the call, if it said so."""

    def __str__(self) -> str:
        return self.message


class KubeFault(OperatorError):
    """A request to the API server failed; ``status`` 0 = it did not answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else was quicker, or holds the field."""
        return self.status == CONFLICT

    @property
    def is_missing(self) -> bool:
        """Whether there is no such object."""
        return self.status == NOT_FOUND


CONFLICT = 409
NOT_FOUND = 404


class LeadershipLost(OperatorError):
    """The Lease was not renewed in time: nothing may be written any more."""


class CannotStart(OperatorError):
    """The operator cannot begin; the message says what is missing."""
