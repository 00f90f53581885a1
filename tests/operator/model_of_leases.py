"""A Lease as an API server keeps it, for tries of the election against a clock that is moved by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime

from pannier_operator.errors import KubeFault
from pannier_operator.kube.leases import Lease


class ModelLease:
    """One Lease: a write from an outdated look is a conflict; it can be made unreachable."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.reachable = True
        self.writes: list[str] = []
        self._versions = itertools.count(1)

    async def read(self) -> Lease | None:
        """The Lease as it is."""
        self._must_be_reachable()
        return self.lease

    async def write(self, holder: str, seconds: int, now: datetime, seen: Lease | None) -> Lease:
        """Take or renew it, if it is as it was seen."""
        self._must_be_reachable()
        current = self.lease.resource_version if self.lease else None
        if (seen.resource_version if seen else None) != current:
            raise KubeFault(409, "Conflict", "the object has been modified")
        self.writes.append(holder)
        fresh = Lease(
            holder=holder, renewed=now.isoformat(), seconds=seconds, transitions=0, resource_version=""
        )
        self.lease = replace(fresh, resource_version=str(next(self._versions)))
        return self.lease

    def _must_be_reachable(self) -> None:
        if not self.reachable:
            raise KubeFault(0, "NoAnswer", "unreachable")
