"""Per-feature last-writer-wins, said as plainly as possible: all writes applied by event time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pannier_sidecar.row import Fragments, Put


@dataclass
class LastWriter:
    """What writes with distinct event times come to, whatever order they arrived in."""

    values: Fragments = field(default_factory=dict)
    exists: bool = False

    @classmethod
    def of(cls, puts: Iterable[Put]) -> LastWriter:
        """Apply merges, replaces and deletes by event time."""
        model = cls()
        for put in sorted(puts, key=lambda put: put.event_time_us or 0):
            if put.tombstone or put.mode == "replace":
                model.values = {}
            model.values.update(put.values)
            for feature in put.unset:
                model.values.pop(feature, None)
            model.exists = not put.tombstone
        return model
