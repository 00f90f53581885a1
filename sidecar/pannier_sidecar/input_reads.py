"""The step before a call: rows that computed groups take from other groups, read as any rows are.

L1, then loads, then ranges, as in `pannier_sidecar.read_path`. An input that is computed from inputs comes
here again; that ends, since groups whose inputs form a cycle are answered unknown (`pannier.inputs`). A row
whose input is unknown is unknown, and its server is not called for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pannier.catalog import CatalogInput
from pannier.errors import KeyRefused, Problem
from pannier.keys import check_id
from pannier_sidecar.answers import Answers, Options, range_query
from pannier_sidecar.api.read_requests import MAX_ROWS
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import InputUnknown, TierError, TierMisconfigured, TierTimeout
from pannier_sidecar.input_ids import decoded, input_id
from pannier_sidecar.known import Loaded
from pannier_sidecar.loads import Loads
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.read_shape import ReadShape, ResolvedRead, ShapeMemo
from pannier_sidecar.row import ContextKey, InputKey, RowKey

K = TypeVar("K")
V = TypeVar("V")
Row = bytes | TierError
LEFT_FOR_CALL: Final = 0.5
"""Most of the time left that inputs may leave to the call they are for; no more than its own timeout."""


class InputReads:
    """Loads keys, those that are computed with inputs after their inputs."""

    def __init__(
        self,
        loads: Loads,
        answers: Answers,
        clock: Clock,
        look: Callable[[RowKey, int], Loaded | None],
        stale: Callable[[RowKey, TierError], Loaded],
    ) -> None:
        """``look`` and ``stale``: what L1 holds of a key, now and where no load came back."""
        self._loads = loads
        self._answers = answers
        self._clock = clock
        self._look = look
        self._stale = stale

    async def load(self, keys: Sequence[RowKey], shapes: ShapeMemo, deadline: float) -> dict[RowKey, Loaded]:
        """What of these keys lands before the deadline (of the loop's clock)."""
        with_inputs = [key for key in keys if key.plan.inputs]
        if not with_inputs:  # nearly every read
            return await until(self._loads.load(keys), deadline)
        flights = self._loads.load([key for key in keys if not key.plan.inputs])
        by_plan: dict[GroupPlan, list[RowKey]] = {}
        for key in with_inputs:
            by_plan.setdefault(key.plan, []).append(key)
        together: dict[object, list[RowKey]] = {}
        for plan, of_plan in by_plan.items():
            together.setdefault(_company(plan), []).extend(of_plan)
        computed = await asyncio.gather(
            *(self._computed(part, shapes, deadline) for part in together.values())
        )
        landed = await until(flights, deadline)
        for part in computed:
            landed |= part
        return landed

    async def _computed(
        self, keys: Sequence[RowKey], shapes: ShapeMemo, deadline: float
    ) -> dict[RowKey, Loaded]:
        """Read the inputs of these keys, then have computed what can be."""
        landed: dict[RowKey, Loaded] = {}
        sound = []
        for key in keys:
            fault = shapes.plan.inputs.faults.get(key.plan.name)
            if fault is None:
                sound.append(key)
            else:
                landed[key] = _unknown(TierMisconfigured("on_demand", f"{fault.path} {fault.message}"))
        rows = await self._inputs(sound, shapes, _inputs_deadline(sound, deadline))
        ready: dict[RowKey, RowKey] = {}
        for key in sound:
            given = [rows[key, one.name] for one in key.plan.inputs]
            error = next((row for row in given if isinstance(row, TierError)), None)
            if error is None:
                inputs = tuple(row for row in given if isinstance(row, bytes))
                ready[key] = InputKey(key.plan, key.id, _context(key), inputs)
            else:
                landed[key] = _unknown(error)
        said = await until(self._loads.load(list(ready.values())), deadline)
        return landed | {key: said[asked] for key, asked in ready.items() if asked in said}

    async def _inputs(
        self, keys: Sequence[RowKey], shapes: ShapeMemo, deadline: float
    ) -> dict[tuple[RowKey, str], Row]:
        """Give every input row of every key: its bytes, or why it is unknown."""
        wanted: dict[tuple[RowKey, str], tuple[ReadShape, str] | TierError] = {}
        contexts = {context: decoded(context) for context in {_context(key) for key in keys}}
        for key in keys:
            for one in key.plan.inputs:
                wanted[key, one.name] = _wanted(key, one, shapes, contexts[_context(key)])
        ids: dict[ReadShape, dict[str, None]] = {}
        for found in wanted.values():
            if not isinstance(found, TierError):
                ids.setdefault(found[0], {})[found[1]] = None
        reads = [ResolvedRead(shape, tuple(of_shape), b"", None) for shape, of_shape in ids.items()]
        rows = await self._read(reads, shapes, deadline)
        given: dict[tuple[RowKey, str], Row] = {}
        for place, found in wanted.items():
            row = found if isinstance(found, TierError) else rows[found]
            given[place] = _input_unknown(place[1], row) if isinstance(row, TierError) else row
        return given

    async def _read(
        self, reads: Sequence[ResolvedRead], shapes: ShapeMemo, deadline: float
    ) -> Mapping[tuple[ReadShape, str], Row]:
        """Read rows as for an app: L1, loads, ranges that no entry covers."""
        now_us = self._clock.now_us()
        keys = dict.fromkeys(read.key(row_id) for read in reads for row_id in read.ids)
        served = {key: found for key in keys if (found := self._held(key, now_us)) is not None}
        missing = [key for key in keys if key not in served]
        landed = await self.load(missing, shapes, deadline)
        for key in missing:
            served[key] = landed.get(key) or self._stale(key, _late())
        options = Options(self._clock.now_us(), explain=False, transform=None)
        rows: dict[tuple[ReadShape, str], Row] = {}
        uncovered = {}
        for read in reads:
            for row_id in read.ids:
                loaded = served[read.key(row_id)]
                row = self._answers.row(read, row_id, loaded, options)
                if row is None:
                    uncovered[read, row_id] = range_query(read.shape, row_id, options.now_us)
                elif loaded.entry is None:
                    rows[read.shape, row_id] = loaded.error or _late()
                else:
                    rows[read.shape, row_id] = row
        ranges = await until(self._loads.load_ranges(list(set(uncovered.values()))), deadline)
        for (read, row_id), query in uncovered.items():
            said = ranges.get(query) or _late()
            row = self._answers.ranged_row(read, row_id, served[read.key(row_id)], said, options)
            rows[read.shape, row_id] = said if isinstance(said, TierError) else row
        return rows

    def _held(self, key: RowKey, now_us: int) -> Loaded | None:
        return None if key.plan.is_strong or key.plan.inputs else self._look(key, now_us)

    def __repr__(self) -> str:
        return f"<InputReads over {self._loads!r}>"


def rows_fault(reads: Sequence[ResolvedRead], plan: ReadPlan) -> Problem | None:
    """Say that a request comes to too many rows, those counted that its rows are computed from."""
    counts = plan.inputs.rows
    if not counts:
        return None  # without them, the request was counted as it was decoded
    rows = sum(len(read.ids) * (1 + counts.get(read.shape.plan.name, 0)) for read in reads)
    if rows <= MAX_ROWS:
        return None
    message = f"ask for {rows} rows, inputs counted; at most {MAX_ROWS} are answered at once"
    return Problem("reads", "TooManyRows", message)


async def until(flights: Mapping[K, asyncio.Future[V]], deadline: float) -> dict[K, V]:
    """What lands before the deadline. Flights go on whether or not somebody waits."""
    for flight in flights.values():  # most of them land together: whoever waits for one finds the others done
        if not flight.done() and not await _lands(flight, deadline):
            break
    return {key: flight.result() for key, flight in flights.items() if flight.done()}


async def _lands(flight: asyncio.Future[V], deadline: float) -> bool:
    """Wait for one flight, without taking it along if the waiter is cancelled."""
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not landed.done():
            landed.set_result(None)

    flight.add_done_callback(wake)
    timer = loop.call_at(deadline, wake)
    try:
        await landed
    finally:
        timer.cancel()
        flight.remove_done_callback(wake)
    return flight.done()


def _company(plan: GroupPlan) -> object:
    """Who is called together: groups of one server that read the same groups, so none waits for another's."""
    server = plan.server
    call = (server.address, server.timeout_seconds) if server is not None else None
    return call, frozenset(one.group for one in plan.inputs)


def _inputs_deadline(keys: Sequence[RowKey], deadline: float) -> float:
    """Leave time for the call that comes after."""
    now = asyncio.get_running_loop().time()
    timeouts = [key.plan.server.timeout_seconds for key in keys if key.plan.server is not None]
    return deadline - min(max(timeouts, default=0.0), max(deadline - now, 0) * LEFT_FOR_CALL)


def _wanted(
    key: RowKey, one: CatalogInput, shapes: ShapeMemo, context: Mapping[str, Any]
) -> tuple[ReadShape, str] | TierError:
    """Say which row an input is; ids that an app did not say itself are checked here."""
    shape = shapes.shape(one.group, one.features, one.limit)
    if isinstance(shape, Problem):
        return TierMisconfigured("on_demand", str(shape))
    row_id = input_id(one, key.id, context)
    if row_id is None:
        return TierMisconfigured("on_demand", f"{key.id!r} names no row of {one.group!r}")
    try:
        check_id(row_id, shape.plan.group.key.max_id_bytes)
    except KeyRefused as refused:
        return TierMisconfigured("on_demand", f"the id of a row of {one.group!r} {refused.message}")
    return shape, row_id


def _input_unknown(name: str, error: TierError) -> TierError:
    return InputUnknown("on_demand", f"input {name!r} is unknown: {error.reason}: {error}")


def _unknown(error: TierError) -> Loaded:
    return Loaded(None, "on_demand", error=error)


def _late() -> TierTimeout:
    return TierTimeout("l3", "no answer within the time budget of the request")


def _context(key: RowKey) -> bytes:
    return key.context if isinstance(key, ContextKey) else b""
