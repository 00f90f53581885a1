"""A key on its way down the tiers: what is known of it above L3, and how its load ended. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

from pannier_sidecar.errors import TierError
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_entry import LocalEntry

Source = Literal["l1", "l2", "l3", "on_demand"]


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """How a load ended: an entry to answer from, or why there is none."""

    entry: LocalEntry | None
    source: Source
    stale: bool = False
    """Past its hard deadline, and served because L3 did not answer."""
    error: TierError | None = None


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of one id above L3."""

    key: RowKey
    state: State | None
    """What L1 held, L2 said and this sidecar wrote of late, merged; nothing past its hard deadline."""
    from_l2: State | None
    """What L2 said, at any age."""
    needs_strong_read: bool
    """Whether an eventually consistent read of L3 could answer with less than is known to exist."""
    epoch: int
    """L1's epoch when the load began: what was announced before a later one may be missing here."""
    is_new_to_l2: bool = False
    """Whether L2 was asked and had nothing of it, not even a ghost."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """What L3 said of one key."""

    known: Known
    state: State | TierError
    strong: bool
