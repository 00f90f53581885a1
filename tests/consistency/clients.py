"""Who writes and reads during a run: every draw comes from the seed, every answer goes into the history.

Rows live for a while and are then left alone, so that each has a short history, a beginning that is read
before it is written, and an end at which nothing is under way.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

import aiohttp
import msgspec
from tests.consistency import rows_http
from tests.consistency.fleet import Fleet, Member
from tests.consistency.groups import FEATURES, MAX_LIMIT, PROMISES, is_timeline, whole_row
from tests.consistency.operations import ROW, ROW_THERE, Kind, Operation, Write
from tests.consistency.rows_http import Intent, Question

WRITERS: Final = 12
READERS: Final = 8
_WRITABLE: Final = {True: "fko", False: "fk"}
_READABLE: Final = {True: "fk", False: "fko"}
"""By whether it is that sidecar."""
_SECOND_US: Final = 1_000_000
_GRID_US: Final = 20_000
"""Event times are drawn from a grid, so that some are equal."""
_ATTEMPTS: Final = 3
_KINDS: Final[Sequence[Kind]] = ("merge",) * 13 + ("replace",) * 3 + ("delete",) * 2
_FORCED_KINDS: Final[Sequence[Kind]] = ("merge",) * 8 + ("force",) * 5 + ("delete",)


class Load(NamedTuple):
    """How much is asked of what."""

    operations: int
    groups: Sequence[str] = tuple(sorted(PROMISES))
    writes_per_row: int = 22
    """On average, before it is left alone."""
    rows: str = "ffkkkkkkkkkooo"
    """Those of each group that are written at a time, by kind.

    Only where something is `f`orced event time does not order the writes. What `o`ne sidecar writes is read
    through the others, as where a pipeline fills the groups.
    """
    at_least_seconds: float = 0
    """How long it goes on even if that much was asked before: age takes time, not operations."""


class Clients:
    """The clients of one round. `run` returns when enough was asked; ``history`` has it all."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession, seed: int, load: Load) -> None:
        self._fleet = fleet
        self._session = session
        self._seed = seed
        self._load = load
        self._writes_begun = 0
        self._until_us = fleet.recorder.now_us() + int(load.at_least_seconds * _SECOND_US)
        self._timestamps: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.history: list[Operation] = []

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Every row that was written, or may have been."""
        return sorted({(one.group, one.id) for one in self.history if isinstance(one, Write)})

    async def run(self) -> None:
        """Until enough was asked."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self._write_on(f"w{number}"))
            for number in range(READERS):
                tasks.create_task(self._read_on(f"r{number}"))

    @property
    def _is_over(self) -> bool:
        is_enough = len(self.history) >= self._load.operations
        return is_enough and self._fleet.recorder.now_us() >= self._until_us

    @property
    def _life(self) -> int:
        return self._writes_begun // (
            self._load.writes_per_row * len(self._load.rows) * len(self._load.groups)
        )

    def _a_member(self, dice: random.Random, kinds: dict[bool, str]) -> Member:
        """One through which some of the rows may be asked for."""
        rows = set(self._load.rows)
        able = [one for one in self._fleet.members if rows & set(kinds[one.number == 0])]
        return dice.choice(able)

    def _a_row(self, dice: random.Random, kinds: str, *, life: int | None = None) -> str:
        rows = self._load.rows
        number = dice.choice([number for number, kind in enumerate(rows) if kind in kinds])
        life = self._life if life is None else life
        return f"{rows[number]}{self._seed}.{life}.{number}"

    async def _write_on(self, client: str) -> None:
        dice, number = random.Random(f"{self._seed}/{client}"), 0
        while not self._is_over:
            member, intents = self._a_member(dice, _WRITABLE), []
            for _ in range(dice.choice([1, 1, 2, 4, 8])):
                number += 1
                intents.append(self._an_intent(dice, member, f"{client}.{number}"))
            written = await self._send(client, dice, member, intents)
            own = [Question(w.group, [w.id]) for w in written if not w.id.startswith("o")]
            if own and dice.random() < 0.4:
                await self._ask(client, member, own)
            await asyncio.sleep(dice.choice([0, 0, 0.005]))

    def _an_intent(self, dice: random.Random, member: Member, value: str) -> Intent:
        self._writes_begun += 1
        group = dice.choice(self._load.groups)
        row_id = self._a_row(dice, _WRITABLE[member.number == 0])
        if is_timeline(group):
            return self._on_a_timeline(dice, group, row_id, value)
        return self._on_a_record(dice, group, row_id, value)

    def _on_a_record(self, dice: random.Random, group: str, row_id: str, value: str) -> Intent:
        kind = dice.choice(_FORCED_KINDS if row_id.startswith("f") else _KINDS)
        if kind == "delete":
            return Intent(group, row_id, kind, dict.fromkeys((*FEATURES, ROW)))
        named = dice.sample(FEATURES, dice.choice([1, 1, 2, 3]))
        features = {name: f"{value}{name}" for name in named}
        item: dict[str, object] = {"features": features, "mode": kind}
        cells: dict[str, str | None] = {**features, ROW: ROW_THERE}
        if kind == "replace":
            cells = whole_row(features)
        if kind == "merge" and len(named) < len(FEATURES) and dice.random() < 0.15:
            gone = next(name for name in FEATURES if name not in named)
            item["unset"], cells[gone] = [gone], None
        event_us = None
        if kind == "force" or dice.random() < 0.6:
            now_us = self._fleet.recorder.now_us()
            offset_us = int(dice.choice([0, 0, 0, -0.1, -0.5, -2, -20, 1]) * _SECOND_US)
            event_us = (now_us + offset_us) // _GRID_US * _GRID_US
            item["event_time"] = event_us
        return Intent(group, row_id, kind, cells, event_us, item)

    def _on_a_timeline(self, dice: random.Random, group: str, row_id: str, value: str) -> Intent:
        known = self._timestamps[group, row_id]
        draw = dice.random()
        if draw < 0.04:
            return Intent(group, row_id, "erase", {})
        if draw < 0.16 and known:
            return Intent(group, row_id, "delete", {str(dice.choice(known)): None})
        if draw < 0.4 and known:
            timestamp = dice.choice(known)
        else:
            now_us = self._fleet.recorder.now_us()
            timestamp = (now_us - int(dice.choice([0, 0, 0, 0.1, 1, 7]) * _SECOND_US)) // 1_000
            known.append(timestamp)
        item: dict[str, object] = {"timestamp": timestamp, "features": {"a": value}}
        return Intent(group, row_id, "replace", {str(timestamp): value}, timestamp * 1_000, item)

    async def _send(
        self, client: str, dice: random.Random, member: Member, intents: Sequence[Intent]
    ) -> list[Write]:
        """Send a batch and its deletes, and repeat what got no answer where that is safe."""
        deletes = [intent for intent in intents if not intent.item]
        puts = [intent for intent in intents if intent.item]
        session, recorder = self._session, self._fleet.recorder
        done = await asyncio.gather(
            *(rows_http.delete(session, recorder, member, client, intent) for intent in deletes)
        )
        self.history += done
        return [*done, *(await self._put(client, dice, member, puts) if puts else [])]

    async def _put(
        self, client: str, dice: random.Random, member: Member, puts: Sequence[Intent]
    ) -> list[Write]:
        session, recorder = self._session, self._fleet.recorder
        first = await rows_http.write(session, recorder, member, client, puts)
        final = dict(enumerate(first))
        for _ in range(_ATTEMPTS - 1):
            again = [
                i for i, written in final.items() if written.verdict == "unknown" and _may_repeat(puts[i])
            ]
            if not again or dice.random() < 0.3:
                break
            await asyncio.sleep(dice.uniform(0.02, 0.2))
            is_of_one = any(puts[i].id.startswith("o") for i in again)
            other = member if is_of_one else dice.choice(self._fleet.members)
            answers = await rows_http.write(session, recorder, other, client, [puts[i] for i in again])
            for i, answer in zip(again, answers, strict=True):
                final[i] = _repeated(final[i], answer)
        self.history += final.values()
        return list(final.values())

    async def _read_on(self, client: str) -> None:
        dice = random.Random(f"{self._seed}/{client}")
        while not self._is_over:
            member = self._a_member(dice, _READABLE)
            questions = [self._a_question(dice, member) for _ in range(dice.choice([1, 2, 4]))]
            await self._ask(client, member, questions, explain=dice.random() < 0.25)
            await asyncio.sleep(dice.choice([0.002, 0.01, 0.02]))

    def _a_question(self, dice: random.Random, member: Member) -> Question:
        group = dice.choice(self._load.groups)
        ids = list({self._a_row_to_read(dice, member): None for _ in range(dice.choice([1, 4, 12, 24]))})
        if not is_timeline(group) or dice.random() < 0.6:
            return Question(group, ids)
        since = self._fleet.recorder.now_us() // 1_000 - dice.randrange(3_000)
        return Question(
            group, ids, dice.choice([None, 1, 3, MAX_LIMIT]), since if dice.random() < 0.3 else None
        )

    def _a_row_to_read(self, dice: random.Random, member: Member) -> str:
        life = max(self._life - (dice.random() < 0.15), 0)
        return self._a_row(dice, _READABLE[member.number == 0], life=life)

    async def _ask(
        self, client: str, member: Member, questions: Sequence[Question], *, explain: bool = False
    ) -> None:
        if not member.is_alive:
            await asyncio.sleep(0.02)
            return
        self.history += await rows_http.read(
            self._session, self._fleet.recorder, member, client, questions, explain=explain
        )

    def __repr__(self) -> str:
        return f"<Clients of seed {self._seed}, {len(self.history)} of {self._load.operations} operations>"


def _may_repeat(intent: Intent) -> bool:
    """Whether a repeat is safe: it brings its event time, and nobody counts on it being done once."""
    return intent.event_us is not None and intent.kind != "force" and not PROMISES[intent.group].strong


def _repeated(first: Write, last: Write) -> Write:
    """Two attempts as one write: it began with the first, and may have been applied by both."""
    if last.verdict == "failed":  # this time it surely was not stored; the first time it may have been
        last = msgspec.structs.replace(last, verdict="unknown", end_us=None)
    return msgspec.structs.replace(last, start_us=first.start_us, is_doubtful=True)
