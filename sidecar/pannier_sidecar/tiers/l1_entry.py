"""One entry of L1: an answer's bytes, its deadlines and how often it was read.

The hot path touches four attributes: ``terms``, ``check_at_us``, ``row``, ``reads``. Whatever needs a second
look (a deadline, another plan, an expired row) has ``check_at_us`` in the past and goes through
`pannier_sidecar.tiers.l1_local`.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from pannier_sidecar.entry.freshness import Deadlines, deadlines, earliest, early_window_us
from pannier_sidecar.entry.record import MICROSECONDS, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.packs import Pack, RecordPack
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import ReadShape
from pannier_sidecar.tiers.terms import NOT_HELD, Terms

State = Record | Timeline
"""An entry of any tier, as `pannier_sidecar.entry` defines it."""

LOOK_NOW: Final = 0
BYTES_OBJECT: Final = 33
"""Bytes of an empty ``bytes``."""
_SLOT: Final = 150
"""Bytes of dict slots and of places in the eviction ring and among ready rows, at the fill that growing dicts
have on average."""
_STRUCTS: Final = 224
_INTEGERS: Final = 6 * 32
_FIXED: Final = _STRUCTS + _INTEGERS + _SLOT + 2 * BYTES_OBJECT + 49
"""Of every entry: entry and pack, their integers, its place, two ``bytes`` and the id's ``str``."""

_AHEAD: Final = 0.914
_AHEAD_MORE: Final = 0.376
"""Mean gaps between reads by which a drawn moment is moved ahead, so that as many entries are refreshed early
as by rolling at every read; fitted for 0.6 to 30 reads per window (the exact integral, see the tests)."""


class LocalEntry(msgspec.Struct, gc=False):
    """What L1 holds for one id. Mutable: reads are counted, and the row of the last other shape is kept."""

    plan: GroupPlan
    check_at_us: int
    """Until then a hit needs no look at the deadlines."""
    row: bytes
    """The answer to the default question, ready to be spliced."""
    negative: int
    """1 if it says that there is nothing."""
    pack: Pack
    taken_at_us: int
    soft_us: int
    hard_us: int
    reads: int = 0
    swept_reads: int = 0
    """``reads`` when the hand of eviction last passed; what came since buys chances."""
    chances: int = 0
    """How many more times the hand passes without a read."""
    place: int = 0
    """Number of its place in the order of eviction."""
    early_us: int = 0
    """When the next read refreshes early; drawn at the first look, by the read rate. 0 = not yet."""
    weight: int = 0
    """Bytes that the cache counts for it."""
    retry_at_us: int = 0
    """No refresh before this: the last one failed."""
    shape: ReadShape | None = None
    shape_row: bytes = b""
    """Answer to the last question that was not the default one."""
    shape_until_us: int | None = None
    """When that answer stops being true by itself; ``check_at_us`` is no later."""
    terms: Terms = NOT_HELD
    """What it is held under; other ones than those in force make it be looked at."""

    @property
    def due(self) -> Deadlines:
        """Soft and hard deadline."""
        return Deadlines(self.soft_us, self.hard_us)

    @property
    def stale_until_us(self) -> int:
        """Until when it may be served, marked, while lower tiers are down."""
        return self.hard_us + self.plan.policy.stale_if_error_seconds * 1_000_000

    def state(self) -> State:
        """The entry as a value to merge with."""
        return self.pack.unpack(self.plan)


def weight_of(row_id: str, entry: LocalEntry) -> int:
    """Bytes of memory that an entry takes, with its id and its place in the cache."""
    pack = entry.pack
    payload = len(pack.row) + len(pack.spans) + len(entry.shape_row) + _FIXED
    if not isinstance(pack, RecordPack):
        payload += len(pack.rest) + len(pack.meta) + 2 * BYTES_OBJECT
    return payload + len(row_id) * (1 if row_id.isascii() else 4)


def make_entry(
    plan: GroupPlan, pack: Pack, now_us: int, local_jitter: float, remote_jitter: float
) -> LocalEntry:
    """Date a pack: soft and hard count from now, and end with the remote hard deadline."""
    due = local_deadlines(plan, pack, now_us, local_jitter, remote_jitter)
    return LocalEntry(
        plan=plan,
        check_at_us=first_look_us(plan, pack, now_us, due),
        row=pack.row,
        negative=int(pack.is_negative),
        pack=pack,
        taken_at_us=now_us,
        soft_us=due.soft_us,
        hard_us=due.hard_us,
    )


def unheld_entry(plan: GroupPlan, pack: Pack, now_us: int) -> LocalEntry:
    """For one answer: nobody looks at it again, so it needs no deadlines."""
    return LocalEntry(
        plan=plan,
        check_at_us=LOOK_NOW,
        row=pack.row,
        negative=int(pack.is_negative),
        pack=pack,
        taken_at_us=now_us,
        soft_us=now_us,
        hard_us=now_us,
    )


def remote_deadlines(plan: GroupPlan, loaded_at_us: int, jitter: float, *, negative: bool) -> Deadlines:
    """Deadlines that hold for every copy of what L3 said at ``loaded_at_us``, in L2 and above."""
    is_dead = loaded_at_us <= plan.past.dead_loaded_us
    return deadlines(
        plan.policy.remote,
        taken_at_us=loaded_at_us,
        ceiling_us=plan.past.edited_at_us if is_dead else None,
        jitter_fraction=jitter,
        negative=negative,
    )


def local_deadlines(
    plan: GroupPlan, pack: Pack, taken_at_us: int, local_jitter: float, remote_jitter: float
) -> Deadlines:
    """This L1's own deadlines; without L2 the local policy bounds them.

    What was taken from L2 while the group still had one may be older than the local hard TTL. It ends where
    it would have, so that turning L2 off lets nothing grow older than it could with it.
    """
    negative = pack.is_negative
    ceiling_us = remote_deadlines(plan, pack.loaded_at_us, remote_jitter, negative=negative).hard_us
    if not plan.policy.remote.is_served:
        ceiling_us = max(ceiling_us, pack.loaded_at_us + plan.policy.local.hard_ttl_seconds * MICROSECONDS)
    return deadlines(
        plan.policy.local,
        taken_at_us=taken_at_us,
        ceiling_us=ceiling_us,
        jitter_fraction=local_jitter,
        negative=negative,
    )


def first_look_us(plan: GroupPlan, pack: Pack, taken_at_us: int, due: Deadlines) -> int:
    """When a new entry is first looked at: half way to soft, since its read rate is not known yet.

    A row that expires by itself is looked at no later than that. Strong groups and packs without an answer
    are looked at always.
    """
    if plan.is_strong or not pack.row:
        return LOOK_NOW
    is_early = plan.policy.early_expiration_factor > 0
    first_us = (taken_at_us + due.soft_us) // 2 if is_early else due.soft_us
    return earliest(first_us, pack.valid_until_us) or LOOK_NOW


def early_refresh_us(entry: LocalEntry, now_us: int, load_us: float, draw: float) -> int:
    """When the next read refreshes an entry early, drawn once instead of at every read; at the latest soft.

    Under the rule of `pannier_sidecar.entry.freshness.judge` a read that comes x before the soft deadline
    refreshes with the probability exp(-x/w). Reads at the rate r then bring the first success where the
    sum of chances so far, r * w * exp(-x/w), reaches a draw from the exponential distribution. That moment is
    known beforehand, and so hits until then cost one comparison and no dice. The success is itself a read;
    here the first read after the moment stands for it, so the moment is moved ahead by about one mean gap.
    """
    elapsed_us = max(now_us - entry.taken_at_us, 1)
    reads_per_us = max(entry.reads, 1) / elapsed_us
    window_us = early_window_us(
        entry.plan.policy.early_expiration_factor,
        reads_per_second=reads_per_us * 1_000_000,
        load_us=load_us,
        soft_ttl_us=entry.soft_us - entry.taken_at_us,
    )
    chances = -math.log1p(-draw)
    if window_us <= 0 or chances <= 0:
        return entry.soft_us
    expected = math.log(reads_per_us * window_us)
    before_us = window_us * (expected - math.log(chances)) + (_AHEAD + _AHEAD_MORE * expected) / reads_per_us
    return min(max(now_us, entry.soft_us - int(before_us)), entry.soft_us)


def redate(entry: LocalEntry, plan: GroupPlan, local_jitter: float, remote_jitter: float) -> None:
    """Put a held entry under the policy of now, in place; what is due counts from the same start."""
    due = local_deadlines(plan, entry.pack, entry.taken_at_us, local_jitter, remote_jitter)
    entry.plan = plan
    entry.soft_us, entry.hard_us, entry.early_us = due.soft_us, due.hard_us, 0
    entry.check_at_us = first_look_us(plan, entry.pack, entry.taken_at_us, due)


def holds_same_bytes(old: GroupPlan, new: GroupPlan) -> bool:
    """Whether even the answer to the default question is the same, so that nothing need be rendered anew."""
    return holds_same_rows(old, new) and old.query == new.query


def holds_same_rows(old: GroupPlan, new: GroupPlan) -> bool:
    """Whether bytes rendered under one plan are true under another: same rows, same names, same defaults."""
    return (
        old.schema_hash == new.schema_hash
        and old.cache_prefix == new.cache_prefix
        and old.table == new.table
        and old.is_timeline == new.is_timeline
    )
