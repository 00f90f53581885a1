"""The order of a read, written once: L1, then loads, then ranges that no cache covers, then bytes.

`answer_from_l1` is the hot path: whole-hit requests in the plain form, without a single wait. Everything else
takes `read`, whose parts are `pannier_sidecar.loads` (L2 and L3, or a feature server) and `answers` (rows).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from random import random
from typing import NamedTuple

import msgspec

from pannier.errors import Problem
from pannier_sidecar.admission import Lane, Seat, end_after
from pannier_sidecar.answers import Answers, Options, range_query
from pannier_sidecar.api import problems
from pannier_sidecar.api.read_requests import Read, ReadRequest, request_fault
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.errors import Overloaded, TierError, TierOverloaded, TierTimeout
from pannier_sidecar.hot_rows import SAMPLE, HotRows
from pannier_sidecar.input_reads import InputReads, rows_fault, until
from pannier_sidecar.known import Loaded
from pannier_sidecar.loads import Loads
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.observer import Observer
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.read_shape import ResolvedRead, ShapeMemo, resolve
from pannier_sidecar.render import int64_as_string
from pannier_sidecar.request_faults import request_faults
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.shadow import Shadow
from pannier_sidecar.stage_times import StageTimes
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_local import L1Cache


class ReadAnswer(NamedTuple):
    """What a read request comes to. ``status`` 200 has a JSON body, anything else a problem document."""

    status: int
    body: bytes
    timings: str = ""
    """Value of the ``Server-Timing`` header; empty unless the request asked to explain."""


class ReadPath:
    """Answers read requests."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        *,
        l1: L1Cache,
        loads: Loads,
        lane: Lane,
        clock: Clock,
        metrics: Metrics,
        timeout_seconds: float,
        shadow: Shadow,
        observer: Observer,
        dice: Callable[[], float] = random,
    ) -> None:
        self._l1 = l1
        self._shadow = shadow
        self._observer = observer
        self._dice = dice
        self._loads = loads
        self._lane = lane
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._answers = Answers(l1, metrics)
        self._inputs = InputReads(loads, self._answers, clock, self._from_l1, self._stale)
        self._memo: ShapeMemo | None = None
        self._hot = HotRows(l1, metrics, self._look_again, dice, observer.saw)
        self._due: dict[RowKey, Freshness] = {}

    def answer_from_l1(self, request: ReadRequest, plan: ReadPlan) -> bytes | None:
        """The body of a 200, if L1 alone can answer every row without looking twice; None = use `read`."""
        body = self._hot.answer(request, self._shapes(plan), self._clock.now_us())
        self._refresh_due()
        return body

    async def read(self, request: ReadRequest, plan: ReadPlan, *, int64_strings: bool = False) -> ReadAnswer:
        """Answer a request; never raises for what tiers do.

        Raises `Overloaded`, having loaded nothing: L1 does not suffice, and too many reads are under way.
        """
        fault = request_fault(request)
        if fault is not None:
            self._metrics.problem(fault.reason)
            return self._refused([fault])
        deadline = asyncio.get_running_loop().time() + self._budget_seconds(request)
        watch = StageTimes(self._clock)
        shapes = self._shapes(plan)
        resolved = [self._resolve(read, shapes, watch.start_us, i) for i, read in enumerate(request.reads)]
        valid = [read for read in resolved if isinstance(read, ResolvedRead)]
        if not valid:
            return self._refused([problem for problem in resolved if isinstance(problem, Problem)])
        fault = rows_fault(valid, plan)
        if fault is not None:
            self._metrics.problem(fault.reason)
            return self._refused([fault])
        with self._lane.seat() as seat:
            served = await self._serve(valid, shapes, watch, deadline, seat)
            failed = request_faults(request.reads, resolved, served)
            if failed:
                return self._refused(failed)
            options = Options(
                self._clock.now_us(), request.explain, int64_as_string if int64_strings else None
            )
            rows = await self._rows(valid, served, options, deadline, seat)
        watch.lap("range")
        if self._dice() < 1 / SAMPLE:
            self._observer.saw_served(served, options.now_us)
        body = _body(request.reads, resolved, rows)
        return ReadAnswer(HTTPStatus.OK, body, watch.header() if request.explain else "")

    def _shapes(self, plan: ReadPlan) -> ShapeMemo:
        memo = self._memo
        if memo is None or memo.plan is not plan:
            memo = self._memo = ShapeMemo(plan, memo)
            self._l1.follow(plan)
            self._hot.follow(plan)
        return memo

    def _resolve(self, read: Read, shapes: ShapeMemo, now_us: int, position: int) -> ResolvedRead | Problem:
        found = resolve(read, shapes, now_us)
        if isinstance(found, ResolvedRead):
            self._metrics.group(found.shape.plan.name).deprecated += found.shape.deprecated
            return found
        self._metrics.problem(found.reason)
        return Problem(f"reads[{position}].{found.path}", found.reason, found.message)

    async def _serve(
        self, reads: Sequence[ResolvedRead], shapes: ShapeMemo, watch: StageTimes, deadline: float, seat: Seat
    ) -> dict[RowKey, Loaded]:
        """What every key of the request is answered from."""
        served: dict[RowKey, Loaded] = {}
        missing = self._ask_l1(reads, watch.start_us, served)
        self._refresh_due()
        watch.lap("l1")
        if not missing:
            return served
        try:
            seat.take()
        except Overloaded as refusal:
            return served | self._all_stale(missing, refusal)
        stored = [key for key in missing if not key.plan.is_computed]
        shadowed = self._shadow.look_l1(stored, watch.start_us)
        landed = await self._inputs.load(missing, shapes, deadline)
        for key in missing:
            served[key] = landed.get(key) or self._stale(key, _late())
        self._shadow.compare_l1_later(shadowed, served)
        watch.lap("load")
        return served

    def _ask_l1(
        self, reads: Sequence[ResolvedRead], now_us: int, served: dict[RowKey, Loaded]
    ) -> list[RowKey]:
        """Serve what L1 holds; gives what has to be loaded."""
        missing: dict[RowKey, None] = {}
        for read in reads:
            plan = read.shape.plan
            may_be_held = not (plan.is_strong or read.context or plan.inputs)
            for row_id in read.ids:
                key = read.key(row_id)
                if key in served or key in missing:
                    continue
                found = self._from_l1(key, now_us) if may_be_held else None
                if found is None:
                    missing[key] = None
                else:
                    served[key] = found
        return list(missing)

    def _from_l1(self, key: RowKey, now_us: int) -> Loaded | None:
        if not key.plan.policy.local.is_served:
            return None
        entry, found = self._l1.look(key.plan, key.id, now_us, self._loads.load_us(key.plan))
        if entry is None or not entry.row:
            return None
        if found is Freshness.EXPIRED:
            is_waiting = now_us < entry.retry_at_us and now_us < entry.stale_until_us and not entry.negative
            return Loaded(entry, "l1", stale=True) if is_waiting else None
        if found is not Freshness.FRESH:
            self._due[key] = found
        return Loaded(entry, "l1")

    def _look_again(self, plan: GroupPlan, row_id: str, now_us: int) -> LocalEntry | None:
        """Look at an entry for the hot path: only what is served unmarked may go on there."""
        found = None if plan.is_strong else self._from_l1(RowKey(plan, row_id), now_us)
        return None if found is None or found.stale else found.entry

    def _refresh_due(self) -> None:
        """Start the refreshes that were found due, all keys of a request as one load.

        No precedence over reads, nor for them: for a hot key it is tried many times, and once suffices.
        """
        if not self._due:
            return
        due, self._due = self._due, {}
        if self._lane.try_begin():
            end_after(self._lane, self._loads.refresh(due))
        else:
            self._metrics.shed("refresh")

    def _all_stale(self, keys: Sequence[RowKey], refusal: Overloaded) -> dict[RowKey, Loaded]:
        """Answer a refused read out of L1 all the same, where stale answers are allowed for all of it."""
        error = TierOverloaded("l3", refusal.message)
        stale = {key: self._stale(key, error) for key in keys}
        if any(loaded.entry is None for loaded in stale.values()):
            raise refusal
        return stale

    def _stale(self, key: RowKey, error: TierError) -> Loaded:
        """Answer stale if that is allowed, else unknown: no load has come back for this key."""
        now_us = self._clock.now_us()
        is_served = key.plan.policy.local.is_served
        entry = self._l1.held(key.plan, key.id, now_us) if is_served else None
        if entry is not None and entry.row and not entry.negative and now_us < entry.stale_until_us:
            return Loaded(entry, "l1", stale=True, error=error)
        return Loaded(None, "l3", error=error)

    async def _rows(
        self,
        reads: Sequence[ResolvedRead],
        served: dict[RowKey, Loaded],
        options: Options,
        deadline: float,
        seat: Seat,
    ) -> list[list[bytes]]:
        """Rows of every read; those outside of what the entries cover are read from L3, all at once."""
        uncovered: dict[tuple[int, int], TimelineQuery] = {}
        rows: list[list[bytes]] = []
        for number, read in enumerate(reads):
            made = []
            for position, row_id in enumerate(read.ids):
                row = self._answers.row(read, row_id, served[read.key(row_id)], options)
                if row is None:
                    uncovered[number, position] = range_query(read.shape, row_id, options.now_us)
                made.append(row or b"")
            rows.append(made)
        if uncovered:
            seat.take()
            landed = await until(self._loads.load_ranges(list(set(uncovered.values()))), deadline)
            for (number, position), query in uncovered.items():
                read = reads[number]
                said = landed.get(query) or _late()
                loaded = served[RowKey(query.plan, query.id)]
                rows[number][position] = self._answers.ranged_row(read, query.id, loaded, said, options)
        return rows

    def _budget_seconds(self, request: ReadRequest) -> float:
        return self._timeout_seconds if request.timeout_ms is None else request.timeout_ms / 1_000

    def _refused(self, faults: Sequence[Problem]) -> ReadAnswer:
        document = problems.details(faults)
        return ReadAnswer(document.status, problems.encode(document))

    def __repr__(self) -> str:
        return f"<ReadPath over {self._l1!r} and {self._loads!r}>"


def _late() -> TierTimeout:
    """Why there is no answer when the budget is used up. The load goes on."""
    return TierTimeout("l3", "no answer within the time budget of the request")


def _body(
    asked: Sequence[Read], resolved: Sequence[ResolvedRead | Problem], rows: Sequence[list[bytes]]
) -> bytes:
    """All results, in the order asked; a problem in the place of the read it stands for."""
    answered = iter(rows)
    results = []
    for read, found in zip(asked, resolved, strict=True):
        if isinstance(found, Problem):
            results.append(b'{"group":%b,"error":%b}' % (_name(read.group), problems.embedded([found])))
        else:
            results.append(found.head + b",".join(next(answered)) + b"]}")
    return b'{"results":[' + b",".join(results) + b"]}"


def _name(group: str) -> bytes:
    """A group's name as the request said it; it may be any text, since no such group need exist."""
    return msgspec.json.encode(group.encode("utf-8", "backslashreplace").decode())
