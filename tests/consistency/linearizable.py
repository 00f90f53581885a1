"""Whether the answers of a `Strong` group can be explained by one order of its writes, row by row.

The search is the algorithm of Wing and Gong ("Testing and verifying concurrent objects", 1993) in the
just-in-time form of Lowe ("Testing for linearizability", 2017): operations are given their place only when
one returns that has none yet, and states that were reached with the same operations done are one. Rows are
independent objects, and so are the records of a timeline, which are items of their own.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from tests.consistency.operations import L3, ROW, ROW_THERE, Promise, Read, Write
from tests.consistency.registers import WRITTEN, may_be_applied

MOST_STATES: Final = 20_000
_NO_FENCE: Final = -1


class Outcome(NamedTuple):
    """``linearizable``, ``undecided`` (too many unanswered writes), or the read that nothing explains."""

    kind: str
    culprit: Read | Write | None = None


class _TooWide(Exception):
    pass


@dataclass(frozen=True, eq=False)
class _Put:
    """A write as the register sees it. Compared by identity."""

    write: Write
    cells: dict[str, str | None]
    fence: int
    end_us: int | None
    """When it had happened; None = it need not have happened at all."""
    may_repeat: bool

    @property
    def must_happen(self) -> bool:
        """Whether every explanation has to find a place for it."""
        return self.end_us is not None


class _Get(NamedTuple):
    read: Read
    state: tuple[str | None, ...]


class _Path(NamedTuple):
    """One way to have come here: the state, and what of the pending operations has its place."""

    values: tuple[str | None, ...]
    fence: int
    done: frozenset[_Put]
    """Acknowledged writes that are not answered yet."""
    risked: frozenset[int]
    """Writes that need not have happened, by identity, whatever part of them."""
    matched: frozenset[int]
    """Reads that saw a state on the way."""


class _Paths:
    """Paths of which none is better than another.

    A better one is where the other is, has matched more reads and has risked fewer doubtful writes.
    """

    def __init__(self) -> None:
        self._by_place: dict[tuple[Any, ...], list[_Path]] = {}
        self.count = 0

    def add(self, path: _Path) -> bool:
        """Whether it is worth going on from here."""
        same = self._by_place.setdefault((path.values, path.fence, path.done), [])
        if any(one.risked <= path.risked and one.matched >= path.matched for one in same):
            return False
        kept = [one for one in same if not (path.risked <= one.risked and path.matched >= one.matched)]
        self.count += 1 + len(kept) - len(same)
        same[:] = [*kept, path]
        return True

    def __iter__(self) -> Iterator[_Path]:
        return itertools.chain.from_iterable(self._by_place.values())


def check(promise: Promise, writes: Sequence[Write], reads: Sequence[Read]) -> Outcome:
    """Judge one row."""
    registers = sorted({register for write in writes for register in write.cells})
    asked = [read for read in reads if read.status != "unknown" and not read.stale and read.via != L3]
    if not promise.unit_us:
        return _check_registers(promise, registers, writes, asked)
    outcomes = [
        _check_registers(promise, [register], writes, [r for r in asked if int(register) >= r.shown_from])
        for register in registers
    ]
    bad = next((outcome for outcome in outcomes if outcome.culprit is not None), None)
    undecided = next((outcome for outcome in outcomes if outcome.kind == "undecided"), None)
    return bad or undecided or Outcome("linearizable")


def _check_registers(
    promise: Promise, registers: Sequence[str], writes: Sequence[Write], reads: Sequence[Read]
) -> Outcome:
    """Try the plainest explanations first: what they explain needs no search among all that may have been."""
    gets = [_Get(read, tuple(read.cells.get(register) for register in registers)) for read in reads]
    sure = [put for write in writes for put in _acknowledged(promise, registers, write)]
    doubtful = [put for write in writes for put in _doubtful(promise, registers, write)]
    witnessed = list(_witnessed(doubtful, reads))
    silent = [put for put in doubtful if not any(put.cells.values())]  # a delete leaves no trace to witness
    once = [replace(put, may_repeat=False) for put in (*sure, *witnessed)]
    culprit: Read | Write | None = None
    try:
        for puts in (once, [*once, *silent], [*sure, *witnessed, *silent], [*sure, *doubtful]):
            culprit = _Search(registers, promise, puts, gets).run()
            if culprit is None:
                return Outcome("linearizable")
    except _TooWide:
        return Outcome("undecided")
    if any(write.kind == "erase" and write.event_us is None and may_be_applied(write) for write in writes):
        return Outcome("undecided")  # it hid what nobody knows
    return Outcome("refuted", culprit)


def _witnessed(doubtful: Sequence[_Put], reads: Sequence[Read]) -> Iterator[_Put]:
    """Of the writes without an answer those that were seen: they had happened when that read ended."""
    seen_us: dict[str, int] = {}
    for read in reads:
        for value in read.cells.values():
            seen_us[value] = min(seen_us.get(value, read.end_us), read.end_us)
    taken = set()
    for put in doubtful:  # the whole of a write comes before its parts
        ends = [seen_us[value] for value in put.cells.values() if value in seen_us and value != ROW_THERE]
        if ends and id(put.write) not in taken:
            taken.add(id(put.write))
            yield replace(put, end_us=max(min(ends), put.write.start_us))


def _acknowledged(promise: Promise, registers: Sequence[str], write: Write) -> Iterator[_Put]:
    """What the write did to these registers, by its answer."""
    if write.verdict == WRITTEN and write.end_us is not None:
        cells, fence = _reach(promise, registers, write)
        cells = {r: v for r, v in cells.items() if r not in write.ignored}
        if cells:
            yield _Put(write, cells, fence, write.end_us, write.is_doubtful)


def _doubtful(promise: Promise, registers: Sequence[str], write: Write) -> Iterator[_Put]:
    """What it may have done beyond its answer: of a write that may have met newer features, every part."""
    is_sure = write.verdict == WRITTEN and write.end_us is not None
    if not may_be_applied(write) or (is_sure and not (write.is_doubtful and write.ignored)):
        return
    cells, fence = _reach(promise, registers, write)
    features = [register for register in cells if register != ROW]
    is_whole = is_sure or write.event_us is None or write.kind in {"delete", "erase"}
    for size in range(len(features), len(features) - 1 if is_whole else 0, -1):
        for kept in itertools.combinations(features, size):
            part = {r: v for r, v in cells.items() if r == ROW or r in kept}
            yield _Put(write, part, fence, None, write.is_doubtful)


def _reach(promise: Promise, registers: Sequence[str], write: Write) -> tuple[dict[str, str | None], int]:
    """Which of the registers it names, or which lie under its fence; and the fence."""
    if write.kind != "erase":
        return {r: v for r, v in write.cells.items() if r in registers}, _NO_FENCE
    if write.event_us is None:
        return {}, _NO_FENCE
    return {r: None for r in registers if int(r) * promise.unit_us <= write.event_us}, write.event_us


def _the_best(paths: Iterable[_Path]) -> _Paths:
    best = _Paths()
    for path in paths:
        best.add(path)
    return best


class _Search:
    def __init__(
        self, registers: Sequence[str], promise: Promise, puts: Sequence[_Put], gets: Sequence[_Get]
    ) -> None:
        self._registers = registers
        self._unit_us = promise.unit_us
        self._pending_puts: list[_Put] = []
        self._pending_gets: dict[int, _Get] = {}
        nothing: frozenset[Any] = frozenset()
        self._paths = _the_best([_Path((None,) * len(registers), _NO_FENCE, nothing, nothing, nothing)])
        events: list[tuple[int, int, int, _Put | _Get]] = []
        for number, put in enumerate(puts):
            events.append((put.write.start_us, 0, number, put))
            if put.end_us is not None:
                events.append((put.end_us, 1, number, put))
        for number, get in enumerate(gets):
            events += [(get.read.start_us, 0, number, get), (get.read.end_us, 1, number, get)]
        self._events = sorted(events, key=lambda event: event[:3])

    def run(self) -> Read | Write | None:
        """The first operation that cannot be given a place, or None."""
        for _, is_return, number, operation in self._events:
            if not is_return:
                self._call(number, operation)
            elif isinstance(operation, _Put):
                if not self._put_returns(operation):
                    return operation.write
            elif not self._get_returns(number):
                return operation.read
        return None

    def _call(self, number: int, operation: _Put | _Get) -> None:
        if isinstance(operation, _Put):
            self._pending_puts.append(operation)
        else:
            self._pending_gets[number] = operation
            self._paths = _the_best(self._matched(path) for path in self._paths)

    def _put_returns(self, put: _Put) -> bool:
        """One that may have come back once more can do so up to now, for a read that has not returned yet."""
        reached = self._closure(lambda path: put in path.done and not put.may_repeat)
        self._pending_puts.remove(put)
        self._paths = _the_best(path._replace(done=path.done - {put}) for path in reached if put in path.done)
        return self._paths.count > 0

    def _get_returns(self, number: int) -> bool:
        reached = self._closure(lambda path: number in path.matched)
        del self._pending_gets[number]
        self._paths = _the_best(
            path._replace(matched=path.matched - {number}) for path in reached if number in path.matched
        )
        return self._paths.count > 0

    def _closure(self, is_enough: Callable[[_Path], bool]) -> _Paths:
        """All that is reached by giving pending writes their place, as far as the one that returns needs."""
        reached, edge = _the_best(self._paths), deque(self._paths)
        while edge:
            path = edge.popleft()
            if is_enough(path):
                continue
            for put in self._pending_puts:
                if (put in path.done or id(put.write) in path.risked) and not put.may_repeat:
                    continue
                following = self._applied(path, put)
                if reached.add(following):
                    edge.append(following)
            if reached.count > MOST_STATES:
                raise _TooWide
        return reached

    def _applied(self, path: _Path, put: _Put) -> _Path:
        fence = max(path.fence, put.fence)
        values = tuple(
            put.cells[register]
            if register in put.cells and not self._is_hidden(register, put, fence)
            else held
            for register, held in zip(self._registers, path.values, strict=True)
        )
        done, risked = path.done, path.risked
        if put.must_happen:
            done = done | {put}
        else:
            risked = risked | {id(put.write)}
        return self._matched(_Path(values, fence, done, risked, path.matched))

    def _is_hidden(self, register: str, put: _Put, fence: int) -> bool:
        return put.fence == _NO_FENCE and fence != _NO_FENCE and int(register) * self._unit_us <= fence

    def _matched(self, path: _Path) -> _Path:
        """Give the pending reads that saw this state their place: earlier than needed does no harm."""
        found = {number for number, get in self._pending_gets.items() if get.state == path.values}
        return path if found <= path.matched else path._replace(matched=path.matched | found)

    def __repr__(self) -> str:
        return f"<_Search {len(self._events)} events, {self._paths.count} paths>"
