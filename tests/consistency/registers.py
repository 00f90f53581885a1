"""When a register of one row can have held which value: what recorded writes allow, and nothing about reads.

A row is a set of registers (features of a record; records of a timeline), each last-writer-wins by event
time. Every written value is unique, so a value names its write. Of a write is known when it was asked for and
when it was answered; it took effect somewhere in between, and was over at the latest when a write that
supersedes it was answered. These spans are never too short: whatever lies outside them cannot have been.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from tests.consistency.operations import Promise, Write

BEGINNING = -math.inf
NEVER = math.inf
WRITTEN = "written"
MAY_BE = frozenset({WRITTEN, "unknown"})


class Claim(NamedTuple):
    """One write's say about one register."""

    value: str | None
    start: float
    end: float
    """When it had surely been applied for the last time."""
    acknowledged: float
    """When it had surely been applied; never = it may not have been at all."""
    stamp: float | None
    via: str
    is_fence: bool = False


class Span(NamedTuple):
    """When a register can have held a value because of one claim."""

    start: float
    end: float
    claim: Claim
    ended_by: tuple[Claim, ...]
    """The acknowledged claims that end it."""

    def own_end(self, via: str) -> float:
        """When a client that reads its own writes through this sidecar must not see it any more."""
        return min((claim.acknowledged for claim in self.ended_by if claim.via == via), default=NEVER)


INITIAL = Claim(None, BEGINNING, BEGINNING, BEGINNING, BEGINNING, "")


class RowHistory:
    """The writes of one row, by register."""

    def __init__(self, promise: Promise, writes: Sequence[Write]) -> None:
        self.promise = promise
        self.writes = writes
        self._has_force = any(write.kind == "force" for write in writes)
        self._claims: dict[str, list[Claim]] = {}
        self._spans: dict[str, dict[str | None, list[Span]]] = {}
        for write in writes:
            for register, claim in self._claims_of(write):
                self._claims.setdefault(register, [INITIAL]).append(claim)
        for write in writes:
            if write.kind == "erase":
                self._erase(write)

    @property
    def registers(self) -> Iterable[str]:
        """Every register that a write may have touched."""
        return self._claims

    def spans(self, register: str, value: str | None) -> list[Span]:
        """When the register can have held the value."""
        if register not in self._claims:
            return [Span(BEGINNING, NEVER, INITIAL, ())] if value is None else []
        if register not in self._spans:
            self._spans[register] = self._compute(self._claims[register])
        return self._spans[register].get(value, [])

    def is_at_or_below(self, register: str, stamp: float) -> bool:
        """Whether a record of a timeline lies under a fence of this event time."""
        return int(register) * self.promise.unit_us <= stamp

    def _claims_of(self, write: Write) -> Iterable[tuple[str, Claim]]:
        if not may_be_applied(write):
            return
        for register, value in write.cells.items():
            claim = _claim(write, value)
            if register not in write.ignored:
                yield register, claim
            elif write.is_doubtful:  # the first time it may have been applied there as well
                yield register, claim._replace(acknowledged=NEVER)

    def _erase(self, write: Write) -> None:
        if not may_be_applied(write):
            return
        for register, claims in self._claims.items():
            if write.event_us is None or self.is_at_or_below(register, write.event_us):
                claims.append(_claim(write, None)._replace(is_fence=True))

    def _compute(self, claims: list[Claim]) -> dict[str | None, list[Span]]:
        spans: dict[str | None, list[Span]] = {}
        acknowledged = [claim for claim in claims if claim.acknowledged < NEVER]
        for claim in claims:
            ended_by = tuple(other for other in acknowledged if self._supersedes(other, claim))
            end = min((other.acknowledged for other in ended_by), default=NEVER)
            spans.setdefault(claim.value, []).append(Span(claim.start, end, claim, ended_by))
        return spans

    def _supersedes(self, other: Claim, claim: Claim) -> bool:
        """Whether nothing of ``claim`` can be left once ``other`` has been applied."""
        if other is claim:
            return False
        if not self._has_force and other.stamp is not None and claim.stamp is not None:
            if other.stamp != claim.stamp:
                return other.stamp > claim.stamp
            if other.is_fence != claim.is_fence:
                return other.is_fence
        return other.start > claim.end


def with_races(promise: Promise, writes: Sequence[Write]) -> list[Write]:
    """Let a record that was refused for a delete of its id have been there before it, if both were under way.

    A late record is stored first, and its writer looks for the fence after (ADR 6): readers may have seen it
    until the delete, which is then what the writer finds. Refused for a delete of before, it never shows.
    """
    erases = [write for write in writes if write.kind == "erase" and may_be_applied(write)]
    return [
        msgspec.structs.replace(write, is_doubtful=True)
        if promise.unit_us
        and write.verdict == "ignored_deleted"
        and any(_overlap(write, erase) for erase in erases)
        else write
        for write in writes
    ]


def _overlap(one: Write, other: Write) -> bool:
    ends = (NEVER if write.end_us is None else write.end_us for write in (one, other))
    return max(one.start_us, other.start_us) <= min(ends)


def may_be_applied(write: Write) -> bool:
    """Whether the write can have had an effect, for all that was answered."""
    return write.verdict in MAY_BE or (write.is_doubtful and write.verdict != "failed")


def _claim(write: Write, value: str | None) -> Claim:
    is_written = write.verdict == WRITTEN and write.end_us is not None
    answered = NEVER if write.end_us is None else write.end_us
    return Claim(
        value,
        write.start_us,
        answered if is_written and not write.is_doubtful else NEVER,
        answered if is_written else NEVER,
        write.event_us,
        write.via,
    )
