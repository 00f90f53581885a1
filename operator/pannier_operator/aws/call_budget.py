"""How many control-plane calls a second may go to an account: a token bucket with room kept for edits.

Whoever looks after an edit may take every token; the resync leaves half of the bucket, so that a slow full
pass never delays what a person waits for.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Literal

from pannier_operator.clock import Clock

Urgency = Literal["edit", "resync"]
BURST_SECONDS: Final = 10.0
"""How long the budget may be saved up."""
RESYNC_SHARE: Final = 0.5
"""Part of the budget that a resync may use."""


class CallBudget:
    """Tokens, refilled at a steady rate; `take` waits until there is one."""

    def __init__(self, calls_per_second: float, clock: Clock) -> None:
        self._rate = calls_per_second
        self._clock = clock
        self._capacity = calls_per_second * BURST_SECONDS
        self._tokens = self._capacity
        self._refilled_at = clock.monotonic()
        self._turns = {"edit": asyncio.Lock(), "resync": asyncio.Lock()}

    async def take(self, urgency: Urgency) -> None:
        """Wait for the right to make one call; within one urgency in the order of asking."""
        async with self._turns[urgency]:
            while (wait := self.wait_seconds(urgency)) > 0:  # noqa: ASYNC110 - how long is known, it is no poll
                await asyncio.sleep(wait)
            self._tokens -= 1

    def wait_seconds(self, urgency: Urgency) -> float:
        """How long until a call may be made, as things are."""
        now = self._clock.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        floor = self._capacity * (1 - RESYNC_SHARE) if urgency == "resync" else 0.0
        return max(0.0, (1 + floor - self._tokens) / self._rate)

    def resync_seconds(self, calls: int, at_best: float) -> float:
        """How long one pass over everything takes at least, if it makes so many calls."""
        return max(at_best, calls / (self._rate * RESYNC_SHARE))

    @property
    def level(self) -> float:
        """Tokens there are, as a part of all."""
        self.wait_seconds("edit")
        return self._tokens / self._capacity if self._capacity else 0.0

    def __repr__(self) -> str:
        return f"<CallBudget {math.floor(self._tokens)} of {self._capacity:.0f} calls, {self._rate}/s>"
