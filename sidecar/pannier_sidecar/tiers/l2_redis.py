"""The shared cache in Redis: bulk reads in one round trip, merges by one script, no fault let through.

The only module that knows the Redis client; what it raises is translated here. Redis may be absent, refusing,
hanging, lying or gone half-way: reads then say `TierError` per key at once (`pannier_sidecar.circuit`), never
None. It decides neither what to cache nor how fresh it is. Keys and bytes: ADR 0005. Writes reach it through
`pannier_sidecar.backfill`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pannier.keys import cache_key
from pannier_sidecar.circuit import Circuit, State
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry import envelope
from pannier_sidecar.entry.lifetime import kept_seconds
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierMisconfigured, TierTimeout, TierUnavailable
from pannier_sidecar.patience import TRIES, in_time
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey

T = TypeVar("T")
Entry = Record | Timeline
Command = tuple[Any, ...]

TIER = "l2"
_ROUND_TRIP_WEIGHT = 1000
"""Records and registers, or KiB, in one round trip: a few milliseconds of work on either side. A larger batch
would run into its timeout by its size alone, and hold up all others."""
_PARALLEL = 4
"""Round trips of one read at a time; decoding shares one core with everyone else."""
_CONNECTIONS = 32
_CLOSE_SECONDS = 1.0
MERGE_SCRIPT = resources.files("pannier_sidecar.tiers").joinpath("l2_merge.lua").read_bytes()
_MERGE_SHA = hashlib.sha1(MERGE_SCRIPT, usedforsecurity=False).hexdigest()
_WRONG_CREDENTIALS = (
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
    redis_errors.NoPermissionError,
)


class TierMetrics(Protocol):
    """What this tier counts."""

    def tier_error(self, tier: str, reason: str) -> None:
        """A call or an entry went wrong."""
        ...

    def circuit(self, tier: str, state: State) -> None:
        """The circuit is in this state now."""
        ...


def require_stored(plan: GroupPlan) -> None:
    """Refuse a group whose ids may not be stored anywhere: not even a key of it goes to Redis."""
    if plan.group.storage_mode == "None":
        raise AssertionError(f"group {plan.name} stores nothing, so no Redis command may name its ids")


class RedisTier:
    """L2. Owned through ``async with``; connects when it is first needed, so it starts without Redis."""

    def __init__(self, url: str, *, clock: Clock, metrics: TierMetrics, timeout_seconds: float) -> None:
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._is_cluster = urlsplit(url).scheme.endswith("+cluster")
        self._client = _client(url)
        self._where = urlsplit(url).hostname
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._circuit = Circuit()
        self._last_fault: TierError | None = None

    @property
    def state(self) -> State:
        """Of the circuit; ``closed`` is healthy."""
        return self._circuit.state

    async def read(self, keys: Sequence[RowKey]) -> list[Entry | TierError | None]:
        """What Redis holds of each key: an entry, None, or why that is not known."""
        for plan in {key.plan for key in keys}:
            require_stored(plan)
        parts = list(_parts(keys, [_weight_of_answer(key) for key in keys]))
        if len(parts) <= 1:
            return await self._read_part(keys)
        gate = asyncio.Semaphore(_PARALLEL)

        async def read(part: Sequence[RowKey]) -> list[Entry | TierError | None]:
            async with gate:
                return await self._read_part(part)

        answers = await asyncio.gather(*(read(part) for part in parts))
        return [entry for part in answers for entry in part]

    async def merge(self, deltas: Sequence[tuple[RowKey, Entry]]) -> list[TierError | None]:
        """Merge each entry into what Redis holds of its key; None = done (also where Redis knew better)."""
        for plan in {key.plan for key, _ in deltas}:
            require_stored(plan)
        parts = _parts(deltas, [_weight(entry) for _, entry in deltas])
        outcomes = [await self._merge_part(part) for part in parts]
        return [outcome for part in outcomes for outcome in part]

    async def _read_part(self, keys: Sequence[RowKey]) -> list[Entry | TierError | None]:
        names = [cache_key(key.plan.cache_prefix, key.id) for key in keys]
        timelines = [i for i, key in enumerate(keys) if key.plan.is_timeline]
        records = [i for i, key in enumerate(keys) if not key.plan.is_timeline]
        # the keys of one MGET would have to lie in one slot of a cluster
        splits = self._is_cluster or len(records) == 1
        gets: list[Command] = [("GET", names[i]) for i in records] if splits else []
        mget: list[Command] = [("MGET", *(names[i] for i in records))] if records and not splits else []
        try:
            replies = await self._call([*gets, *mget, *(("HGETALL", names[i]) for i in timelines)])
        except TierError as fault:
            return [fault] * len(keys)
        if mget:
            held = replies[0] if isinstance(replies[0], list) else [replies[0]] * len(records)
            replies = [*held, *replies[1:]]
        answers: list[Entry | TierError | None] = [None] * len(keys)
        for i, reply in zip([*records, *timelines], replies, strict=True):
            answers[i] = self._entry(reply, is_timeline=keys[i].plan.is_timeline)
        return answers

    def _entry(self, reply: object, *, is_timeline: bool) -> Entry | TierError | None:
        """Read one reply; bytes that are no entry are a miss, and the next merge replaces them."""
        if reply is None or reply == {}:
            return None
        try:
            if isinstance(reply, bytes) and not is_timeline:
                return envelope.decode_record(reply, now_us=self._clock.now_us())
            if isinstance(reply, dict) and is_timeline:
                return envelope.decode_timeline(reply, now_us=self._clock.now_us())
        except envelope.EnvelopeUnreadable:
            self._metrics.tier_error(TIER, "EnvelopeUnreadable")
            return None
        if isinstance(reply, redis_errors.ResponseError) and str(reply).startswith("WRONGTYPE"):
            self._metrics.tier_error(TIER, "EnvelopeUnreadable")
            return None
        return self._counted(_fault_of(reply))

    async def _merge_part(self, deltas: Sequence[tuple[RowKey, Entry]]) -> list[TierError | None]:
        if not self._circuit.admits(self._clock.now_us()):  # before anything is encoded
            return [self._not_tried()] * len(deltas)
        calls = [("EVALSHA", _MERGE_SHA, *_merge_arguments(key, entry)) for key, entry in deltas]
        try:
            replies = await self._call(calls)
            unknown = [i for i, reply in enumerate(replies) if isinstance(reply, redis_errors.NoScriptError)]
            if unknown:  # a Redis that has not seen the script: EVAL runs it and keeps it
                again = await self._call([("EVAL", MERGE_SCRIPT, *calls[i][2:]) for i in unknown])
                for i, reply in zip(unknown, again, strict=True):
                    replies[i] = reply
        except TierError as fault:
            return [fault] * len(deltas)
        return [None if isinstance(reply, int) else self._counted(_fault_of(reply)) for reply in replies]

    async def _call(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands in one pipeline and return their replies, errors of single commands as values."""
        if not commands:
            return []
        now_us = self._clock.now_us()
        if not self._circuit.admits(now_us):
            raise self._not_tried()
        self._become(self._circuit.admitted(now_us))
        has_slot = False
        try:
            async with asyncio.timeout(TRIES * self._timeout_seconds), self._slots:
                has_slot = True
                replies = await in_time(self._send(commands), self._timeout_seconds)
        except Exception as error:  # a peer that does not speak the protocol trips the client anywhere
            fault = _fault_of(error)
            if has_slot:
                await self._note_failure(fault, error)
            self._last_fault = fault
            raise self._counted(fault) from error
        self._become(self._circuit.succeeded())
        return replies

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = cast("Any", self._client).pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        if len(replies) != len(commands):
            raise redis_errors.InvalidResponse(f"{len(replies)} replies to {len(commands)} commands")
        for reply in replies:
            if isinstance(reply, (redis_errors.ReadOnlyError, redis_errors.ClusterDownError)):
                raise reply
        return replies

    async def _note_failure(self, fault: TierError, error: Exception) -> None:
        now_us = self._clock.now_us()
        is_late = isinstance(fault, TierTimeout)
        self._become(self._circuit.timed_out(now_us) if is_late else self._circuit.failed(now_us))
        if isinstance(error, redis_errors.ReadOnlyError) and isinstance(self._client, Redis):
            # connected to what was the primary before a failover: the name may lead to the new one
            await self._client.connection_pool.disconnect(inuse_connections=False)

    def _not_tried(self) -> TierError:
        return TierUnavailable(TIER, f"not tried, after: {self._last_fault}")

    def _become(self, circuit: Circuit) -> None:
        if circuit.state != self._circuit.state:
            self._metrics.circuit(TIER, circuit.state)
        self._circuit = circuit

    def _counted(self, fault: TierError) -> TierError:
        self._metrics.tier_error(TIER, fault.reason)
        return fault

    async def __aenter__(self) -> Self:
        self._metrics.circuit(TIER, self._circuit.state)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()
        except (redis_errors.RedisError, OSError):
            self._metrics.tier_error(TIER, "CloseFailed")

    def __repr__(self) -> str:
        shape = "cluster" if self._is_cluster else "server"
        return f"<RedisTier {shape} at {self._where}, circuit {self._circuit.state}>"


def _client(url: str) -> Redis | RedisCluster:
    options: dict[str, Any] = {
        "max_connections": _CONNECTIONS,
        "retry": Retry(NoBackoff(), 1),  # once and at once: a connection that Redis closed while it was idle
        "socket_timeout": None,  # the budget of the whole call cuts it off
        "socket_connect_timeout": None,
        "protocol": 2,
    }
    try:
        if urlsplit(url).scheme.endswith("+cluster"):
            return RedisCluster.from_url(url.replace("+cluster://", "://", 1), **options)
        client: Redis = Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # looks at ?options, no I/O
    except (ValueError, TypeError, redis_errors.RedisError) as error:
        raise TierMisconfigured(TIER, f"no Redis client from this URL: {error}") from error
    return client


def _merge_arguments(key: RowKey, entry: Entry) -> Command:
    name = cache_key(key.plan.cache_prefix, key.id)
    kept_ms = kept_seconds(entry, key.plan.policy) * 1000
    if isinstance(entry, Record):
        return (1, name, "record", kept_ms, envelope.encode_record(entry))
    capacity = key.plan.register_capacity
    coverage = envelope.encode_coverage(entry)
    return (1, name, "timeline", kept_ms, capacity, coverage, *envelope.encode_registers(entry))


def _fault_of(problem: object) -> TierError:
    """Translate what the client raised or Redis answered; the text names no credentials."""
    if isinstance(problem, _WRONG_CREDENTIALS):
        return TierMisconfigured(TIER, f"Redis refuses the credentials: {problem}")
    if isinstance(problem, (TimeoutError, redis_errors.TimeoutError)):
        return TierTimeout(TIER, "Redis did not answer in time")
    if isinstance(problem, BaseException):
        return TierUnavailable(TIER, f"{type(problem).__name__}: {problem}")
    return TierUnavailable(TIER, f"Redis answered nonsense: {problem!r:.80}")


def _weight_of_answer(key: RowKey) -> int:
    return key.plan.register_capacity if key.plan.is_timeline else 1


def _weight(entry: Entry) -> int:
    records = (entry,) if isinstance(entry, Record) else entry.registers.values()
    return sum(1 + sum(map(len, one.values.values())) // 1024 for one in records)


def _parts(items: Sequence[T], weights: Sequence[int]) -> Iterator[Sequence[T]]:
    """Cut where the weight of a part would pass that of a round trip; at least one item each."""
    start = total = 0
    for i, weight in enumerate(weights):
        if total + weight > _ROUND_TRIP_WEIGHT and i > start:
            yield items[start:i]
            start, total = i, 0
        total += weight
    if start < len(items):
        yield items[start:]
