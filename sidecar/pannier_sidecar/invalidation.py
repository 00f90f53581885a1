"""What other sidecars announce, applied to what is held here; and what it means that some of it was missed.

A write through any sidecar is announced, with its revision, after L2 has its state or marker
(`pannier_sidecar.backfill`). Here an announced id leaves L1 unless L1 already holds that revision or a newer
one, or the announcement alone says what is true now (a delete); and it is noted for the loads that are in the
air, so that none of them brings back an older state. The next read finds what it needs in L2.

Announcements are not kept for who does not listen. A gap makes L1 doubt what it holds: entries of before
count as soft-expired (`L1Cache.doubt`). While Redis cannot be reached at all there is nobody to ask, so the
doubt waits until it is back; entries keep their own deadlines until then. `apply` decides; the rest tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import structlog

from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import announcement
from pannier_sidecar.entry.announcement import AnnouncementUnreadable, Change
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.packing import pack_state
from pannier_sidecar.packs import Pack, RecordPack
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.recent_writes import RecentWrites, State, is_outrun, merged, newest_revision
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.underway import Underway

_log: Final = structlog.stdlib.get_logger(__name__)

Effect = Literal["unheld", "known", "dropped", "amended"]


def apply(plan: GroupPlan, row_id: str, pack: Pack, delta: State, now_us: int) -> Pack | None:
    """What is left of a held pack under an announced delta: itself, an amended one, or None."""
    if isinstance(pack, RecordPack):
        if not isinstance(delta, Record) or pack.kind is Kind.MISSING:
            return None  # declared anew under the same name; or there is a row now, whatever the clocks say
        if delta.revision <= pack.revision:
            return pack
        return pack_state(plan, row_id, delta, now_us) if delta.kind is not Kind.MARKER else None
    state = pack.unpack(plan)
    if isinstance(delta, Record) or is_outrun(state, delta, now_us):
        return None
    newest = merged(plan, state, delta)
    if newest is None or newest == state:
        return pack
    amended = pack_state(plan, row_id, newest, now_us)
    return amended if amended.row else None


class Invalidations:
    """Hears of writes through other sidecars; the `Listener` of the subscription."""

    def __init__(  # noqa: PLR0913 (the parts it acts on)
        self,
        *,
        sender: bytes,
        l1: L1Cache,
        recent: RecentWrites,
        underway: Underway,
        clock: Clock,
        metrics: Metrics,
        observed: Callable[[RowKey, int], None] = lambda _key, _revision: None,
    ) -> None:
        self._sender = sender
        self._l1 = l1
        self._recent = recent
        self._underway = underway
        self._clock = clock
        self._metrics = metrics
        self._observed = observed
        """Told of each id in L1 that was announced, and its revision: a sample of what must not be older."""
        self._counts = metrics.subscription
        self._plans: dict[str, GroupPlan] = {}
        self.on_channels: Callable[[frozenset[str]], None] = lambda _channels: None
        """Told which channels to listen to, whenever that changes."""

    def follow(self, plan: ReadPlan) -> None:
        """Listen for the groups of this catalog that may be held here."""
        self._plans = {group.cache_prefix: group for group in plan.groups.values() if _may_be_held(group)}
        self.on_channels(frozenset(self._plans))

    def heard(self, channel: str, payload: bytes) -> None:
        """Take in one message; what cannot be read may have said anything."""
        plan = self._plans.get(channel)
        if plan is None:
            return  # the group has just left the catalog
        try:
            message = announcement.decode(payload)
            if message.sender == self._sender:
                self._metrics.invalidation(plan.name, "own", len(message.changes))
                return
            now_us = self._clock.now_us()
            for change in message.changes:
                self._metrics.invalidation(plan.name, self._take_in(plan, change, now_us))
                self._counts.delay.observe(max(now_us - change.acknowledged_at_us, 0) / 1_000_000)
        except AnnouncementUnreadable as error:
            self._metrics.invalidation(plan.name, "unreadable")
            self._metrics.tier_error("l2", "AnnouncementUnreadable")
            _log.warning("announcement_unreadable", group=plan.name, message=str(error))
            self._doubt({plan.name})

    def listening(self, channels: frozenset[str]) -> None:
        """Be subscribed: what was published there before may have been missed."""
        self._counts.state = "listening"
        groups = {self._plans[channel].name for channel in channels if channel in self._plans}
        if groups:
            self._doubt(groups)
        _log.info("invalidations_heard", groups=len(groups), epoch=self._l1.epoch)

    def denied(self, channel: str, reason: str) -> None:
        """Be refused a channel: that group lives by its TTLs alone."""
        plan = self._plans.get(channel)
        if plan is not None:
            self._metrics.invalidation(plan.name, "denied")
            self._doubt({plan.name})
            _log.warning(
                "invalidations_denied",
                group=plan.name,
                channel=channel,
                reason=reason,
                effect="writes through other sidecars show after the local soft TTL",
            )

    def lost(self, reason: str) -> None:
        """Hear nothing any more, or not from the beginning. L1 is doubted when there is somebody to ask."""
        self._counts.state = "lost"
        self._counts.losses += 1
        effect = "what others write shows after local TTLs; L1 is doubted once it is heard of again"
        _log.warning("invalidations_lost", reason=reason, effect=effect)

    def _take_in(self, plan: GroupPlan, change: Change, now_us: int) -> Effect:
        """Apply one change to L1, and note it where something older may still come in."""
        key = RowKey(plan, change.id)
        held = self._l1.held(plan, change.id, now_us)
        is_underway = self._underway.holds(plan.cache_prefix, change.id)
        if held is None and not is_underway:
            return "unheld"
        delta = change.entry(now_us)
        effect: Effect = "unheld"
        if held is not None:
            left = apply(plan, change.id, held.pack, delta, now_us)
            if left is held.pack:
                effect = "known"
            elif left is not None:
                effect = "amended"
                self._l1.amend(key, held, left, now_us)
            else:
                effect = "dropped"
                self._l1.drop(key)
        if effect != "known" or is_underway:
            self._recent.note(key, delta, now_us)
        if held is not None:
            self._observed(key, newest_revision(delta))
        return effect

    def _doubt(self, groups: set[str]) -> None:
        self._l1.doubt(groups)
        self._counts.epoch = self._l1.epoch

    def __repr__(self) -> str:
        return f"<Invalidations of {len(self._plans)} groups, epoch {self._l1.epoch}>"


def _may_be_held(plan: GroupPlan) -> bool:
    return plan.group.storage_mode != "None" and plan.policy.local.state != "Disabled"
