"""Ids whose state is on its way to this sidecar: what is heard of them meanwhile must not be forgotten.

A load or write that is in the air may bring a state older than what another sidecar announces before it
lands. So announcements of these ids are noted (`pannier_sidecar.recent_writes`); of ids that are neither held
nor underway there is nothing to note, which keeps the notes few however many others write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from pannier_sidecar.row import RowKey


class Underway:
    """Counts what is in the air, by id. Not by plan: a new catalog must not lose sight of what flies."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    @contextlib.contextmanager
    def of(self, keys: Iterable[RowKey]) -> Iterator[None]:
        """While this lasts, states of these ids may arrive that are older than what is heard."""
        addresses = [(key.plan.cache_prefix, key.id) for key in keys]
        counts = self._counts
        for address in addresses:
            counts[address] = counts.get(address, 0) + 1
        try:
            yield
        finally:
            for address in addresses:
                left = counts[address] - 1
                if left:
                    counts[address] = left
                else:
                    del counts[address]

    def holds(self, prefix: str, row_id: str) -> bool:
        """Whether anything of this id is in the air."""
        return (prefix, row_id) in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    def __repr__(self) -> str:
        return f"<Underway {len(self._counts)} ids>"
