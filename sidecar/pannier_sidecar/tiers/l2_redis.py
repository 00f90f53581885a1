"""The shared cache in Redis: bulk reads in one round trip, merges by one script, no fault let through.

Redis may be absent, refusing, hanging, lying or gone half-way: reads then say `TierError` per key at once
(`pannier_sidecar.tiers.redis_lane`), never None. It decides neither what to cache nor how fresh it is. Keys
and bytes: ADR 0005. Writes reach it through `pannier_sidecar.backfill`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from importlib import resources
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pannier_sidecar.circuit import State
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import envelope
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.lease import Claimed, Lease
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers import l2_leases
from pannier_sidecar.tiers.l2 import Message
from pannier_sidecar.tiers.l2_parts import (
    ReadCommands,
    in_parts,
    merge_arguments,
    parts,
    weight,
    weight_of_answer,
)
from pannier_sidecar.tiers.redis_faults import TIER, fault_of, is_unknown_script, is_wrong_type
from pannier_sidecar.tiers.redis_lane import RedisLane, TierMetrics
from pannier_sidecar.tiers.redis_pipe import Command, exchange_at

Entry = Record | Timeline

_PATIENCE_WITH_MERGES = 10
"""Times the timeout of a read: nobody waits for a merge, and a batch of them may well take longer."""
MERGE_SCRIPT = resources.files("pannier_sidecar.tiers").joinpath("l2_merge.lua").read_bytes()
_MERGE_SHA = hashlib.sha1(MERGE_SCRIPT, usedforsecurity=False).hexdigest()
_SCRIPTS = {_MERGE_SHA: MERGE_SCRIPT, **l2_leases.SCRIPTS}


def require_stored(*plans: GroupPlan) -> None:
    """Refuse groups whose ids may not be stored anywhere: not even a key of them goes to Redis."""
    for plan in plans:
        if plan.group.storage_mode == "None":
            raise AssertionError(f"group {plan.name} stores nothing, so no Redis command may name its ids")


class RedisTier:
    """L2. Owned through ``async with``; connects when it is first needed, so it starts without Redis."""

    def __init__(self, url: str, *, clock: Clock, metrics: TierMetrics, timeout_seconds: float) -> None:
        self._clock = clock
        self._metrics = metrics
        self._is_cluster = urlsplit(url).scheme.endswith("+cluster")
        self._where = urlsplit(url).hostname
        self._reads = RedisLane(
            "l2", exchange_at(url, TIER), clock=clock, metrics=metrics, timeout_seconds=timeout_seconds
        )
        self._merges = RedisLane(
            "l2_writes",
            exchange_at(url, TIER),
            clock=clock,
            metrics=metrics,
            timeout_seconds=_PATIENCE_WITH_MERGES * timeout_seconds,
        )
        # what one of them would still wait for, loads and leases would do without
        self._reads.on_recovery, self._merges.on_recovery = self._merges.try_again, self._reads.try_again
        self._owned = AsyncExitStack()

    @property
    def state(self) -> State:
        """Of the circuit that reads go through; ``closed`` is healthy."""
        return self._reads.state

    async def read(self, keys: Sequence[RowKey]) -> list[Entry | TierError | None]:
        """What Redis holds of each key: an entry, None, or why that is not known."""
        require_stored(*{key.plan for key in keys})
        return await in_parts(keys, [weight_of_answer(key) for key in keys], self._read_part)

    async def lease(self, wanted: Sequence[Lease]) -> list[Claimed]:
        """Take each lease unless somebody holds it, then look what Redis holds of its key; one round trip.

        While merges fail none is taken: what a holder loads could not be brought to those who wait for it.
        """
        require_stored(*{lease.key.plan for lease in wanted})
        refusal = self._merges.refusal()
        if refusal is not None:
            return [Claimed(None, refusal)] * len(wanted)
        return await in_parts(wanted, [weight_of_answer(lease.key) for lease in wanted], self._lease_part)

    async def merge(
        self,
        deltas: Sequence[tuple[RowKey, Entry]],
        leases: Sequence[Lease] = (),
        messages: Sequence[Message] = (),
    ) -> list[TierError | None]:
        """Merge each entry into what Redis holds of its key; then let go of the leases, publish the messages.

        An outcome of each delta, then of each message; None = done (also where Redis knew better).
        """
        require_stored(*{key.plan for key, _ in deltas})
        *first, last = list(parts(deltas, [weight(entry) for _, entry in deltas])) or [[]]
        outcomes = [await self._merge_part(part) for part in first]
        outcomes.append(await self._merge_part(last, leases, messages))
        return [outcome for part in outcomes for outcome in part]

    async def _read_part(self, keys: Sequence[RowKey]) -> list[Entry | TierError | None]:
        reads = ReadCommands(keys, is_cluster=self._is_cluster)
        try:
            replies = reads.by_key(await self._reads.call(reads.commands))
        except TierError as fault:
            return [fault] * len(keys)
        return self._entries(keys, replies)

    async def _lease_part(self, leases: Sequence[Lease]) -> list[Claimed]:
        keys = [lease.key for lease in leases]
        claims = l2_leases.claims(leases, together=not self._is_cluster)
        reads = ReadCommands(keys, is_cluster=self._is_cluster)
        try:
            replies = await self._reads.call([*claims, *reads.commands])
            if any(map(is_unknown_script, replies)):
                replies = await self._reads.call([*map(_whole, claims), *reads.commands])
        except TierError as fault:
            return [Claimed(None, fault)] * len(leases)
        for reply in replies[: len(claims)]:
            if isinstance(reply, Exception):
                self._reads.counted(fault_of(reply))
        won = l2_leases.flags(replies[: len(claims)], len(leases))
        entries = self._entries(keys, reads.by_key(replies[len(claims) :]))
        return [Claimed(*claimed) for claimed in zip(won, entries, strict=True)]

    def _entries(self, keys: Sequence[RowKey], replies: Sequence[Any]) -> list[Entry | TierError | None]:
        return [self._entry(r, is_timeline=k.plan.is_timeline) for k, r in zip(keys, replies, strict=True)]

    def _entry(self, reply: object, *, is_timeline: bool) -> Entry | TierError | None:
        """Read one reply; bytes that are no entry are a miss, and the next merge replaces them."""
        if reply is None or (is_timeline and not reply and isinstance(reply, (dict, list))):
            return None
        try:
            if isinstance(reply, bytes) and not is_timeline:
                return envelope.decode_record(reply, now_us=self._clock.now_us())
            if is_timeline and (fields := _fields(reply)):
                return envelope.decode_timeline(fields, now_us=self._clock.now_us())
        except envelope.EnvelopeUnreadable:
            self._metrics.tier_error(TIER, "EnvelopeUnreadable")
            return None
        if is_wrong_type(reply):
            self._metrics.tier_error(TIER, "EnvelopeUnreadable")
            return None
        return self._reads.counted(fault_of(reply))

    async def _merge_part(
        self,
        deltas: Sequence[tuple[RowKey, Entry]],
        leases: Sequence[Lease] = (),
        messages: Sequence[Message] = (),
    ) -> list[TierError | None]:
        refusal = self._merges.refusal()  # before anything is encoded
        if refusal is not None:
            return [refusal] * (len(deltas) + len(messages))
        calls: list[Command] = [
            ("EVALSHA", _MERGE_SHA, *merge_arguments(key, entry)) for key, entry in deltas
        ]
        calls += l2_leases.releases(leases, together=not self._is_cluster)
        publishes: list[Command] = [("PUBLISH", *message) for message in messages]
        try:
            replies = await self._merge_then_publish(calls, publishes)
            unknown = [i for i, reply in enumerate(replies) if is_unknown_script(reply)]
            if unknown:
                again = await self._merge_then_publish([_whole(calls[i]) for i in unknown], publishes)
                for i, reply in zip([*unknown, *range(len(calls), len(replies))], again, strict=True):
                    replies[i] = reply
        except TierError as fault:
            return [fault] * (len(deltas) + len(messages))
        self._count_expired(leases, replies[len(deltas) : len(calls)])
        published = replies[len(calls) :]
        for receivers in published:
            if isinstance(receivers, int):
                self._metrics.published(receivers)
        return [
            None if isinstance(reply, int) else self._merges.counted(fault_of(reply))
            for reply in (*replies[: len(deltas)], *published)
        ]

    def _count_expired(self, leases: Sequence[Lease], replies: Sequence[Any]) -> None:
        for lease, was_held in zip(leases, l2_leases.flags(replies, len(leases)), strict=True):
            if was_held is False:
                self._metrics.lease(lease.key.plan.name, "expired")

    async def _merge_then_publish(self, merges: list[Command], publishes: list[Command]) -> list[Any]:
        """In one round trip; the nodes of a cluster keep no order among each other, so there in two."""
        if not self._is_cluster or not publishes:
            return await self._merges.call([*merges, *publishes])
        replies = await self._merges.call(merges)
        return [*replies, *await self._merges.call(publishes)]

    async def __aenter__(self) -> Self:
        await self._owned.enter_async_context(self._reads)
        await self._owned.enter_async_context(self._merges)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    def __repr__(self) -> str:
        shape = "cluster" if self._is_cluster else "server"
        return f"<RedisTier {shape} at {self._where}, circuit {self.state}>"


def _fields(reply: object) -> Mapping[bytes, bytes] | None:
    """The fields of a hash: a flat list as Redis sends it, or what the cluster's client made of that."""
    if isinstance(reply, list) and len(reply) % 2 == 0 and all(type(part) is bytes for part in reply):
        return dict(zip(reply[::2], reply[1::2], strict=True))
    return reply if isinstance(reply, dict) else None


def _whole(call: Command) -> Command:
    """The same for a Redis that has not seen the script: EVAL runs it and keeps it."""
    return ("EVAL", _SCRIPTS[call[1]], *call[2:])
