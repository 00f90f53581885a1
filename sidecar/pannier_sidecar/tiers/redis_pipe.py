"""One connection to Redis that everybody shares: commands go out as they come, replies return in that order.

A pool gives each call a connection of its own and waits for the reply before the next command; most of what
that costs is the client's bookkeeping. Here the commands of one tick of the loop leave as one write, and a
reply wakes just the call it belongs to (ADR 14). Connecting, credentials, TLS and parsing are redis-py's. It
knows no timeout and no circuit: `pannier_sidecar.tiers.redis_lane`. A cluster keeps redis-py's own client.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pannier_sidecar.errors import TierMisconfigured

Command = tuple[Any, ...]

_TRIES: Final = 2
"""Of a batch whose connection broke before the reply: what goes through here may be repeated."""
_CLUSTER_CONNECTIONS: Final = 32
_CLOSE_SECONDS: Final = 1.0


class Exchange(Protocol):
    """Where commands go. Owned through ``async with``; connects when it is first needed."""

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send them in one go; their replies in order, errors of single commands as values.

        Cancelling the future gives up the replies, not the connection.
        """
        ...

    async def reset(self) -> None:
        """Leave the connections: what hangs in them is given up, the next call makes new ones."""
        ...

    async def __aenter__(self) -> Self:
        """Own it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


def exchange_at(url: str, tier: str) -> Exchange:
    """The way to a server or, under ``redis+cluster://``, to a cluster; raises `TierMisconfigured`."""
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 1),
        "socket_timeout": None,  # the budget of the whole call cuts it off
        "socket_connect_timeout": None,
        "protocol": 2,
    }
    try:
        if urlsplit(url).scheme.endswith("+cluster"):
            plain = url.replace("+cluster://", "://", 1)
            return ClusterPipe(RedisCluster.from_url(plain, max_connections=_CLUSTER_CONNECTIONS, **options))
        pool = Redis.from_url(url, **options).connection_pool
        make = cast("Callable[[], AbstractConnection]", pool.make_connection)
        make()  # looks at ?options, no I/O
    except (ValueError, TypeError, redis_errors.RedisError) as error:
        raise TierMisconfigured(tier, f"no Redis client from this URL: {error}") from error
    return RedisPipe(make)


class _Batch:
    """Commands sent together, and the replies so far."""

    __slots__ = ("commands", "future", "replies", "tries")

    def __init__(self, commands: Sequence[Command], future: asyncio.Future[list[Any]]) -> None:
        self.commands = commands
        self.future = future
        self.replies: list[Any] = []
        self.tries = 0


class RedisPipe:
    """The shared connection to one server."""

    def __init__(self, make_connection: Callable[[], AbstractConnection]) -> None:
        self._make_connection = make_connection
        self._unsent: deque[_Batch] = deque()
        self._sent: deque[_Batch] = deque()
        self._work = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._session: asyncio.Task[BaseException | None] | None = None
        """The life of one connection, up to its closing."""

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Queue the commands; they leave with all others of this tick."""
        batch = _Batch(commands, asyncio.get_running_loop().create_future())
        self._unsent.append(batch)
        self._work.set()
        return batch.future

    async def reset(self) -> None:
        """Give up the connection and whatever waits for its replies."""
        self._fail(redis_errors.ConnectionError("the connection was given up"))
        if self._session is not None:
            self._session.cancel()

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run(), name="redis-pipe")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        self._fail(redis_errors.ConnectionError("the client is closed"))

    async def _run(self) -> None:
        """One connection after the other, each made when there is something to send."""
        while True:
            await self._work.wait()
            connection = self._make_connection()
            session = self._session = asyncio.create_task(self._talk(connection), name="redis-connection")
            try:
                await asyncio.wait({session})
            finally:
                session.cancel()
                await asyncio.wait({session})
                self._session = None
                await _close(connection)
            self._lost(None if session.cancelled() else session.result())

    async def _talk(self, connection: AbstractConnection) -> BaseException | None:
        """Connect, then write and read until the connection ends; gives what ended it."""
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # theirs
        except Exception as error:  # noqa: BLE001 (a peer that speaks no RESP trips the client anywhere)
            self._fail(error)
            return None
        parts = {asyncio.create_task(part(connection)) for part in (self._write_on, self._read_on)}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)  # a writer that still ran would connect anew by itself
        return next(iter(done)).exception()

    async def _write_on(self, connection: AbstractConnection) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            batches = [batch for batch in self._unsent if not batch.future.done()]
            self._unsent.clear()
            self._sent.extend(batches)
            packed = connection.pack_commands([one for batch in batches for one in batch.commands])
            await connection.send_packed_command(packed, check_health=False)

    async def _read_on(self, connection: AbstractConnection) -> None:
        sent = self._sent
        while True:
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except redis_errors.ResponseError as error:
                reply = error
            if not sent:
                raise redis_errors.InvalidResponse("a reply to nothing that was asked")
            batch = sent[0]
            batch.replies.append(reply)
            if len(batch.replies) == len(batch.commands):
                sent.popleft()
                if not batch.future.done():
                    batch.future.set_result(batch.replies)

    def _lost(self, error: BaseException | None) -> None:
        """The connection ended before these replies came: once that is tried again, then it is an error."""
        error = error or redis_errors.ConnectionError("the connection was closed")
        is_nonsense = isinstance(error, redis_errors.InvalidResponse)
        again = []
        for batch in self._sent:
            batch.tries += 1
            batch.replies = []
            if batch.future.done():
                continue
            if is_nonsense or batch.tries >= _TRIES:
                batch.future.set_exception(error)
            else:
                again.append(batch)
        self._wait_for([*again, *self._unsent])

    def _fail(self, error: Exception) -> None:
        for batch in (*self._sent, *self._unsent):
            if not batch.future.done():
                batch.future.set_exception(error)
        self._wait_for([])

    def _wait_for(self, unsent: Sequence[_Batch]) -> None:
        """Begin anew with these batches."""
        self._sent.clear()
        self._unsent = deque(unsent)
        if self._unsent:
            self._work.set()
        else:
            self._work.clear()

    def __repr__(self) -> str:
        state = "connected" if self._session is not None else "idle"
        return f"<RedisPipe {state}, {len(self._unsent)} unsent, {len(self._sent)} unanswered>"


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(redis_errors.RedisError, OSError):
        async with asyncio.timeout(_CLOSE_SECONDS):  # a peer that hangs takes no farewell
            await connection.disconnect()


class ClusterPipe:
    """redis-py's client of a cluster, which finds the node of each key."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(_CLUSTER_CONNECTIONS)

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send them to the nodes of their keys."""
        return asyncio.ensure_future(self._send(commands))

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        async with self._slots:
            pipeline = cast("Any", self._client).pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies

    async def reset(self) -> None:
        """The client leaves what is broken by itself."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(redis_errors.RedisError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()

    def __repr__(self) -> str:
        return "<ClusterPipe>"
