"""How long a stopping sidecar may take: one budget for all that it finishes, from when it is told to stop.

What is finished in which order stands in `pannier_sidecar.app`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Drain:
    """The budget of one stop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def begin(self) -> None:
        """The sidecar was told to stop."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._seconds

    def left_seconds(self) -> float:
        """What is left of it; all, as long as nobody said stop."""
        if self._until is None:
            return self._seconds
        return max(self._until - asyncio.get_running_loop().time(), 0.0)

    async def within(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do this as far as there is time; False if it was cut off."""
        try:
            async with asyncio.timeout(self.left_seconds()):
                await work
        except TimeoutError:
            return False
        return True

    def __repr__(self) -> str:
        return f"<Drain {'not begun' if self._until is None else 'under way'}, {self._seconds:g} s>"
