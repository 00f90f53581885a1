"""News of the catalog from the operator, ahead of the mounted volume: a request that waits, again and again.

Only a fast path. The mounted catalog is the truth, and serving never depends on the operator: while it does
not answer, nothing changes but that edits take as long as the kubelet does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

import structlog

from pannier.catalog_feed import CatalogNews
from pannier_sidecar.backoff import pause_seconds
from pannier_sidecar.catalog_intake import CatalogIntake
from pannier_sidecar.errors import TierError
from pannier_sidecar.owned_tasks import OwnedTasks

SOURCE: Final = "operator"
WAIT_SECONDS: Final = 30
_FIRST_PAUSE_SECONDS: Final = 0.1
"""Most refusals are of a replica that stands by: the next connection finds the one that leads."""
_LONGEST_PAUSE_SECONDS: Final = 10.0
_SOON_SECONDS: Final = 1.0
"""An answer without news comes after a wait; one that comes sooner is not asked for again at once."""
_log: Final = structlog.get_logger(__name__)


class Serving(NamedTuple):
    """What a sidecar tells the operator of itself."""

    revision: int
    rejected: tuple[tuple[str, str], ...]
    """GroupName and reason."""


class Asks(Protocol):
    """The client: `pannier_sidecar.feed_client`."""

    async def ask(self, heard: int, serving: Serving, wait_seconds: int) -> tuple[int, CatalogNews] | None:
        """Wait for a revision other than ``heard``; None = there is none. Raises `TierError`."""
        ...


class CatalogFeed:
    """Asks while its block is entered."""

    def __init__(
        self,
        client: Asks,
        intake: CatalogIntake,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._intake = intake
        self._sleep = sleep
        self._monotonic = monotonic
        self._dice = dice
        self._heard = 0
        self._failures = 0
        self._tasks = OwnedTasks("catalog feed")
        self.fault: TierError | None = None
        """Why the operator was not heard at the last try; None = it was, or was not asked yet."""
        self.is_heard = False
        """Whether it answered the last time."""

    async def ask(self) -> None:
        """Ask once, take what comes, and wait a while where nothing did."""
        intake = self._intake
        rejected = tuple((one.group_name, one.problem.reason) for one in intake.rejected)
        serving, began = Serving(intake.revision, rejected), self._monotonic()
        try:
            said = await self._client.ask(self._heard or serving.revision, serving, WAIT_SECONDS)
        except TierError as fault:
            await self._failed(fault)
            return
        if not self.is_heard:
            _log.info("operator_heard")
        self.is_heard, self.fault, self._failures = True, None, 0
        if said is not None:
            self._take(*said)
        if intake.revision == serving.revision and self._monotonic() - began < _SOON_SECONDS:
            await self._sleep(_SOON_SECONDS)

    def _take(self, revision: int, news: CatalogNews) -> None:
        self._heard = revision  # also where it cannot be used: it is not asked for again
        if revision > self._intake.revision:
            self._intake.attempt({name: text.encode() for name, text in news.files.items()}, SOURCE)

    async def _failed(self, fault: TierError) -> None:
        if self.is_heard or self.fault is None or self.fault.reason != fault.reason:
            _log.info("operator_not_heard", reason=fault.reason, fault=fault.message)
        self.is_heard, self.fault = False, fault
        pause = pause_seconds(
            self._failures, first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS, draw=self._dice()
        )
        self._failures += 1
        await self._sleep(pause)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._ask_for_ever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    async def _ask_for_ever(self) -> None:
        while True:
            await self.ask()

    def __repr__(self) -> str:
        return f"<CatalogFeed {'heard' if self.is_heard else self.fault or 'not asked yet'}>"
