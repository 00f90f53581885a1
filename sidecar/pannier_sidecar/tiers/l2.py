"""What the paths need of L2: a bulk read (`l2_redis`) and a writer in the background (`backfill`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.row import RowKey


class SharedReader(Protocol):
    """Reads the shared cache."""

    async def read(self, keys: Sequence[RowKey]) -> list[Record | Timeline | TierError | None]:
        """What L2 holds of each key, in one pipelined round trip; an outage is a `TierError` per key."""
        ...


class SharedWriter(Protocol):
    """Writes the shared cache behind the answer."""

    def backfill(self, key: RowKey, entry: Record | Timeline) -> None:
        """Offer what L3 said; may be dropped when there is too much of it."""
        ...

    def confirm(self, key: RowKey, delta: Record | Timeline) -> None:
        """Take over a write: retried until L2 has it."""
        ...

    def overlay(self, key: RowKey, entry: Record | Timeline | None) -> Record | Timeline | None:
        """Merge what L2 said with the writes that it has not confirmed."""
        ...
