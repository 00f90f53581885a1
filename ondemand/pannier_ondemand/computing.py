"""One read: the author's function called in its way (sync or async, row or batch), within the call's time.

An asynchronous function is cancelled when the time is up. A thread cannot be: one that computes row by row
stops before its next row, and whatever still waits for a thread never begins.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec

from pannier_ondemand.declaring import Computation
from pannier_ondemand.input_rows import Arguments, arguments
from pannier_ondemand.messages import AskedRead, Computed, ReadRefused, Unknown

T = TypeVar("T")
ROWS_AT_ONCE: Final = 64
"""Calls of an asynchronous function of one row that are under way for one read."""
_LEFT_OUT: Final = Unknown("the function left this id out", reason="LeftOut")
_log: Final = logging.getLogger(__name__)


class Threads:
    """A bounded pool for synchronous functions: so many at work, so many waiting, and no more."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="compute")
        self._most = threads + waiting
        self._taken = 0

    async def run(self, work: Callable[[threading.Event], T]) -> T:
        """Do the work in a thread; it is told by the event that nobody waits for it any more."""
        if self._taken >= self._most:
            raise ReadRefused("Overloaded", "too many synchronous functions are under way")
        gone, context = threading.Event(), contextvars.copy_context()
        self._taken += 1
        job = self._pool.submit(context.run, work, gone)
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._leave))
        try:
            return await asyncio.wrap_future(job)
        finally:
            gone.set()

    def _leave(self) -> None:
        self._taken -= 1

    def close(self, *, wait: bool) -> None:
        """Let nothing more begin; what is at work ends by itself."""
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def __repr__(self) -> str:
        return f"<Threads {self._taken} of {self._most} taken>"


async def compute(computation: Computation, read: AskedRead, threads: Threads) -> Mapping[str, Computed]:
    """What the function says of every id; raises `ReadRefused` where it says nothing."""
    if not read.ids:  # only the schema is asked for
        return {}
    extra = _context(computation, read)
    rows, unknown = arguments(computation.inputs, read)
    try:
        said = await _said(computation, rows, extra, threads) if rows else {}
    except (ReadRefused, TimeoutError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise ReadRefused("ComputationFailed", _failed(computation.group, error).message) from error
    return {row_id: unknown.get(row_id) or said.get(row_id, _LEFT_OUT) for row_id in dict.fromkeys(read.ids)}


async def _said(
    computation: Computation, rows: Mapping[str, Arguments], extra: Arguments, threads: Threads
) -> Mapping[str, Computed]:
    """Call the function in its way; ``rows``: inputs by id, ``extra``: the same for all of them."""
    function = computation.function
    if computation.is_batch:
        ids = list(rows)
        given = next(iter(rows.values()))  # the same inputs for each id
        columns = {name: [row[name] for row in rows.values()] for name in given}
        if computation.is_async:
            return await function(ids, **extra, **columns)  # type: ignore[no-any-return]  # checked row by row
        return await threads.run(lambda _: function(ids, **extra, **columns))
    if computation.is_async:
        return await _rows(function, rows, extra)
    return await threads.run(lambda gone: _rows_in_thread(function, rows, extra, gone))


def _context(computation: Computation, read: AskedRead) -> Arguments:
    """The keyword ``context``, decoded as the function wants it."""
    if not computation.takes_context:
        return {}
    if read.context is msgspec.UNSET:
        if computation.needs_context:
            raise ReadRefused(
                "ContextMissing", f"{read.group} is computed from a context; the read gave none"
            )
        return {}
    try:
        return {"context": msgspec.json.decode(read.context, type=computation.context_type)}
    except msgspec.DecodeError as error:
        raise ReadRefused("ContextInvalid", f"the context of {read.group} does not fit: {error}") from error


async def _rows(function: Any, rows: Mapping[str, Arguments], extra: Arguments) -> dict[str, Computed]:
    found: dict[str, Computed] = {}

    async def work(left: Iterator[tuple[str, Arguments]]) -> None:
        for row_id, inputs in left:
            try:
                found[row_id] = await function(row_id, **extra, **inputs)
            except Unknown as unknown:
                found[row_id] = unknown
            except Exception as error:  # noqa: BLE001 - a bug of the author's, of this row only
                found[row_id] = _failed(function.__name__, error)

    left = iter(rows.items())
    if len(rows) == 1:
        await work(left)
        return found
    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(len(rows), ROWS_AT_ONCE)):
            tasks.create_task(work(left))
    return found


def _rows_in_thread(
    function: Any, rows: Mapping[str, Arguments], extra: Arguments, gone: threading.Event
) -> dict[str, Computed]:
    found: dict[str, Computed] = {}
    for row_id, inputs in rows.items():
        if gone.is_set():
            break
        try:
            found[row_id] = function(row_id, **extra, **inputs)
        except Unknown as unknown:
            found[row_id] = unknown
        except Exception as error:  # noqa: BLE001 - as above
            found[row_id] = _failed(function.__name__, error)
    return found


def _failed(what: str, error: Exception) -> Unknown:
    """Tell of a bug by its kind and place: its message may hold what must not be kept."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = trace.tb_lineno if trace else 0
    _log.error("computation failed: %s: %s in line %d", what, type(error).__name__, line)
    return Unknown(f"the function raised {type(error).__name__}", reason="ComputationFailed")
