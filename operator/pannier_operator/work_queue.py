"""Keys that wait to be reconciled: each once, one worker per key, with delays and backoff.

Requeues are kept here and nowhere else: lost in a restart, they come back with the first look at every group.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeVar

import structlog

from pannier_operator.clock import Clock
from pannier_operator.errors import LeadershipLost

_log: Final = structlog.stdlib.get_logger(__name__)
K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 300.0
JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Done:
    """What a pass over a key came to: when to look again, whether it failed in a way that may pass."""

    again_seconds: float | None = None
    failed: bool = False


Errand = Literal["served", "resync", "edit"]
"""What a key is looked at for; a later one in this order does all that an earlier one would."""
_RANKS: Final[Mapping[Errand, int]] = {"served": 0, "resync": 1, "edit": 2}
Work = Callable[[K, Errand], Awaitable[Done]]


class WorkQueue(Generic[K]):
    """The queue and its workers, owned through ``async with``."""

    def __init__(
        self, work: Work[K], *, workers: int, clock: Clock, dice: random.Random | None = None
    ) -> None:
        self._work = work
        self._workers = workers
        self._clock = clock
        self._dice = dice or random.Random()
        self._due: dict[K, float] = {}
        self._errand: dict[K, Errand] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._awake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.passes = 0

    def add(self, key: K, errand: Errand = "edit", *, delay_seconds: float = 0.0) -> None:
        """Have a key reconciled, at the latest after the delay; an earlier date stands."""
        due = self._clock.monotonic() + delay_seconds
        self._errand[key] = max(errand, self._errand.get(key, errand), key=_RANKS.__getitem__)
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._awake.set()

    def forget(self, key: K) -> None:
        """Have nothing more to do with a key."""
        self._due.pop(key, None)
        self._errand.pop(key, None)
        self._failures.pop(key, None)

    @property
    def oldest_seconds(self) -> float:
        """How long the key has waited that is most overdue."""
        now = self._clock.monotonic()
        overdue = [now - due for key, due in self._due.items() if due <= now and key not in self._busy]
        return max(overdue, default=0.0)

    def __len__(self) -> int:
        return len(self._due)

    # -- workers

    async def _run(self) -> None:
        while True:
            key, errand = await self._take()
            self._busy.add(key)
            try:
                self._settle(key, await self._work(key, errand))
            except LeadershipLost:
                raise
            except Exception:  # noqa: BLE001 - one group must not end the operator; it is tried again, more slowly
                _log.exception("reconcile_failed", key=str(key))
                self._settle(key, Done(failed=True))
            finally:
                self._busy.discard(key)
                self._awake.set()

    async def _take(self) -> tuple[K, Errand]:
        """Wait for a key that is due and that nobody works on."""
        while True:
            self._awake.clear()
            key, wait = self._first()
            if key is not None:
                self._awake.set()  # another worker may find another one
                return key, self._errand.pop(key, "edit")
            try:
                async with asyncio.timeout(wait):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _first(self) -> tuple[K | None, float | None]:
        """Return the first key that is due, or how long until there is one."""
        now, skipped = self._clock.monotonic(), []
        found: K | None = None
        wait: float | None = None
        while self._heap and found is None:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # it got another date since
            elif due > now:
                wait = due - now
                break
            elif key in self._busy:
                skipped.append(heapq.heappop(self._heap))
            else:
                heapq.heappop(self._heap)
                del self._due[key]
                found = key
        for item in skipped:
            heapq.heappush(self._heap, item)
        return found, wait

    def _settle(self, key: K, done: Done) -> None:
        self.passes += 1
        if done.failed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            backoff = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures, 20))
            self.add(key, delay_seconds=self._jittered(max(backoff, done.again_seconds or 0.0)))
            return
        self._failures.pop(key, None)
        if done.again_seconds is not None:
            self.add(key, delay_seconds=self._jittered(done.again_seconds))

    def _jittered(self, seconds: float) -> float:
        """Spread retries: what failed together should not come back together."""
        return seconds * self._dice.uniform(1.0, 1.0 + JITTER)

    async def join(self) -> None:
        """Run until a worker ends: it raises what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(), name=f"worker {n}") for n in range(self._workers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<WorkQueue {len(self._due)} waiting, {len(self._busy)} under way>"
