"""What checking a sample says: whether L3 contradicts what this sidecar serves, and how long it does.

Pure decisions of `pannier_sidecar.observer`, after "Cache made consistent" (Meta, 2022): a sample that L3
contradicts is asked for again after 1, 10 and 60 seconds, and what counts is what the caches would serve by
then.

A contradiction is counted only where L3's word is older than the look at the caches that lacks it, so no
write that comes in between is taken for one. A sample goes through these steps::

    hit:           ask L3 ── the same ─▶ consistent
    invalidation:  look at the caches ── they know the revision, or would load ─▶ consistent ── else ask L3
                   L3 shows something else ─▶ look at the caches CONFIRM_SECONDS later:
                       they know by now ─▶ overtaken ── they do not ─▶ stale after 0
    each later age: look at the caches ── they know what L3 said ─▶ consistent
                   they do not: ask L3 again ── it says by now what they do ─▶ consistent ── else ─▶ stale
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pannier_sidecar.entry.record import Record
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import State
from pannier_sidecar.sampling import PRICE
from pannier_sidecar.views import knows_all_of, view

Sample = Literal["hit", "invalidation"]
Outcome = Literal["consistent", "stale", "overtaken", "unknown"]
AGES_SECONDS: Final = (0, 1, 10, 60)
CONFIRM_SECONDS: Final = 0.1
"""So much later a contradiction must be there still: until then a write may be stored and not acknowledged
yet, or the news of it on its way."""
_SECOND_US: Final = 1_000_000


class Check(msgspec.Struct, gc=False):
    """One sample under observation; it moves through the steps above."""

    plan: GroupPlan
    """As it was when the sample was taken."""
    id: str
    sample: Sample
    begun_us: int
    due_us: int
    served: State | None = None
    """What the hit showed; of an invalidation what would be served, once that was looked up."""
    revision: int = 0
    """Of an invalidation: what caches must know of."""
    truth: State | None = None
    """What L3 said, once it has contradicted."""
    age: int = 0
    """Which of `AGES_SECONDS` is next."""
    reads_left: int = PRICE
    """Reads of L3 that are paid for and not made."""

    @property
    def after(self) -> str:
        """The age as a label."""
        return str(AGES_SECONDS[self.age])

    @property
    def looks_first(self) -> bool:
        """Whether the caches are asked before L3 is."""
        return self.served is None or self.truth is not None

    def counted(self, outcome: Outcome, now_us: int) -> bool:
        """Go on to the next age after an outcome; False where it is the last word."""
        self.age += 1
        is_settled = outcome in {"consistent", "overtaken"} or self.truth is None
        if is_settled or self.age >= len(AGES_SECONDS):
            return False
        self.due_us = max(self.begun_us + AGES_SECONDS[self.age] * _SECOND_US, now_us)
        return True


def of_hit(plan: GroupPlan, row_id: str, served: State, now_us: int) -> Check:
    """Take a sample of a hit: due at once."""
    return Check(plan, row_id, "hit", now_us, now_us, served)


def of_invalidation(plan: GroupPlan, row_id: str, revision: int, now_us: int) -> Check:
    """Take a sample of an invalidation: due when those that were told have acted upon it."""
    due_us = now_us + int(CONFIRM_SECONDS * _SECOND_US)
    return Check(plan, row_id, "invalidation", now_us, due_us, revision=revision)


def after_look(check: Check, plan: GroupPlan, standing: State | None, now_us: int) -> Outcome | None:
    """Decide by what would be served now (None = a load, which is right); None = ask L3."""
    if check.truth is None:
        check.served = standing
        is_right = standing is None or is_known(standing, check.revision)
        return "consistent" if is_right else None
    if not is_still_contradicted(check, plan, standing, now_us):
        return "overtaken" if check.age == 0 else "consistent"
    return "stale" if check.age == 0 else None


def after_l3(
    check: Check, plan: GroupPlan, standing: State | None, said: State | TierError | None, now_us: int
) -> Outcome | None:
    """Decide by what L3 said (None = it was not asked); None = look once more before it counts."""
    doubted = check.served if check.truth is None else standing
    if doubted is None or said is None or isinstance(said, TierError):
        return "unknown"
    shown, true = view(plan, doubted, now_us), view(plan, said, now_us)
    if shown is None or true is None:
        return "unknown"
    if shown.shows_same(true):
        return "consistent"
    if check.truth is not None:
        return "stale"
    check.truth = said
    check.due_us = now_us + int(CONFIRM_SECONDS * _SECOND_US)
    return None


def is_known(state: State, revision: int) -> bool:
    """Whether an entry is sure to know of a write of its id that left this revision."""
    if isinstance(state, Record):
        return state.revision >= revision
    if max(state.as_of, state.trimmed_revision) >= revision:
        return True
    return any(register.revision == revision for register in state.registers.values())


def is_still_contradicted(check: Check, plan: GroupPlan, standing: State | None, now_us: int) -> bool:
    """Whether what would be served now lacks what L3 had said before.

    Where the very state that was contradicted stands there still, no revision excuses it: another writer may
    have changed L3 without one. A state that came since is right if L3's word would change nothing of what it
    shows.
    """
    if check.truth is None or standing is None:
        return False
    shown, true = view(plan, standing, now_us), view(plan, check.truth, now_us)
    if shown is None or true is None or shown.shows_same(true):
        return False
    before = None if check.served is None else view(plan, check.served, now_us)
    if before is not None and shown.is_same(before):
        return True
    return not knows_all_of(plan, standing, check.truth, now_us)


def stale_for_us(check: Check, plan: GroupPlan) -> int | None:
    """How long before the hit the value was superseded, where event times tell.

    They do where the news is dated between the look at L3 that the served state comes from and the hit.
    """
    if check.served is None or check.truth is None:
        return None
    shown = view(plan, check.served, check.begun_us)
    true = view(plan, check.truth, check.begun_us)
    if shown is None or true is None:
        return None
    looked_us = check.served.loaded_at_us
    dates = [r.event_time_us for r in true.news_over(shown) if looked_us < r.event_time_us <= check.begun_us]
    return check.begun_us - min(dates) if dates else None
