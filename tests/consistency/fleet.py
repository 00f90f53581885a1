"""Several real sidecars on one real Redis and one DynamoDB emulator, each by links of its own that can break.

Sidecars, Redis, the emulator and the links to Redis are child processes; the link to DynamoDB, which tells
calls apart, runs here (`tests.fault_proxy`). The fleet does what it is told; what happens when is drawn in
`tests.consistency.weather`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import yaml
from tests.consistency.groups import L3_TIMEOUT_MS, MANIFESTS
from tests.consistency.operations import Event
from tests.fault_proxy import FaultProxy
from tests.servers import (
    AWS_TEST_ENVIRONMENT,
    HOST,
    ROOT,
    DynamoDBLocal,
    Dynoxide,
    RedisServer,
    Server,
    free_port,
)

STORES: Final[dict[str, Callable[[], Server]]] = {"dynoxide": Dynoxide, "dynamodb-local": DynamoDBLocal}
_PYTHONPATH: Final = os.pathsep.join([str(ROOT), *filter(None, sys.path)])


class Recorder:
    """The clock of a history: wall clock time that cannot step."""

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1_000 - time.monotonic_ns() // 1_000
        self.events: list[Event] = []

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return self._offset_us + time.monotonic_ns() // 1_000

    def event(self, what: str, subject: str) -> None:
        """Something is done to the system now."""
        self.events.append(Event(self.now_us(), what, subject))

    def __repr__(self) -> str:
        return f"<Recorder {len(self.events)} events>"


class SidecarServer(Server):
    """``pannier serve``, or a build of it that is broken on purpose."""

    name = "sidecar"

    def __init__(
        self, flags: dict[str, str], broken: str | None = None, *, makes_tables: bool = True
    ) -> None:
        super().__init__()
        self._flags = flags
        self._more = ["--create-tables"] if makes_tables else []
        self._program = ["tests.consistency.broken_sidecar", broken] if broken else ["pannier_cli"]
        self.admin_port = free_port()

    def command(self) -> list[str]:
        ports = {"http": f"{HOST}:{self.port}", "admin": f"{HOST}:{self.admin_port}"}
        flags = [part for name, value in {**self._flags, **ports}.items() for part in (f"--{name}", value)]
        return [sys.executable, "-m", *self._program, "serve", *flags, *self._more]

    def environment(self) -> dict[str, str] | None:
        return {**os.environ, **AWS_TEST_ENVIRONMENT, "PYTHONPATH": _PYTHONPATH}

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.admin_port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return bool(connection.getresponse().status == 200)
        finally:
            connection.close()


class RedisLink:
    """`tests.tcp_proxy` as a child process: obeys ``cut``, ``refuse``, ``blackhole`` and ``heal``."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def do(self, word: str) -> None:
        """Obey."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        assert await self._line() == "ok"

    async def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            return (await self._process.stdout.readline()).decode().strip()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.tcp_proxy", HOST, str(self._redis.port)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.port = int(await self._line())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()  # not communicate: a failure may have left somebody reading

    def __repr__(self) -> str:
        return f"<RedisLink {HOST}:{self.port} to {self._redis!r}>"


class Member:
    """One place of the fleet: a sidecar, however often it is started anew, and its links."""

    def __init__(self, number: int, server: SidecarServer, link: RedisLink, l3: FaultProxy) -> None:
        self.number = number
        self.server = server
        self.link = link
        self.l3 = l3
        self.life = 0
        self.is_alive = True
        self.lossy = 0
        """How many faults now lose answers of L3 to calls that it acted on."""
        self.losses = 0
        """How many there were."""

    @property
    def via(self) -> str:
        """This life of this sidecar."""
        return f"s{self.number}.{self.life}"

    @property
    def url(self) -> str:
        """Of the data port."""
        return self.server.url

    def __repr__(self) -> str:
        return f"<Member {self.via} {'up' if self.is_alive else 'down'} {self.server!r}>"


class Fleet:
    """Owned through ``async with``."""

    def __init__(
        self, directory: Path, sidecars: int = 3, *, store: str = "dynoxide", broken: str | None = None
    ) -> None:
        self._directory = directory
        self._sidecars = sidecars
        self._broken = broken
        self.recorder = Recorder()
        self.store: Server = STORES[store]()
        self.redis = RedisServer()
        self.members: list[Member] = []
        self._owned = AsyncExitStack()

    async def kill(self, member: Member) -> None:
        """SIGKILL: what it had not told anyone is lost."""
        member.is_alive = False
        self.recorder.event("killed", member.via)
        await asyncio.to_thread(member.server.kill)

    async def restart(self, member: Member) -> None:
        """Start it again on its port."""
        await asyncio.to_thread(member.server.restart)
        member.life += 1
        member.is_alive = True
        self.recorder.event("started", member.via)

    async def lose_redis(self) -> None:
        """SIGKILL Redis: all it held is gone."""
        await asyncio.to_thread(self.redis.kill)
        self.recorder.event("redis-lost", "redis")

    async def restart_redis(self) -> None:
        """Start it again, empty."""
        await asyncio.to_thread(self.redis.restart)
        self.recorder.event("redis-started", "redis")

    async def heal(self) -> None:
        """Let every link pass, and start what is down."""
        for member in self.members:
            await member.link.do("heal")
            member.l3.heal()
            if not member.is_alive:
                await self.restart(member)

    async def status(self, session: aiohttp.ClientSession, member: Member) -> Any:
        """What a sidecar says of itself."""
        async with session.get(f"http://{HOST}:{member.server.admin_port}/v1/status") as answer:
            return await answer.json()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._owned.aclose()
            raise
        return self

    async def _start(self) -> None:
        specs = self._directory / "specs"
        specs.mkdir(parents=True, exist_ok=True)
        for group, manifest in MANIFESTS.items():
            (specs / f"{group}.yaml").write_text(yaml.safe_dump(manifest))
        for server in (self.store, self.redis):
            self._owned.callback(server.close)
            await asyncio.to_thread(server.start)
        for number in range(self._sidecars):
            await self._join(number, specs)

    async def _join(self, number: int, specs: Path) -> None:
        link = await self._owned.enter_async_context(RedisLink(self.redis))
        l3 = await self._owned.enter_async_context(FaultProxy(self.store.url))
        flags = {
            "specs": str(specs),
            "store": "dynamodb",
            "dynamodb-endpoint-url": l3.url,
            "redis-url": f"redis://{HOST}:{link.port}",
            "l3-timeout-ms": str(L3_TIMEOUT_MS),
            "write-timeout-ms": "1500",
            "drain-seconds": "0",
            "log-level": "error",
        }
        server = SidecarServer(flags, self._broken)
        self._owned.callback(server.close)
        await asyncio.to_thread(server.start)
        self.members.append(Member(number, server, link, l3))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    def __repr__(self) -> str:
        return f"<Fleet {self.members!r} on {self.redis!r} and {self.store!r}>"
