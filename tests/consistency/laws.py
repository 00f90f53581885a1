"""The laws of docs/consistency.md, judged on a recorded history: pure, offline, the same verdict every time.

`check` gives every violation it finds. What a law cannot know (a write that was never answered) it takes in
favour of the system, so a violation is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.consistency import linearizable
from tests.consistency.operations import L2, L3, ROW, Event, Held, Operation, Promise, Read, Setup, Write
from tests.consistency.registers import WRITTEN, RowHistory, Span, may_be_applied, with_races

Address = tuple[str, str]
CLOCKS_US = 5_000
"""Between the recorder's clock and a sidecar's: the same machine's, read by different calls."""


class Violation(NamedTuple):
    """One thing that cannot be."""

    law: str
    operation: Operation | None
    why: str

    def __str__(self) -> str:
        return f"{self.law}: {self.why}\n    {self.operation}"


@dataclass
class Verdict:
    """What became of a history."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        laws = Counter(violation.law for violation in self.violations)
        counted = ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
        shown = "\n".join(str(violation) for violation in self.violations[:5])
        return f"{dict(laws) or 'no violation'}; {counted}" + (f"\n{shown}" if shown else "")


@dataclass
class _Row:
    """Everything that was recorded of one row."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)


def check(history: Iterable[Operation]) -> Verdict:
    """Judge a history."""
    verdict = Verdict()
    promises: dict[str, Promise] = {}
    rows: dict[Address, _Row] = defaultdict(_Row)
    events: list[Event] = []
    for operation in history:
        if isinstance(operation, Setup):
            promises = operation.promises
        elif isinstance(operation, Event):
            events.append(operation)
        elif isinstance(operation, Write):
            rows[operation.group, operation.id].writes.append(operation)
            verdict.counts[f"writes {operation.verdict}"] += 1
        elif isinstance(operation, Read):
            rows[operation.group, operation.id].reads.append(operation)
            verdict.counts["reads stale" if operation.stale else f"reads {operation.status}"] += 1
        else:
            rows[operation.group, operation.id].held.append(operation)
    for (group, _), row in rows.items():
        verdict.violations += _check_row(promises[group], row, events, verdict.counts)
    return verdict


def _check_row(promise: Promise, row: _Row, events: list[Event], counts: Counter[str]) -> Iterator[Violation]:
    row.writes = with_races(promise, row.writes)
    history = RowHistory(promise, row.writes)
    for read in row.reads:
        if read.status != "unknown":
            yield from _check_read(history, read)
    yield from _check_refusals(row.writes)
    yield from _check_tiers(row, events, counts)
    if promise.strong:
        outcome = linearizable.check(promise, row.writes, row.reads)
        counts[f"registers {outcome.kind}"] += 1
        if outcome.culprit is not None:
            yield Violation("Strong", outcome.culprit, "no order of the operations explains this answer")


def _check_read(history: RowHistory, read: Read) -> Iterator[Violation]:
    """No future, no fiction, nothing older than the bound, own writes, and rows as they once were."""
    promise = history.promise
    oldest = _oldest_allowed(promise, read)
    lasted_us = read.end_us - read.start_us  # a row may wait for others of its request
    if read.age_us is not None and not read.stale and read.age_us - lasted_us > promise.bound_us + CLOCKS_US:
        yield Violation("Bound", read, f"says itself that it is {read.age_us} us old")
    moments: list[tuple[float, float]] = [(oldest, read.end_us)]
    for register in sorted({*history.registers, *read.cells}):  # the row itself first
        if promise.unit_us and int(register) < read.shown_from:
            continue
        spans = history.spans(register, read.cells.get(register))
        fault = _fault(spans, read, register, oldest)
        if fault is not None:
            yield fault
            return
        if not promise.unit_us:  # records of a timeline are items of their own, of different moments
            moments = _common(moments, spans)
    if not moments:
        yield Violation("WholeRow", read, "its features were never there at one moment")


def _oldest_allowed(promise: Promise, read: Read) -> float:
    if read.via == L3:
        return read.start_us
    bound_us = 0 if promise.strong and not read.stale else promise.bound_us + CLOCKS_US
    return read.start_us - bound_us - (promise.stale_us if read.stale else 0)


def _fault(spans: list[Span], read: Read, register: str, oldest: float) -> Violation | None:
    """Why this register cannot show what it showed."""
    shown = f"{register or 'the row'} = {read.cells.get(register)!r}"
    begun = [span for span in spans if span.start <= read.end_us]
    if not begun:
        law = "FromTheFuture" if spans else "NeverWritten"
        return Violation(law, read, f"{shown} was not written by then")
    if not any(span.end >= oldest for span in begun):
        last = max(begun, key=lambda span: span.end)
        law = "Lost" if read.via == L3 else "Bound"
        if register == ROW and read.status == "missing":
            law = "Missing"
        age_us = read.start_us - last.end
        return Violation(law, read, f"{shown} had been superseded {age_us:.0f} us before, by {_by(last)}")
    if not any(span.end >= oldest and span.own_end(read.via) >= read.start_us for span in begun):
        last = max(begun, key=lambda span: span.own_end(read.via))
        return Violation("OwnWrites", read, f"{shown} was superseded through {read.via}, by {_by(last)}")
    return None


def _by(span: Span) -> str:
    return str(min(span.ended_by, key=lambda claim: claim.acknowledged, default=None))


def _common(moments: list[tuple[float, float]], spans: list[Span]) -> list[tuple[float, float]]:
    """The moments that also lie in one of the spans."""
    return list(
        {
            (low, high)
            for start, end in moments
            for span in spans
            if (low := max(start, span.start)) <= (high := min(end, span.end))
        }
    )


def _check_refusals(writes: list[Write]) -> Iterator[Violation]:
    """A write is refused as older or deleted only where something newer can have been stored."""
    for write in writes:
        if write.verdict not in {"ignored_older", "ignored_deleted"} or write.is_doubtful:
            continue
        if not any(_may_refuse(other, write) for other in writes):
            yield Violation("Refused", write, f"{write.verdict}, though nothing newer was written")


def _may_refuse(other: Write, write: Write) -> bool:
    if other is write or other.verdict not in {"written", "unknown"}:
        return False
    if write.end_us is None or other.start_us > write.end_us:
        return False
    if other.event_us is None or write.event_us is None:
        return True
    is_fence = other.kind == "erase"
    return other.event_us > write.event_us or (is_fence and other.event_us == write.event_us)


def _check_tiers(row: _Row, events: list[Event], counts: Counter[str]) -> Iterator[Violation]:
    """After all came to rest every tier says what L3 says, or nothing."""
    truths = {held.moment: held.shown for held in row.held if held.via == L3}
    for held in row.held:
        if held.via == L3 or held.shown is None:
            continue
        if held.moment == "calm" and _is_excused(row.writes, events):
            counts["tiers excused"] += 1
            continue
        counts["tiers compared"] += 1
        if held.shown != truths[held.moment]:
            tier = "L2" if held.via == L2 else "a sidecar"
            yield Violation(
                "Rest", held, f"{tier} holds something other than L3 does, which is {truths[held.moment]}"
            )


def _is_excused(writes: list[Write], events: list[Event]) -> bool:
    """Whether L2 may be behind until the bound: it lost its memory, or the sidecar that had to tell it died.

    "A crash between steps costs at most the bound." Only the write that L3 applied last counts: whoever wrote
    it has told Redis of it, and what Redis was told later it still knows.
    """
    lost_us = max((event.at_us for event in events if event.what == "redis-lost"), default=0)
    killed = {event.subject: event.at_us for event in events if event.what == "killed"}
    done = [write for write in writes if may_be_applied(write)]
    last_begun = max((write.start_us for write in done if write.verdict == WRITTEN), default=0)
    for write in done:
        is_settled = write.verdict == WRITTEN and not write.is_doubtful
        if is_settled and (write.end_us or 0) < last_begun:
            continue  # another one came after it
        has_died = write.via in killed if is_settled else any(at > write.start_us for at in killed.values())
        if has_died or write.start_us <= lost_us:
            return True
    return False
