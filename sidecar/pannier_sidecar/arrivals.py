"""What becomes of a state that arrives from L2 or L3: merged, put into L1, offered to L2, served.

Every decision of a load, without a single wait: between looking at L1 and putting into it nothing else runs.
The waiting is done in `pannier_sidecar.loader`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random

from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import freshness
from pannier_sidecar.entry.freshness import Deadlines, Freshness
from pannier_sidecar.entry.ghost import is_ghost, is_worth_a_ghost
from pannier_sidecar.entry.lifetime import is_kept_too_short
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Known, Loaded, Said, Source
from pannier_sidecar.packing import pack_state
from pannier_sidecar.packs import Pack
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import RecentWrites, State, is_marker, is_outrun, merged
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_entry import LocalEntry, remote_deadlines
from pannier_sidecar.tiers.l1_local import RETRY_US, L1Cache
from pannier_sidecar.tiers.l2 import SharedWriter


class Arrivals:
    """Takes states in."""

    def __init__(
        self,
        *,
        l1: L1Cache,
        recent: RecentWrites,
        clock: Clock,
        writer: SharedWriter | None = None,
        dice: Callable[[], float] = random,
    ) -> None:
        self._l1 = l1
        self._recent = recent
        self._clock = clock
        self._writer = writer
        self._dice = dice

    def know(
        self,
        key: RowKey,
        from_l2: State | None,
        epoch: int | None = None,
        *,
        was_l2_asked: bool = False,
    ) -> Known:
        """Put together what is known of a key above L3; ``epoch`` is that of before L2 was asked."""
        now_us = self._clock.now_us()
        is_new_to_l2 = was_l2_asked and from_l2 is None
        if from_l2 is not None and is_ghost(from_l2):
            from_l2 = None
        if from_l2 is not None and self._is_outrun(key, from_l2, now_us):
            from_l2 = None
        if self._writer is not None and from_l2 is not None:
            from_l2 = self._writer.overlay(key, from_l2)
        state = None
        if from_l2 is not None:
            usable = from_l2 if self._is_within_bound(key.plan, from_l2, now_us) else None
            state = merged(key.plan, usable, self._above(key, usable, now_us))
        held = self._l1.held(key.plan, key.id, now_us)
        strong = (
            key.plan.is_strong
            or self._recent.is_blind(now_us)
            or self._recent.delta(key, now_us) is not None
            or (held is not None and not held.row)
            or any(is_marker(known) for known in (from_l2, state) if known is not None)
        )
        began = self._l1.epoch if epoch is None else epoch
        return Known(key, state, from_l2, strong, began, is_new_to_l2)

    def take_l2(self, known: Known, load_us: float) -> tuple[Loaded | None, Freshness]:
        """Take what L2 said into L1 and serve it, unless it is past hard or known to be superseded."""
        plan, row_id, now_us = known.key.plan, known.key.id, self._clock.now_us()
        if known.from_l2 is None or known.state is None or plan.is_strong:
            return None, Freshness.EXPIRED
        pack = pack_state(plan, row_id, known.state, now_us)
        if not pack.row:
            if not self._keeps_its_own(known.key, now_us):
                self._l1.drop(known.key)  # L2 knows of a newer state than L1 holds
            return None, Freshness.EXPIRED
        found = freshness.judge(
            now_us, self._due_in_l2(known.key, pack), _remote_window_us(plan, load_us), self._dice
        )
        if found is Freshness.EXPIRED:
            return None, found
        self._prolong(known, now_us)
        return Loaded(self._take_in(known, pack, now_us), "l2"), found

    def would_serve(self, key: RowKey, state: State) -> bool:
        """Whether an L2 that said this would be served by, taking nothing in."""
        now_us = self._clock.now_us()
        pack = pack_state(key.plan, key.id, state, now_us)
        return bool(pack.row) and not key.plan.is_strong and now_us < self._due_in_l2(key, pack).hard_us

    def is_due_in_l2(self, key: RowKey, state: State) -> bool:
        """Whether L2 would be refreshed behind a hit of this."""
        now_us = self._clock.now_us()
        return now_us >= self._due_in_l2(key, pack_state(key.plan, key.id, state, now_us)).soft_us

    def alone(self, key: RowKey, from_l2: State | None) -> State | None:
        """What L2 alone would be served with, under what this sidecar wrote of late; None = a load."""
        now_us = self._clock.now_us()
        if from_l2 is None or self._is_outrun(key, from_l2, now_us):
            return None
        state = merged(key.plan, from_l2, self._written(key, now_us)) or from_l2
        return state if self.would_serve(key, state) else None

    def _prolong(self, known: Known, now_us: int) -> None:
        """Let Redis keep for as long as the policy of now says what it holds by a shorter one.

        Once for each entry that L1 takes in after the edit: it is told again of what it said itself.
        """
        key, state, past = known.key, known.from_l2, known.key.plan.past
        if self._writer is None or state is None or past.policy is None:
            return
        if not is_kept_too_short(state, key.plan.policy, past, now_us):
            return
        entry = self._l1.held(key.plan, key.id, now_us)
        is_told = (
            entry is not None
            and entry.taken_at_us >= past.edited_at_us
            and entry.pack.loaded_at_us == state.loaded_at_us
        )
        if not is_told:
            self._writer.backfill(key, state)

    def take_l3(self, said: Said, state: State, sequence: int) -> Loaded | None:
        """Take what L3 said; None = a write is known that it does not show, so read again, strongly.

        ``sequence`` is where the writes known of here were when the read began. A strong read that began
        after everything known is the truth, whatever revision it has (another writer may have replaced the
        row): it is served, but not cached while a marker stands above it.
        """
        key, now_us = said.known.key, self._clock.now_us()
        is_truth = said.strong and not self.wrote_since(key, sequence)
        if not is_truth and self._is_outrun(key, state, now_us):
            return None
        newest = state
        if not key.plan.is_strong:  # a strong answer is what L3 said, and nothing else
            known = merged(key.plan, said.known.state, state)
            newest = merged(key.plan, known, self._above(key, known, now_us)) or state
        pack = pack_state(key.plan, key.id, newest, now_us)
        if pack.row:
            if not key.plan.policy.remote.is_shadow:  # `pannier_sidecar.shadow` looks at L2 first
                self._admit(said.known, state, now_us)
            if key.plan.is_strong and not is_truth:
                # right for who asked before the write that overtook it, and for nobody else
                return Loaded(self._l1.make(key.plan, pack, now_us), "l3")
            return Loaded(self._take_in(said.known, pack, now_us), "l3")
        if not is_truth:
            return None
        truth = pack_state(key.plan, key.id, state, now_us)
        return Loaded(self._l1.make(key.plan, truth, now_us), "l3") if truth.row else None

    def _admit(self, known: Known, state: State, now_us: int) -> None:
        """Offer L2 what L3 said; where values are stored on their second load, the first leaves a ghost."""
        key = known.key
        if (
            self._writer is not None
            and key.plan.policy.remote_admission == "OnSecondHit"
            and known.is_new_to_l2
            and self._recent.delta(key, now_us) is None
            and is_worth_a_ghost(state)
        ):
            self._writer.leave_ghost(key)
        else:
            self.offer(key, state)

    def offer(self, key: RowKey, state: State) -> None:
        """Offer L2 what L3 said, under what was written of late: Redis may have lost that meanwhile."""
        if self._writer is not None and key.plan.policy.remote.is_filled:
            written = self._recent.delta(key, self._clock.now_us())
            self._writer.backfill(key, merged(key.plan, state, written) or state)

    @property
    def epoch(self) -> int:
        """L1's epoch now, for `know`."""
        return self._l1.epoch

    @property
    def sequence(self) -> int:
        """Where the writes that are known of here are, for `wrote_since`."""
        return self._recent.sequence

    def wrote_since(self, key: RowKey, sequence: int) -> bool:
        """Whether the id was written since, as far as this sidecar wrote it or heard of it."""
        return self._recent.wrote_since(key, sequence, self._clock.now_us())

    def fall_back(self, known: Known, error: TierError) -> Loaded:
        """Serve a found row within ``staleIfErrorSeconds``, marked, since L3 did not answer; or say why not.

        What a tombstone, fence or marker hides is hidden here too, since all that is known is merged first.
        """
        key, now_us = known.key, self._clock.now_us()
        plan = key.plan
        entry = self._serving(key, now_us)
        if entry is not None and entry.row and now_us < entry.hard_us and not plan.is_strong:
            self._l1.postpone(key, now_us)
            return Loaded(entry, "l1", error=error)
        held = entry.state() if entry is not None else None
        state = merged(plan, merged(plan, held, known.from_l2), self._written(key, now_us))
        until_us = entry.stale_until_us if entry is not None else 0
        if known.from_l2 is not None and state is not None:
            allowed_us = plan.policy.stale_if_error_seconds * 1_000_000
            hard_us = remote_deadlines(plan, state.loaded_at_us, 0, negative=False).hard_us
            until_us = max(until_us, hard_us + allowed_us)
        if state is None or now_us >= until_us:
            return Loaded(None, "l3", error=error)
        pack = pack_state(plan, key.id, state, now_us)
        if not pack.row or pack.is_negative:
            return Loaded(None, "l3", error=error)
        source: Source = "l1" if known.from_l2 is None else "l2"
        stale = self._l1.put_stale(key, pack, now_us, until_us, known.epoch)
        return Loaded(stale, source, stale=True, error=error)

    def leave(self, key: RowKey, for_us: int) -> Loaded | None:
        """Serve what L1 holds within its hard deadline; another sidecar renews it, so ask later for that."""
        entry = self._l1.renew_at(key, (now_us := self._clock.now_us()) + for_us, now_us)
        return None if entry is None else Loaded(entry, "l1")

    def keep(self, key: RowKey) -> Loaded | None:
        """Serve what L1 holds on while L2 is silent, until L2 would have had it renewed: no storm on L3."""
        now_us = self._clock.now_us()
        entry = self._serving(key, now_us)
        is_due = entry is None or now_us >= self._due_in_l2(key, entry.pack).soft_us
        return None if is_due else self.leave(key, RETRY_US)

    def _above(self, key: RowKey, state: State | None, now_us: int) -> State | None:
        """What was written of late, and what L1 holds, as long as it may correct ``state``."""
        written = self._written(key, now_us)
        entry = self._serving(key, now_us)
        if entry is None or (state is not None and entry.pack.is_superseded_by(state)):
            return written
        bound_us = entry.hard_us
        if key.plan.policy.remote.is_served:
            bound_us = remote_deadlines(key.plan, entry.pack.loaded_at_us, 0, negative=False).hard_us
        return merged(key.plan, entry.state(), written) if now_us < bound_us else written

    def _serving(self, key: RowKey, now_us: int) -> LocalEntry | None:
        """What L1 holds of a key, where answers may come from it: nothing of a shadow gets into them."""
        return self._l1.held(key.plan, key.id, now_us) if key.plan.policy.local.is_served else None

    def _take_in(self, known: Known, pack: Pack, now_us: int) -> LocalEntry:
        """Put into L1 what is served."""
        key = known.key
        if self._keeps_its_own(key, now_us):
            return self._l1.make(key.plan, pack, now_us)
        return self._l1.put_loaded(key.plan, key.id, pack, now_us, known.epoch)

    def _keeps_its_own(self, key: RowKey, now_us: int) -> bool:
        """Whether L1 is a shadow that would not have loaded now: it keeps what it would have served."""
        if not key.plan.policy.local.is_shadow:
            return False
        entry = self._l1.held(key.plan, key.id, now_us)
        return entry is not None and bool(entry.row) and now_us < entry.soft_us

    def _due_in_l2(self, key: RowKey, pack: Pack) -> Deadlines:
        jitter = self._remote_jitter(key.plan, key.id, pack.loaded_at_us)
        return remote_deadlines(key.plan, pack.loaded_at_us, jitter, negative=pack.is_negative)

    def _written(self, key: RowKey, now_us: int) -> State | None:
        """What this sidecar wrote or heard of late, and what it wrote that L2 has not confirmed."""
        state = self._recent.delta(key, now_us)
        return state if self._writer is None else merged(key.plan, state, self._writer.overlay(key, None))

    def _is_outrun(self, key: RowKey, state: State, now_us: int) -> bool:
        written = self._recent.delta(key, now_us)
        return written is not None and is_outrun(state, written, now_us)

    def _is_within_bound(self, plan: GroupPlan, state: State, now_us: int) -> bool:
        if isinstance(state, Record) and state.kind is Kind.MARKER:
            return True
        return now_us < remote_deadlines(plan, state.loaded_at_us, 0, negative=False).hard_us

    def _remote_jitter(self, plan: GroupPlan, row_id: str, loaded_at_us: int) -> float:
        """This sidecar's own fraction for one life of an entry in L2: the same at every look at it."""
        draw = hash((row_id, loaded_at_us, id(self))) % 65_536 / 65_536
        return freshness.jitter_fraction(plan.policy.jitter_percent, draw)

    def __repr__(self) -> str:
        return f"<Arrivals into {self._l1!r}>"


def _remote_window_us(plan: GroupPlan, load_us: float) -> float:
    """L2 is read about once per local soft TTL by each sidecar that keeps a key warm."""
    return freshness.early_window_us(
        plan.policy.early_expiration_factor,
        reads_per_second=1 / max(plan.policy.local.soft_ttl_seconds, 1),
        load_us=load_us,
        soft_ttl_us=plan.policy.remote.soft_ttl_seconds * 1_000_000,
    )
