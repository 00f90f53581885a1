"""L1: the cache in this process. Bounded in bytes per process and per group; a hit is one dict lookup.

Entries stay past their hard deadline, to be served stale while lower tiers are down, until room is needed.
What is held is never loaded from here: `pannier_sidecar.loader` fills it, `pannier_sidecar.read_path` reads
it. Who has to go is decided by `pannier_sidecar.tiers.eviction`. No call takes long, however much is held:
what is too much at once is left for `L1Cache.tend`.
"""

# Longer than 300 lines because every way into and out of L1 is here, and each is a few lines.

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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
    holds_same_bytes,
    holds_same_rows,
    local_deadlines,
    make_entry,
    redate,
)
from pannier_sidecar.tiers.l1_segment import HeldBytes, Segment
from pannier_sidecar.tiers.terms import Terms

NEGATIVE_SHARE: Final = 0.05
"""Of a group's room, at most, for entries that say there is nothing."""
RETRY_US: Final = 1_000_000
"""How long a failed load keeps the next one of the same id away, as long as there is something to serve."""
MOST_EVICTIONS: Final = 500
"""Made at once: about a millisecond. Only a lowered limit asks for more."""
_FREED_AT_ONCE: Final = 500


class L1Cache:
    """All groups' segments within one budget of bytes."""

    def __init__(
        self,
        max_bytes: int,
        *,
        dice: Callable[[], float] = random,
        can_refresh: Callable[[], bool] = lambda: True,
    ) -> None:
        """``can_refresh``: whether L2 can tell news now; while it cannot, entries keep their deadlines."""
        self.max_bytes = max_bytes
        self._dice = dice
        self._can_refresh = can_refresh
        self.epoch = 0
        """Rises when announcements may have been missed; a load remembers the one it began in."""
        self._segments: dict[str, Segment] = {}
        self._held = HeldBytes()
        self._retired: list[dict[str, LocalEntry] | dict[str, bytes]] = []
        self._followed: ReadPlan | None = None

    def segment(self, plan: GroupPlan) -> Segment:
        """The segment of a group; stays the same object as long as the group is served out of L1."""
        segment = self._segments.get(plan.name)
        if segment is None:
            segment = self._segments[plan.name] = Segment(plan.name, Terms(plan, self.epoch), self._held)
        segment.limit_bytes = plan.policy.local.max_bytes or self.max_bytes
        return segment

    def follow(self, plan: ReadPlan) -> None:
        """Forget groups that have no L1 any more, and what was made ready of those that changed.

        All of it stays in memory until `tend` has freed it: a million entries would take a second. Entries of
        a changed group are looked at when they are read.
        """
        before = self._followed.groups if self._followed is not None else {}
        self._followed = plan
        for name, segment in list(self._segments.items()):
            group = plan.groups.get(name)
            if group is not None and group is before.get(name):
                continue
            self._retired += segment.forget_ready()
            if group is None or not group.policy.local.is_filled:
                self._retired += self._segments.pop(name).clear()
            elif self.segment(group).terms.plan is not group:  # else it was written to before it was read
                segment.renew(Terms(group, segment.terms.epoch))

    def tend(self, now_us: int) -> bool:
        """Do a part of what would take too long at once; True if there is more of it."""
        for segment in self._segments.values():
            if segment.bytes > segment.limit_bytes:
                self._make_room(segment, now_us)
        if self._retired:
            retired = self._retired[-1]
            for _ in range(min(_FREED_AT_ONCE, len(retired))):
                retired.popitem()
            if not retired:
                self._retired.pop()
        return bool(self._retired) or any(s.bytes > s.limit_bytes for s in self._segments.values())

    def doubt(self, groups: Collection[str]) -> None:
        """Announcements of these groups may have been missed: what is held of them counts as soft-expired.

        Each entry at its next look, which serves it and refreshes it once: no flush, no herd.
        """
        self.epoch += 1
        for name in groups:
            segment = self._segments.get(name)
            if segment is not None:
                self._retired += segment.renew(Terms(segment.terms.plan, self.epoch))

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
            if not plan.policy.local.is_filled or not holds_same_rows(entry.plan, plan):
                segment.drop(row_id)
                return None
            if not holds_same_bytes(entry.plan, plan):
                return self._renewed(segment, row_id, entry, plan, now_us)
            redate(entry, plan, self._jitter(plan), self._jitter(plan))
            if entry.shape is not None:
                self._forget_shape(entry)
        if entry.terms is not segment.terms:
            segment.reconsider(entry, now_us, can_refresh=self._can_refresh())
        valid_until_us = entry.pack.valid_until_us
        if valid_until_us is not None and valid_until_us <= now_us:
            return self._renewed(segment, row_id, entry, plan, now_us)
        return entry

    def make(self, plan: GroupPlan, pack: Pack, now_us: int) -> LocalEntry:
        """Date a pack as if it were taken in now, without holding it."""
        return make_entry(plan, pack, now_us, self._jitter(plan), self._jitter(plan))

    def put(
        self, plan: GroupPlan, row_id: str, pack: Pack, now_us: int, epoch: int | None = None
    ) -> LocalEntry:
        """Take a pack in, in place of what is held, if the group has an L1. The caller has merged.

        ``epoch`` is the one that its load began in; None = it is as new as can be.
        """
        entry = self.make(plan, pack, now_us)
        self._hold(plan, row_id, entry, now_us, epoch)
        return entry

    def put_loaded(
        self, plan: GroupPlan, row_id: str, pack: Pack, now_us: int, epoch: int | None = None
    ) -> LocalEntry:
        """Take in what a load brought, if the group admits it; gives the entry to serve either way."""
        if plan.policy.local_admission == "Always" or plan.policy.local.state != "Enabled":
            return self.put(plan, row_id, pack, now_us, epoch)
        entry = self.make(plan, pack, now_us)
        if self.segment(plan).admits(row_id, entry):
            self._hold(plan, row_id, entry, now_us, epoch)
        return entry

    def put_stale(self, key: RowKey, pack: Pack, now_us: int, until_us: int, epoch: int) -> LocalEntry:
        """Take in what is past its hard deadline, to be served stale without asking L3 again for a while."""
        entry = self.make(key.plan, pack, now_us)
        entry.taken_at_us = min(pack.loaded_at_us, now_us)  # no new life under another policy either
        entry.hard_us = min(until_us - key.plan.policy.stale_if_error_seconds * 1_000_000, now_us)
        entry.soft_us = min(entry.soft_us, entry.hard_us)
        entry.check_at_us = LOOK_NOW
        entry.retry_at_us = now_us + RETRY_US
        self._hold(key.plan, key.id, entry, now_us, epoch)
        return entry

    def amend(self, key: RowKey, held: LocalEntry, pack: Pack, now_us: int) -> None:
        """Put what a write changed into a held entry; its deadlines stay, the rest of it is no younger."""
        entry = self.make(key.plan, pack, now_us)
        entry.soft_us = min(held.soft_us, entry.soft_us)
        entry.hard_us = min(held.hard_us, entry.hard_us)
        entry.taken_at_us, entry.reads, entry.swept_reads = held.taken_at_us, held.reads, held.swept_reads
        entry.check_at_us = min(entry.check_at_us, entry.soft_us)
        self._hold(key.plan, key.id, entry, now_us, held.terms.epoch)

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

    def renew_at(self, key: RowKey, at_us: int, now_us: int) -> LocalEntry | None:
        """Let an entry be refreshed from then on, and not before; None if there is none to serve."""
        entry = self.held(key.plan, key.id, now_us)
        if entry is None or not entry.row or now_us >= entry.hard_us:
            return None
        entry.soft_us = min(entry.soft_us, at_us)
        entry.check_at_us = min(entry.check_at_us, entry.soft_us)
        entry.retry_at_us = min(at_us, entry.hard_us)
        return entry

    def usage(self) -> Mapping[str, L1Usage]:
        """What each group holds, and what came, went and was turned away; for metrics and status."""
        return {
            s.name: L1Usage(len(s.entries), s.bytes, s.evictions, s.stores, s.turned_away)
            for s in self._segments.values()
        }

    @property
    def bytes(self) -> int:
        """Bytes held by all groups."""
        return self._held.bytes

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
            retry_at_us=entry.retry_at_us,
            terms=segment.terms_of(plan, entry.terms.epoch),
        )
        segment.put(row_id, renewed)
        if renewed.terms is not segment.terms:
            segment.reconsider(renewed, now_us, can_refresh=self._can_refresh())
        return renewed

    def _hold(
        self, plan: GroupPlan, row_id: str, entry: LocalEntry, now_us: int, epoch: int | None = None
    ) -> None:
        if plan.policy.local.is_filled:
            segment = self.segment(plan)
            entry.terms = segment.terms_of(plan, self.epoch if epoch is None else epoch)
            segment.put(row_id, entry)
            self._make_room(segment, now_us)

    def _jitter(self, plan: GroupPlan) -> float:
        return freshness.jitter_fraction(plan.policy.jitter_percent, self._dice())

    def _make_room(self, segment: Segment, now_us: int) -> None:
        most_negative_bytes = segment.limit_bytes * NEGATIVE_SHARE
        for _ in range(MOST_EVICTIONS):
            if segment.negative_bytes > most_negative_bytes and segment.evict(segment.missing, now_us):
                continue
            if segment.bytes > segment.limit_bytes and self._evict_from(segment, now_us):
                continue
            if self._held.bytes <= self.max_bytes or not self._evict_from(self._fullest(), now_us):
                return

    def _fullest(self) -> Segment:
        """The group that gives way in a full process: the one nearest to its own limit, or furthest above.

        So all give way by the same share of what they were promised, and who takes little keeps it.
        """
        return max(self._segments.values(), key=lambda segment: segment.fullness)

    def _evict_from(self, segment: Segment, now_us: int) -> bool:
        return segment.evict(segment.found, now_us) or segment.evict(segment.missing, now_us)

    def __repr__(self) -> str:
        return f"<L1Cache {len(self._segments)} groups, {self.bytes}/{self.max_bytes} bytes>"
