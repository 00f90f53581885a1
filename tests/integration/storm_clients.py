"""The clients of `test_history_one_sidecar`: who writes and reads, and what they saw that cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from tests.builders import a_group
from tests.integration.history import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    RETENTION_SECONDS,
    SECOND,
    History,
    Question,
    Seen,
)
from tests.integration.lagging_store import LAG_SECONDS
from tests.integration.serving import Core

from pannier.catalog import CatalogGroup
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.underway import Underway
from pannier_sidecar.write_path import WritePath, WriteResult

WRITES: Final = 60
"""Of each key."""
READERS: Final = 6
HARD_SECONDS: Final = 60
BOUND_US: Final = (HARD_SECONDS + LAG_SECONDS) * SECOND
STALE_SECONDS: Final = 200
_LANDING_SECONDS: Final = 0.2


def a_policy(dice: random.Random) -> dict[str, Any]:
    """Draw how a group is cached."""
    return {
        "write_policy": dice.choice(["WriteThrough", "Invalidate"]),
        "local": dice.choice(["Enabled", "Enabled", "Enabled", "Shadow", "Disabled"]),
        "remote": dice.choice(["Enabled", "Enabled", "Enabled", "Shadow", "Disabled"]),
        "read_consistency": dice.choice(["Eventual", "Eventual", "Eventual", "Strong"]),
        "soft": dice.choice([5, 20]),
    }


def the_groups(namespace: str, **policy: Any) -> tuple[CatalogGroup, CatalogGroup]:
    """A record group and a timeline: the same rows under whatever policy."""
    fields: dict[str, Any] = {
        "features": {"item": "String", "count": "Int64"},
        "hard": HARD_SECONDS,
        "stale_if_error": STALE_SECONDS,
        "jitter_percent": 10,
        "early_factor": 1.0,
        "namespace": namespace,
        "schema_hash": "same",
        **policy,
    }
    return (
        a_group("rows", **fields),
        a_group(
            "trips",
            timeline=True,
            tie_breaker="item",
            retention=RETENTION_SECONDS,
            retention_basis="EventTime",
            default_limit=DEFAULT_LIMIT,
            max_limit=MAX_LIMIT,
            **fields,
        ),
    )


class Clients:
    """Who writes and reads, and what they saw that cannot be."""

    def __init__(self, core: Core, dice: random.Random) -> None:
        self.core = core
        self.dice = dice
        self.histories = [
            History(group, row_id, is_timeline)
            for group, is_timeline in (("rows", False), ("trips", True))
            for row_id in ("own-0", "own-1", "other")
        ]
        self.faults: list[str] = []
        self.l3_down_until = 0.0
        """Loop time; a load that failed then may still be joined a moment later."""
        self.times_us = [core.clock.now_us()]
        self.reads = 0
        self.written = 0
        self.is_over = False
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._busy = 0
        self._quiet = asyncio.Event()

    async def run(self) -> None:
        """Write every key's history to its end, and read until then."""
        elsewhere = self._another_writer()
        async with asyncio.TaskGroup() as readers:
            for _ in range(READERS):
                readers.create_task(self._read_on())
            try:
                async with asyncio.TaskGroup() as writers:
                    for history in self.histories:
                        core = elsewhere if history.id == "other" else self.core
                        writers.create_task(self._write_on(history, core))
            finally:
                self.is_over = True

    async def pause(self) -> None:
        """Return when no client does anything, and keep them so until `go_on`."""
        self._may_go.clear()
        while self._busy:
            await self._quiet.wait()

    def go_on(self) -> None:
        """Let clients go on."""
        self._may_go.set()

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.core.clock.advance(seconds)
        self.times_us.append(self.core.clock.now_us())

    def _another_writer(self) -> Core:
        """A program that writes the same store and knows no cache of this sidecar."""
        core = self.core
        path = WritePath(
            store=core.store,
            l1=L1Cache(1),
            recent=RecentWrites(),
            writer=None,
            underway=Underway(),
            clock=core.clock,
            metrics=core.metrics,
            timeout_seconds=5.0,
            forget_computed=core.l1.drop,
        )
        return dataclasses.replace(core, writes=path)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One thing a client does; long waits of the clock fall between such turns."""
        await self._may_go.wait()
        self._busy += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._quiet.set()

    async def _write_on(self, history: History, through: Core) -> None:
        for _ in range(WRITES):
            async with self._turn():
                through.live.current = self.core.plan
                await (self._change_timeline if history.is_timeline else self._change_record)(
                    history, through
                )
            await asyncio.sleep(self.dice.choice([0, 0.001, 0.004, 0.02]))

    async def _change_record(self, history: History, core: Core) -> None:
        self.written += 1
        content: dict[str, Any] = history.now
        item: dict[str, Any] = {"features": {"count": self.written}}
        what = self.dice.choice(["delete", "merge", "merge", "both", "both", "replace", "force", "unset"])
        if what == "delete":
            await self._send(history, None, lambda: core.writes.delete(core.plan, "rows", history.id))
            return
        if what == "both":
            item["features"]["item"] = str(self.written)
        elif what == "replace":
            item["mode"], content = "replace", {}
        elif what == "force":
            item["mode"], item["event_time"] = "force", core.clock.now_us() - 3_600 * SECOND
        elif what == "unset":
            item["unset"] = ["item"]
            content.pop("item", None)
        await self._send(
            history, {**content, **item["features"]}, lambda: core.write("rows", history.id, **item)
        )

    async def _change_timeline(self, history: History, core: Core) -> None:
        self.written += 1
        content: dict[tuple[int, str], int] = history.now
        held = sorted(content)
        draw = self.dice.random()
        if draw < 0.06:
            result = await self._send(history, {}, lambda: core.writes.delete(core.plan, "trips", history.id))
            history.fence_us = int(datetime.fromisoformat(result.event_time or "").timestamp() * SECOND)
        elif draw < 0.25 and held:
            tick, tie = self.dice.choice(held)
            del content[tick, tie]
            address = {"timestamp": str(tick), "tie_breaker": tie}
            await self._send(
                history, content, lambda: core.writes.delete(core.plan, "trips", history.id, **address)
            )
        else:
            await self._put_record(
                history, core, content, self.dice.choice(held) if held and draw < 0.5 else None
            )

    async def _put_record(
        self, history: History, core: Core, content: dict[Any, int], corrected: tuple[int, str] | None
    ) -> None:
        now = core.clock.now_us() // SECOND
        tick, tie = corrected or ((now - self.dice.randrange(60)) // 30 * 30, self.dice.choice("ab"))
        if tick * SECOND > history.fence_us:  # else stored at most under the fence, where nobody sees it
            content[tick, tie] = self.written
        item: dict[str, Any] = {"timestamp": tick, "features": {"item": tie, "count": self.written}}
        if self.dice.random() < 0.2:
            item["mode"] = "force"
        await self._send(history, content, lambda: core.write("trips", history.id, **item))

    async def _send(
        self, history: History, content: dict[Any, Any] | None, write: Callable[[], Awaitable[WriteResult]]
    ) -> WriteResult:
        """Repeat the write until L3 answers, as a client does that must not lose it."""
        history.begin(content)
        while True:
            result = await write()
            if result.verdict not in {"unknown", "failed"}:
                history.end(self.core.clock.now_us(), written=result.verdict == "written")
                return result
            await asyncio.sleep(0.002)

    async def _read_on(self) -> None:
        while not self.is_over:
            async with self._turn():
                await self._read(self.dice.choice(self.histories))
            await asyncio.sleep(self.dice.choice([0, 0, 0.001]))

    async def _read(self, history: History) -> None:
        question, began = self._question(history), len(self.times_us) - 1
        asked_at = asyncio.get_running_loop().time()
        floor, fresh_floor = self._floors(history)
        row = await self.core.row(
            history.group, history.id, explain=self.dice.random() < 0.5, **question.fields
        )
        self.reads += 1
        seen = Seen(
            history,
            question,
            floor if row.get("stale") else fresh_floor,
            self.times_us[began:],
            row,
            may_be_unknown=asked_at < self.l3_down_until + _LANDING_SECONDS,
        )
        fault = seen.fault()
        if fault is not None:
            self.faults.append(f"{history.group}/{history.id} {fault}")

    def _floors(self, history: History) -> tuple[int, int]:
        """What a stale and what an ordinary answer must show at least."""
        if history.id != "other":
            return history.last_acknowledged, history.last_acknowledged
        now_us = self.core.clock.now_us()
        if self.core.plan.groups[history.group].is_strong:
            fresh = history.last_acknowledged
        else:
            fresh = history.acknowledged_by(max(now_us - BOUND_US, 0))
        return history.acknowledged_by(max(now_us - BOUND_US - STALE_SECONDS * SECOND, 0)), fresh

    def _question(self, history: History) -> Question:
        if not history.is_timeline or self.dice.random() < 0.4:
            return Question()
        since = self.core.clock.now_us() // SECOND - self.dice.randrange(60)
        return Question(self.dice.choice([None, 1, MAX_LIMIT]), since if self.dice.random() < 0.4 else None)
