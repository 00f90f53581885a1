"""Waiting for a reply by the peer's time rather than by ours.

Timers of a busy event loop fire before it looks at its sockets. A timeout that fires late says that this
process was slow; the reply may well lie unread in the socket. Who takes that for an outage of the peer goes
another, dearer way, is busier for it, and never comes out of its overload. So a late timeout is followed by
one more.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

T = TypeVar("T")

TRIES: Final = 2
"""Waits at most, so that a loop that is always late gives up as well."""
LATE_SECONDS: Final = 0.005
"""A timer that fires this long after its time fires late."""


async def in_time(reply: asyncio.Future[T], timeout_seconds: float) -> T:
    """Await ``reply`` for ``timeout_seconds``, and once more if the loop was late.

    What did not come is cancelled; raises TimeoutError, or what ``reply`` raises.
    """
    loop = asyncio.get_running_loop()
    try:
        for _ in range(TRIES):
            due = loop.time() + timeout_seconds
            done, _ = await asyncio.wait({reply}, timeout=timeout_seconds)
            if done:
                return reply.result()
            if loop.time() < due + LATE_SECONDS:
                break
        raise TimeoutError
    finally:
        if not reply.done():
            reply.cancel()
