"""One connection to Redis that listens: to the channels of the groups served here, and to its own heartbeat.

Published messages are gone for whoever is not connected at the time, so what matters is to know when one may
have been missed: the connection broke, Redis cut it (a slow consumer), or it is half-open, which only a PING
without an answer tells. Each time it listens again it says so, and to which channels. It decodes nothing;
what a gap means is decided in `pannier_sidecar.invalidation`. Owned through ``async with``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pannier_sidecar.backoff import pause_seconds
from pannier_sidecar.errors import TierError, TierUnavailable

_YIELD_EVERY: Final = 64
"""Messages that lie ready are taken in without a pause this many at a time; others want the loop as well."""
_ASK_AGAIN_PINGS: Final = 30
"""A channel that Redis denied is asked for again after so many PINGs: somebody may have mended the ACL."""

log = logging.getLogger(__name__)


class Heartbeat(NamedTuple):
    """How soon a connection that has gone quiet is given up, and how soon another one is tried."""

    ping_seconds: float = 1.0
    unanswered: int = 3
    """PINGs in a row. They are counted, not timed: a busy loop of our own takes no connection for dead."""
    connect_seconds: float = 2.0
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 2.0


class Listener(Protocol):
    """Who is told."""

    def heard(self, channel: str, payload: bytes) -> None:
        """A message came in."""
        ...

    def listening(self, channels: frozenset[str]) -> None:
        """From now on everything that is published there is heard; what was before may have been missed."""
        ...

    def denied(self, channel: str, reason: str) -> None:
        """Redis does not let this sidecar listen there."""
        ...

    def lost(self, reason: str) -> None:
        """Nothing is heard any more, or has been since the start; told once."""
        ...


class Subscription:
    """Keeps listening."""

    def __init__(
        self,
        url: str,
        listener: Listener,
        *,
        dice: Callable[[], float],
        heartbeat: Heartbeat = Heartbeat(),  # noqa: B008 (a value that cannot change)
    ) -> None:
        # a node of a cluster passes on what is published at any other
        self._pool = ConnectionPool.from_url(
            url.replace("+cluster://", "://", 1),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=heartbeat.connect_seconds,
            protocol=2,
        )
        self._where = urlsplit(url).hostname
        self._listener = listener
        self._dice = dice
        self._heartbeat = heartbeat
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_listening = False

    def want(self, channels: Iterable[str]) -> None:
        """Listen to these from now on, and to no others."""
        self._wanted = frozenset(channels)
        self._changed.set()

    async def _run(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        longest = self._heartbeat.longest_pause_seconds
        while True:
            began = loop.time()
            reason = await self._listen()
            if self.is_listening or not failures:
                self._listener.lost(reason)
            lasted = self.is_listening and loop.time() - began > longest
            self.is_listening = False
            failures = 0 if lasted else failures + 1
            if failures:  # else it may be this connection alone that broke: try at once
                first, draw = self._heartbeat.first_pause_seconds, self._dice()
                await asyncio.sleep(pause_seconds(failures, first=first, longest=longest, draw=draw))

    async def _listen(self) -> str:
        """Connect and listen until that ends; gives the reason."""
        connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            line = _Line(connection)
            self._changed.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(line), name="l2-subscription-read")
                tasks.create_task(self._speak(line), name="l2-subscription-speak")
        except Exception as error:
            fault = _first_of(error)
            if not isinstance(fault, (redis_errors.RedisError, OSError, TierError)):
                log.exception("the subscription crashed", exc_info=fault)
            return f"{type(fault).__name__}: {fault}"
        finally:
            with contextlib.suppress(redis_errors.RedisError, OSError):
                await connection.disconnect(nowait=True)
        raise AssertionError("only a fault ends a subscription")

    async def _read(self, line: _Line) -> None:
        """Take in whatever comes; each of it is a sign of life."""
        taken = 0
        while True:
            reply = await line.reply()
            line.unanswered = 0
            taken += 1
            if taken % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if isinstance(reply, redis_errors.ResponseError):
                self._listener.denied(line.asked.popleft(), str(reply))
            elif isinstance(reply, list) and reply[0] == b"message":
                self._listener.heard(reply[1].decode(), reply[2])
                continue
            elif isinstance(reply, list) and reply[0] == b"subscribe":
                line.confirmed.add(line.asked.popleft())
            else:
                continue
            if not line.asked:
                self._now_listening(line)

    async def _speak(self, line: _Line) -> None:
        """Say which channels are wanted, as soon as that changes, and PING in between."""
        for beat in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat.ping_seconds):
                    await self._changed.wait()
            if self._changed.is_set() or beat % _ASK_AGAIN_PINGS == 0:
                self._changed.clear()
                await line.ask_for(self._wanted)
                if not line.asked and not self.is_listening:
                    self._now_listening(line)
                continue
            if line.unanswered >= self._heartbeat.unanswered:
                raise TierUnavailable("l2", f"no answer to {line.unanswered} PINGs")
            line.unanswered += 1
            await line.send("PING")

    def _now_listening(self, line: _Line) -> None:
        new, line.told = line.confirmed - line.told, set(line.confirmed)
        self.is_listening = True
        self._listener.listening(frozenset(new))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="l2-subscription")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._pool.aclose()

    def __repr__(self) -> str:
        state = "listening" if self.is_listening else "not listening"
        return f"<Subscription at {self._where}, {state} to {len(self._wanted)} channels>"


class _Line:
    """One connection, and how far Redis has followed what was asked of it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.unanswered = 0
        """PINGs since anything came in."""
        self.asked: deque[str] = deque()
        """Channels that are asked for; Redis answers each, in order."""
        self.confirmed: set[str] = set()
        self.told: set[str] = set()
        """Of the confirmed ones, those the listener knows of."""

    async def reply(self) -> Any:
        """What comes next: a reply, an error of one command as a value, or a message."""
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except redis_errors.ResponseError as refusal:
            return refusal

    async def send(self, *command: str) -> None:
        """Send one command."""
        await self._connection.send_command(*command, check_health=False)

    async def ask_for(self, wanted: frozenset[str]) -> None:
        """Subscribe to what is missing, one by one (a denied channel takes none with it); leave others."""
        for channel in sorted(wanted - self.confirmed - set(self.asked)):
            self.asked.append(channel)
            await self.send("SUBSCRIBE", channel)
        for channel in sorted(self.confirmed - wanted):
            self.confirmed.discard(channel)
            self.told.discard(channel)
            await self.send("UNSUBSCRIBE", channel)

    def __repr__(self) -> str:
        return f"<_Line {len(self.confirmed)} channels, {self.unanswered} PINGs unanswered>"


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
