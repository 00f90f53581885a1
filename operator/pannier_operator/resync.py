"""Every group again, in the background, at a pace that the call budget allows.

One pass takes at least `at_best` seconds, and longer where its calls would take more than the resync's share
of the budget. Groups, shared tables and catalogs are spread over it in random order, so that nothing comes in
waves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from pannier_operator.errors import KubeFault

_log: Final = structlog.stdlib.get_logger(__name__)
JITTER: Final = 0.2
Sleep = Callable[[float], Awaitable[None]]


class Everything(Protocol):
    """What there is to go over, and how to have one part of it looked at."""

    def parts(self) -> Sequence[Any]:
        """Return keys of groups, of shared tables, and namespaces with a catalog."""
        ...

    def period_seconds(self) -> float:
        """How long a pass over them has to take now."""
        ...

    async def revisit(self, part: Any) -> None:
        """Have a part looked at. Raises `KubeFault`."""
        ...


class Resync:
    """Goes over everything for ever."""

    def __init__(
        self, everything: Everything, dice: random.Random | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._everything = everything
        self._dice = dice or random.Random()
        self._sleep = sleep
        self.passes = 0

    async def run(self) -> None:
        """Go over everything for ever."""
        while True:
            await self._pass()
            self.passes += 1

    async def _pass(self) -> None:
        parts = list(self._everything.parts())
        self._dice.shuffle(parts)
        pause = self._everything.period_seconds() / max(1, len(parts))
        for part in parts or [None]:
            await self._sleep(pause * self._dice.uniform(1 - JITTER, 1 + JITTER))
            if part is None:
                return
            try:
                await self._everything.revisit(part)
            except KubeFault as fault:
                _log.warning("resync_step_failed", part=str(part), fault=str(fault))

    def __repr__(self) -> str:
        return f"<Resync {self.passes} passes>"
