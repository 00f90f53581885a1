"""L1: the cache in this process. Bounded in bytes per process and per group; a hit is one dict lookup.

Entries stay past their hard deadline, to be served stale while lower tiers are down, until room is needed.
What is held is never loaded from here: `pannier_sidecar.loader` fills it, `pannier_sidecar.read_path` reads
it. Who has to go is decided by `pannier_sidecar.tiers.eviction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import random
from typing import Final

from pannier_sidecar.entry import freshness
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.metrics import L1Usage
from pannier_sidecar.packing import pack_state
from pannier_sidecar.packs import Pack, Rendered
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.read_shape import ReadShape
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_entry import (
    BYTES_OBJECT,
    LOOK_NOW,
    LocalEntry,
    early_refresh_us,
    first_look_us,
    holds_same_rows,
    local_deadlines,
    make_entry,
)
from pannier_sidecar.tiers.l1_segment import Segment

NEGATIVE_SHARE: Final = 0.05
"""Of a group's room, at most, for entries that say there is nothing."""
RETRY_US: Final = 1_000_000
"""How long a failed load keeps the next one of the same id away, as long as there is something to serve."""


class L1Cache:
    """All groups' segments within one budget of bytes."""

    def __init__(self, max_bytes: int, *, dice: Callable[[], float] = random) -> None:
        self.max_bytes = max_bytes
        self._dice = dice
        self._segments: dict[str, Segment] = {}

    def segment(self, plan: GroupPlan) -> Segment:
        """The segment of a group; stays the same object as long as the group is served."""
        segment = self._segments.get(plan.name)
        if segment is None:
            segment = self._segments[plan.name] = Segment(plan.name)
        segment.limit_bytes = plan.policy.local.max_bytes or self.max_bytes
        return segment

    def follow(self, plan: ReadPlan) -> None:
        """Forget groups that are no longer served, and what was made ready under the plan before."""
        for segment in self._segments.values():
            segment.forget_ready()
        for name in self._segments.keys() - plan.groups.keys():
            self._segments.pop(name).clear()

    def look(
        self, plan: GroupPlan, row_id: str, now_us: int, load_us: float
    ) -> tuple[LocalEntry | None, Freshness]:
        """What is held of an id under this plan, and how fresh; counts as a read. Not for `Strong` groups."""
        entry = self.held(plan, row_id, now_us)
        if entry is None:
            return None, Freshness.EXPIRED
        entry.reads += 1
        if now_us < entry.check_at_us:
            return entry, Freshness.FRESH
        if entry.shape_until_us is not None and now_us >= entry.shape_until_us:
            self._forget_shape(entry)
            entry.check_at_us = freshness.earliest(entry.early_us, entry.pack.valid_until_us) or LOOK_NOW
        if now_us >= entry.hard_us or not entry.row:
            return entry, Freshness.EXPIRED
        if now_us < entry.retry_at_us:
            return entry, Freshness.FRESH
        if now_us >= entry.soft_us:
            return entry, Freshness.SOFT
        if not entry.early_us:
            entry.early_us = early_refresh_us(entry, now_us, load_us, self._dice())
            ends_us = entry.early_us, entry.pack.valid_until_us, entry.shape_until_us
            entry.check_at_us = freshness.earliest(*ends_us) or LOOK_NOW
        return entry, Freshness.EARLY if now_us >= entry.early_us else Freshness.FRESH

    def held(self, plan: GroupPlan, row_id: str, now_us: int) -> LocalEntry | None:
        """What is held of an id that is true under this plan, at any age, expired rows taken out."""
        segment = self._segments.get(plan.name)
        entry = segment.entries.get(row_id) if segment is not None else None
        if segment is None or entry is None:
            return None
        if entry.plan is not plan:
            if plan.policy.local.state != "Enabled" or not holds_same_rows(entry.plan, plan):
                segment.drop(row_id)
                return None
            return self._renewed(segment, row_id, entry, plan, now_us)
        valid_until_us = entry.pack.valid_until_us
        if valid_until_us is not None and valid_until_us <= now_us:
            return self._renewed(segment, row_id, entry, plan, now_us)
        return entry

    def make(self, plan: GroupPlan, pack: Pack, now_us: int) -> LocalEntry:
        """Date a pack as if it were taken in now, without holding it."""
        return make_entry(plan, pack, now_us, self._jitter(plan), self._jitter(plan))

    def put(self, plan: GroupPlan, row_id: str, pack: Pack, now_us: int) -> LocalEntry:
        """Take a pack in, in place of what is held, if the group has an L1. The caller has merged."""
        entry = self.make(plan, pack, now_us)
        self._hold(plan, row_id, entry, now_us)
        return entry

    def put_stale(self, key: RowKey, pack: Pack, now_us: int, until_us: int) -> LocalEntry:
        """Take in what is past its hard deadline, to be served stale without asking L3 again for a while."""
        entry = self.make(key.plan, pack, now_us)
        entry.taken_at_us = min(pack.loaded_at_us, now_us)  # no new life under another policy either
        entry.hard_us = min(until_us - key.plan.policy.stale_if_error_seconds * 1_000_000, now_us)
        entry.soft_us = min(entry.soft_us, entry.hard_us)
        entry.check_at_us = LOOK_NOW
        entry.retry_at_us = now_us + RETRY_US
        self._hold(key.plan, key.id, entry, now_us)
        return entry

    def amend(self, key: RowKey, held: LocalEntry, pack: Pack, now_us: int) -> None:
        """Put what a write changed into a held entry; its deadlines stay, the rest of it is no younger."""
        entry = self.make(key.plan, pack, now_us)
        entry.soft_us = min(held.soft_us, entry.soft_us)
        entry.hard_us = min(held.hard_us, entry.hard_us)
        entry.taken_at_us, entry.reads, entry.swept_reads = held.taken_at_us, held.reads, held.swept_reads
        entry.check_at_us = min(entry.check_at_us, entry.soft_us)
        self._hold(key.plan, key.id, entry, now_us)

    def drop(self, key: RowKey) -> None:
        """Hold nothing of an id any more."""
        segment = self._segments.get(key.plan.name)
        if segment is not None:
            segment.drop(key.id)

    def remember(self, entry: LocalEntry, row_id: str, shape: ReadShape, rendered: Rendered) -> None:
        """Keep the answer to another question than the default one with a held entry."""
        segment = self._segments.get(entry.plan.name)
        if segment is None or segment.entries.get(row_id) is not entry:
            return
        row = rendered.row
        segment.grow(entry, len(row) - len(entry.shape_row) + (0 if entry.shape_row else BYTES_OBJECT))
        entry.shape, entry.shape_row, entry.shape_until_us = shape, row, rendered.valid_until_us
        if rendered.valid_until_us is not None:
            entry.check_at_us = min(entry.check_at_us, rendered.valid_until_us)

    def postpone(self, key: RowKey, now_us: int) -> None:
        """Keep the next background refresh of an id away for a while: the last one failed."""
        segment = self._segments.get(key.plan.name)
        entry = segment.entries.get(key.id) if segment is not None else None
        if entry is not None:
            entry.retry_at_us = now_us + RETRY_US

    def usage(self) -> Mapping[str, L1Usage]:
        """Entries, bytes and evictions by group, for metrics and status."""
        return {s.name: L1Usage(len(s.entries), s.bytes, s.evictions) for s in self._segments.values()}

    @property
    def bytes(self) -> int:
        """Bytes held by all groups."""
        return sum(segment.bytes for segment in self._segments.values())

    def _forget_shape(self, entry: LocalEntry) -> None:
        """Let go of the answer to the other question: something it shows has expired."""
        self.segment(entry.plan).grow(entry, -len(entry.shape_row) - BYTES_OBJECT)
        entry.shape, entry.shape_row, entry.shape_until_us = None, b"", None

    def _renewed(
        self, segment: Segment, row_id: str, entry: LocalEntry, plan: GroupPlan, now_us: int
    ) -> LocalEntry:
        """The same entry under the policy of now: new deadlines from the same start, expired rows out."""
        old_hard_us = entry.hard_us
        pack = pack_state(plan, row_id, entry.state(), now_us)
        due = local_deadlines(plan, pack, entry.taken_at_us, self._jitter(plan), self._jitter(plan))
        hard_us = due.hard_us if entry.plan is not plan else min(due.hard_us, old_hard_us)
        renewed = LocalEntry(
            plan=plan,
            check_at_us=first_look_us(plan, pack, entry.taken_at_us, due),
            row=pack.row,
            negative=int(pack.is_negative),
            pack=pack,
            taken_at_us=entry.taken_at_us,
            soft_us=min(due.soft_us, hard_us),
            hard_us=hard_us,
            reads=entry.reads,
            swept_reads=entry.swept_reads,
        )
        segment.put(row_id, renewed)
        return renewed

    def _hold(self, plan: GroupPlan, row_id: str, entry: LocalEntry, now_us: int) -> None:
        if plan.policy.local.state == "Enabled":
            segment = self.segment(plan)
            segment.put(row_id, entry)
            self._make_room(segment, now_us)

    def _jitter(self, plan: GroupPlan) -> float:
        return freshness.jitter_fraction(plan.policy.jitter_percent, self._dice())

    def _make_room(self, segment: Segment, now_us: int) -> None:
        while segment.negative_bytes > segment.limit_bytes * NEGATIVE_SHARE and segment.evict(
            segment.missing, now_us
        ):
            pass
        while segment.bytes > segment.limit_bytes and self._evict_from(segment, now_us):
            pass
        if self.bytes > self.max_bytes:
            self._shrink(now_us)

    def _shrink(self, now_us: int) -> None:
        """Take room from the largest groups until the process is within its budget."""
        while self.bytes > self.max_bytes:
            largest = max(self._segments.values(), key=lambda segment: segment.bytes)
            if not self._evict_from(largest, now_us):
                return

    def _evict_from(self, segment: Segment, now_us: int) -> bool:
        return segment.evict(segment.found, now_us) or segment.evict(segment.missing, now_us)

    def __repr__(self) -> str:
        return f"<L1Cache {len(self._segments)} groups, {self.bytes}/{self.max_bytes} bytes>"
