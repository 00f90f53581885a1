"""The order of a write, written once: L3, then L2 (confirmed in the background), then own L1.

The answer is given after L3.

What a request means was decided in `pannier_sidecar.api.intake`, what it may change is decided in L3; what it
leaves in the caches is `pannier_sidecar.written_states`. Rows of an erased id are removed by
`pannier_sidecar.erasures`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from pannier import keys, times
from pannier.errors import KeyRefused
from pannier_sidecar.api.bodies import no_such_group
from pannier_sidecar.api.intake import check_writable, record_sort_key, tombstone_put
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_times import unit_hint
from pannier_sidecar.clock import Clock
from pannier_sidecar.erasures import Erasures
from pannier_sidecar.errors import TierError, TierMisconfigured, TierOverloaded, TierThrottled
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.row import Put, PutOutcome, RowKey, TimelineQuery, Verdict
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2 import SharedWriter
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.underway import Underway
from pannier_sidecar.written_states import WrittenStates

_INSTANT_ROWS: Final = 500
"""Records of one instant that are deleted in one go."""
_MIGHT_BE_STORED: Final = "the store did not answer; the write may be stored, and repeating it is safe"


class WriteResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One row of a write answer, as it is encoded: ``verdict`` and what explains it."""

    group: str
    id: str
    verdict: Verdict
    timestamp: int | None = None
    """Of timelines, in the group's unit."""
    event_time: str | None = None
    """The stamp the write took, RFC 3339; repeating the write with it is idempotent."""
    ignored_features: tuple[str, ...] = ()
    replaced: bool = False
    reason: str = ""
    message: str = ""
    path: str = ""
    """Where in the request the fault lies, for ``invalid``."""


class WritePath:
    """Applies writes, deletes and invalidations. Owned through ``async with`` for its erasures' sake."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        *,
        store: Store,
        l1: L1Cache,
        recent: RecentWrites,
        writer: SharedWriter | None,
        underway: Underway,
        clock: Clock,
        metrics: Metrics,
        timeout_seconds: float,
        forget_computed: Callable[[RowKey], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``forget_computed`` takes a computed row out of this sidecar's cache, the only one that has it."""
        self._forget_computed = forget_computed
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._underway = underway
        self._states = WrittenStates(l1=l1, recent=recent, writer=writer, clock=clock)
        self._erasures = Erasures(store, clock, metrics, timeout_seconds=timeout_seconds, sleep=sleep)

    async def write(self, writes: Sequence[Put | WriteResult]) -> list[WriteResult]:
        """Apply what intake made of a request, in order; what it refused (a `WriteResult`) passes through."""
        puts = [write for write in writes if isinstance(write, Put)]
        applied = iter(await self._apply(puts))
        results = [next(applied) if isinstance(write, Put) else write for write in writes]
        for result in results:
            if result.verdict == "invalid" and result.path:
                self._metrics.problem(result.reason)
            else:
                self._metrics.writes(result.group, result.verdict)
        return results

    async def delete(
        self,
        plan: ReadPlan,
        group: str,
        row_id: str,
        *,
        timestamp: str | None = None,
        tie_breaker: str | None = None,
    ) -> WriteResult:
        """Delete a record, an instant of a timeline, or a whole id; `RequestRefused` for a bad address."""
        found = _group(plan, group)
        check_writable(found)
        _check_ids(found, [row_id], "id")
        if timestamp is None and tie_breaker is not None:
            raise RequestRefused.because(
                "UnexpectedTieBreaker", "means nothing without timestamp", "tie_breaker"
            )
        if timestamp is not None and not found.is_timeline:
            raise RequestRefused.because(
                "UnexpectedTimestamp", f"{found.name} holds one record per id; leave it out", "timestamp"
            )
        if found.is_timeline and timestamp is None:
            result = await self._erase(RowKey(found, row_id))
        elif timestamp is None:
            (result,) = await self._apply([tombstone_put(found, row_id, self._clock.now_us())])
        else:
            result = await self._delete_instant(RowKey(found, row_id), timestamp, tie_breaker)
        self._metrics.writes(result.group, result.verdict)
        return result

    async def invalidate(self, plan: ReadPlan, group: str, ids: Sequence[str]) -> int:
        """Distrust what caches hold of these ids (another writer changed the store); returns how many."""
        found = _group(plan, group)
        if found.is_computed and not found.policy.local.is_filled:
            raise RequestRefused.because("NotCached", f"nothing of {found.name} is ever cached", "group")
        _check_ids(found, ids, "ids")
        forget = self._forget_computed if found.is_computed else self._states.distrust
        for row_id in dict.fromkeys(ids):
            forget(RowKey(found, row_id))
        return len(set(ids))

    async def __aenter__(self) -> Self:
        await self._erasures.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._erasures.__aexit__(kind, error, trace)

    async def _apply(self, puts: Sequence[Put]) -> list[WriteResult]:
        """Write to L3, tell the caches, and say what became of each."""
        if not puts:
            return []
        begun = self._states.begin()
        keys = [RowKey(put.plan, put.id) for put in puts]
        with self._underway.of(keys):
            outcomes = await self._store.write(
                puts, timeout_seconds=self._timeout_seconds, now_us=begun.at_us
            )
        results = []
        for key, put, outcome in zip(keys, puts, outcomes, strict=True):
            if outcome.verdict == "written" and outcome.row is not None:
                self._states.wrote(key, outcome.row, begun)
            elif outcome.verdict == "unknown":
                self._states.distrust(key)
            if outcome.replaced:
                self._metrics.group(put.plan.name).replaced += 1
            results.append(_result(put, outcome))
        return results

    async def _delete_instant(self, key: RowKey, timestamp: str, tie_breaker: str | None) -> WriteResult:
        """Delete one record, or in a group with tie-breakers all records of an instant."""
        plan = key.plan
        address = record_sort_key(plan, timestamp, tie_breaker)
        if plan.tie_breaker is None or tie_breaker is not None:
            (result,) = await self._apply([self._tombstone(key, address)])
            return result
        while True:
            try:
                tied = await self._tied(key, address)
            except TierError as error:
                return _of_error(key, error)
            results = await self._apply([self._tombstone(key, sort_key) for sort_key in tied])
            bad = next((result for result in results if result.verdict != "written"), None)
            if bad is not None or len(tied) < _INSTANT_ROWS:
                return bad or WriteResult(
                    plan.name, key.id, "written", timestamp=keys.parse_sort_key(address, plan.width)[0]
                )

    async def _tied(self, key: RowKey, digits: str) -> list[str]:
        """Sort keys of the live records of one instant."""
        now_us = self._clock.now_us()
        query = TimelineQuery(key.plan, key.id, _INSTANT_ROWS, digits, f"{digits}$")
        (page,) = await self._store.read_timelines(
            [query], strong=True, timeout_seconds=self._timeout_seconds, now_us=now_us
        )
        if isinstance(page, TierError):
            raise page
        return [row.sort_key for row in page.rows if not row.deleted and not row.is_expired(now_us)]

    def _tombstone(self, key: RowKey, sort_key: str) -> Put:
        """A delete of one record stands above it also where its timestamp lies in the future."""
        now_us = self._clock.now_us()
        event_us = keys.parse_sort_key(sort_key, key.plan.width)[0] * key.plan.unit_us
        return tombstone_put(
            key.plan, key.id, now_us, sort_key=sort_key, event_time_us=event_us if event_us > now_us else None
        )

    async def _erase(self, key: RowKey) -> WriteResult:
        """Delete a whole timeline id: the fence is the delete, its rows are removed behind the answer."""
        begun = self._states.begin()
        try:
            erasure = await self._store.erase(
                key.plan, key.id, timeout_seconds=self._timeout_seconds, now_us=begun.at_us
            )
        except TierError as error:
            result = _of_error(key, error)
            if result.verdict == "unknown":
                self._states.distrust(key)
            return result
        self._states.erased(key, erasure.fence, begun)
        self._erasures.go_on(key, erasure)
        return WriteResult(
            key.plan.name, key.id, "written", event_time=times.format_rfc3339(erasure.fence.newest_stamp_us)
        )

    def __repr__(self) -> str:
        return f"<WritePath into {self._store!r}, {self._states!r}, {self._erasures!r}>"


def _group(plan: ReadPlan, name: str) -> GroupPlan:
    found = plan.groups.get(name)
    if found is None:
        raise RequestRefused([no_such_group(name, plan.groups)])
    return found


def _check_ids(plan: GroupPlan, ids: Sequence[str], path: str) -> None:
    try:
        for position, row_id in enumerate(ids):
            where = path if path == "id" else f"{path}[{position}]"
            keys.check_id(row_id, plan.group.key.max_id_bytes, where)
    except KeyRefused as refused:
        raise RequestRefused((refused.problem,)) from refused


def _result(put: Put, outcome: PutOutcome) -> WriteResult:
    plan = put.plan
    stamp_us = outcome.event_time_us if outcome.event_time_us is not None else put.event_time_us
    timestamp = keys.parse_sort_key(put.sort_key, plan.width)[0] if plan.is_timeline else None
    hint = "" if timestamp is None or put.tombstone else unit_hint(plan, timestamp)
    return WriteResult(
        group=plan.name,
        id=put.id,
        verdict=outcome.verdict,
        timestamp=timestamp,
        event_time=None if stamp_us is None else times.format_rfc3339(stamp_us),
        ignored_features=tuple(plan.by_id[i].name for i in sorted(outcome.ignored) if i in plan.by_id),
        replaced=outcome.replaced,
        reason=outcome.reason,
        message="; ".join(filter(None, (outcome.message, hint))),
    )


def _of_error(key: RowKey, error: TierError) -> WriteResult:
    """The verdict of a delete that L3 did not acknowledge."""
    is_refused = isinstance(error, TierThrottled | TierMisconfigured | TierOverloaded)
    message = error.message if is_refused else f"{error.message}; {_MIGHT_BE_STORED}"
    verdict: Verdict = "failed" if is_refused else "unknown"
    return WriteResult(key.plan.name, key.id, verdict, reason=error.reason, message=message)
