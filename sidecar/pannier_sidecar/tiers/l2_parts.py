"""What one round trip to Redis carries: commands, their replies by key, and where batches are cut.

It speaks to nobody; the client is in `pannier_sidecar.tiers.l2_redis`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pannier.keys import cache_key
from pannier_sidecar.entry import envelope
from pannier_sidecar.entry.lifetime import kept_seconds
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.redis_pipe import Command

T = TypeVar("T")
R = TypeVar("R")

_ROUND_TRIP_WEIGHT: Final = 1000
"""Records and registers, or KiB, in one round trip: a few milliseconds of work on either side. A larger batch
would run into its timeout by its size alone, and hold up all others."""
_PARALLEL: Final = 4
"""Round trips of one read at a time; decoding shares one core with everyone else."""


class ReadCommands:
    """The commands that read some keys: records in one MGET where they may be, a timeline in one HGETALL."""

    def __init__(self, keys: Sequence[RowKey], *, is_cluster: bool) -> None:
        names = [cache_key(key.plan.cache_prefix, key.id) for key in keys]
        self._timelines = [i for i, key in enumerate(keys) if key.plan.is_timeline]
        self._records = [i for i, key in enumerate(keys) if not key.plan.is_timeline]
        # the keys of one MGET would have to lie in one slot of a cluster
        splits = is_cluster or len(self._records) == 1
        self._is_mget = bool(self._records) and not splits
        self.commands: list[Command] = [("GET", names[i]) for i in self._records] if splits else []
        if self._is_mget:
            self.commands.append(("MGET", *(names[i] for i in self._records)))
        self.commands += (("HGETALL", names[i]) for i in self._timelines)

    def by_key(self, replies: Sequence[Any]) -> list[Any]:
        """The reply for each key, in the order asked."""
        if self._is_mget:
            is_sound = isinstance(replies[0], list) and len(replies[0]) == len(self._records)
            held = replies[0] if is_sound else [replies[0]] * len(self._records)
            replies = [*held, *replies[1:]]
        answers: list[Any] = [None] * (len(self._records) + len(self._timelines))
        for i, reply in zip([*self._records, *self._timelines], replies, strict=True):
            answers[i] = reply
        return answers

    def __repr__(self) -> str:
        return f"<ReadCommands {len(self._records)} records, {len(self._timelines)} timelines>"


def merge_arguments(key: RowKey, entry: Record | Timeline) -> Command:
    """Everything the merge script is given for one entry."""
    name = cache_key(key.plan.cache_prefix, key.id)
    kept_ms = kept_seconds(entry, key.plan.policy) * 1000
    if isinstance(entry, Record):
        return (1, name, "record", kept_ms, envelope.encode_record(entry))
    capacity = key.plan.register_capacity
    coverage = envelope.encode_coverage(entry)
    return (1, name, "timeline", kept_ms, capacity, coverage, *envelope.encode_registers(entry))


def weight_of_answer(key: RowKey) -> int:
    """How much reading a key brings at most."""
    return key.plan.register_capacity if key.plan.is_timeline else 1


def weight(entry: Record | Timeline) -> int:
    """How much sending an entry takes."""
    records = (entry,) if isinstance(entry, Record) else entry.registers.values()
    return sum(1 + sum(map(len, one.values.values())) // 1024 for one in records)


def parts(items: Sequence[T], weights: Sequence[int]) -> Iterator[Sequence[T]]:
    """Cut where the weight of a part would pass that of a round trip; at least one item each."""
    start = total = 0
    for i, one in enumerate(weights):
        if total + one > _ROUND_TRIP_WEIGHT and i > start:
            yield items[start:i]
            start, total = i, 0
        total += one
    if start < len(items):
        yield items[start:]


async def in_parts(
    items: Sequence[T], weights: Sequence[int], call: Callable[[Sequence[T]], Awaitable[list[R]]]
) -> list[R]:
    """Call with as much as a round trip carries, a few at a time; gives all answers in order."""
    cut = list(parts(items, weights))
    if len(cut) <= 1:
        return await call(items)
    gate = asyncio.Semaphore(_PARALLEL)

    async def one(part: Sequence[T]) -> list[R]:
        async with gate:
            return await call(part)

    answers = await asyncio.gather(*(one(part) for part in cut))
    return [answer for part in answers for answer in part]
