"""What the paths need of L2: a bulk read (`l2_redis`) and a writer in the background (`backfill`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.lease import Claimed, Lease
from pannier_sidecar.row import RowKey


class SharedReader(Protocol):
    """Reads the shared cache."""

    async def read(self, keys: Sequence[RowKey]) -> list[Record | Timeline | TierError | None]:
        """What L2 holds of each key, in one pipelined round trip; an outage is a `TierError` per key."""
        ...


class LeaseTaker(Protocol):
    """Hands out leases on loading keys from L3."""

    async def lease(self, wanted: Sequence[Lease]) -> list[Claimed]:
        """Take each lease unless somebody holds it, and then look what L2 holds of its key."""
        ...


class SharedWriter(Protocol):
    """Writes the shared cache behind the answer."""

    def backfill(self, key: RowKey, entry: Record | Timeline) -> None:
        """Offer what L3 said; may be dropped when there is too much of it."""
        ...

    def leave_ghost(self, key: RowKey) -> None:
        """Leave a sign that the key was asked for, in place of what L3 said."""
        ...

    def confirm(self, key: RowKey, delta: Record | Timeline) -> None:
        """Take over a write: retried until L2 has it."""
        ...

    def overlay(self, key: RowKey, entry: Record | Timeline | None) -> Record | Timeline | None:
        """Merge what L2 said with the writes that it has not confirmed."""
        ...


class Message(NamedTuple):
    """Something to tell everyone who listens on a channel."""

    channel: str
    payload: bytes


class SharedMerger(Protocol):
    """Merges entries into the shared cache."""

    async def merge(
        self,
        deltas: Sequence[tuple[RowKey, Record | Timeline]],
        leases: Sequence[Lease] = (),
        messages: Sequence[Message] = (),
    ) -> list[TierError | None]:
        """Merge each, let go of the leases and publish the messages after that.

        An outcome of each delta and then of each message, None where it is done.
        """
        ...
