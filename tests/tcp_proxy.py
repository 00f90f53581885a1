"""A TCP proxy whose connections can be cut or swallowed: what a network does to a sidecar and its Redis.

In a test's own event loop: ``async with TcpProxy(host, port) as proxy``, then `TcpProxy.cut`,
`TcpProxy.blackhole`, `TcpProxy.heal`. As a process of its own: ``python -m tests.tcp_proxy HOST PORT`` prints
the port it listens on and obeys the same words, one a line, on its standard input, each answered by ``ok``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from types import TracebackType
from typing import Final, Literal, Self

HOST: Final = "127.0.0.1"
_CHUNK_BYTES: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() a reset: the peer is told at once, and nothing is delivered any more."""


class TcpProxy:
    """Passes bytes between whoever connects and one server, until told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._mode: Literal["pass", "blackhole", "refuse"] = "pass"
        self._passing = asyncio.Event()
        self._passing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._pairs: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._asked: dict[asyncio.Task[None], float] = {}
        """When the client of a connection last sent something, by the loop's clock."""
        self._forgotten: set[asyncio.Task[None]] = set()
        self._remembering = asyncio.Event()
        self._remembering.set()
        self.port = 0
        self.accepted = 0
        """Connections so far."""

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._pairs)

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection; ``refuse`` new ones as well until healed."""
        if refuse:
            self._mode = "refuse"
        for writers in list(self._pairs.values()):
            for writer in writers:
                _reset(writer)

    def blackhole(self, *, answers_only: bool = False) -> None:
        """Let no byte through any more, in either direction, and close nothing: half-open connections.

        What is on its way arrives after `heal`, as what TCP sends again would.
        """
        self._mode = "blackhole"
        self._answering.clear()
        if not answers_only:
            self._passing.clear()

    def forget_idle(self, seconds: float) -> int:
        """Swallow connections on which the client asked nothing for so long, as a router does; says how many.

        Others, and new ones, go on. As with `blackhole`, nothing is closed and what is on its way arrives
        after `heal`.
        """
        idle = self._idle(seconds)
        self._forgotten |= idle
        self._remembering.clear()
        return len(idle)

    def idle(self, seconds: float) -> int:
        """Count connections on which the client asked nothing for so long."""
        return len(self._idle(seconds))

    def _idle(self, seconds: float) -> set[asyncio.Task[None]]:
        now = asyncio.get_running_loop().time()
        return {task for task, asked in self._asked.items() if now - asked >= seconds}

    def heal(self) -> None:
        """Pass bytes and take connections again."""
        self._mode = "pass"
        self._forgotten.clear()
        self._remembering.set()
        self._passing.set()
        self._answering.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = list(self._pairs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        writers = self._pairs[task] = [writer]
        try:
            await self._passing.wait()
            from_server, to_server = await asyncio.open_connection(*self._upstream)
            writers.append(to_server)
            await asyncio.gather(
                self._pump(task, reader, to_server, self._passing),
                self._pump(task, from_server, writer, self._answering),
            )
        except (OSError, asyncio.CancelledError):
            pass  # a connection that broke on one side is broken on the other, below
        finally:
            del self._pairs[task]
            self._asked.pop(task, None)
            self._forgotten.discard(task)
            for one in writers:
                _reset(one)

    async def _pump(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: asyncio.Event,
    ) -> None:
        while True:
            await passing.wait()
            chunk = await reader.read(_CHUNK_BYTES)
            await passing.wait()
            if task in self._forgotten:
                await self._remembering.wait()
            if passing is self._passing:
                self._asked[task] = asyncio.get_running_loop().time()
            if not chunk:
                raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()

    def __repr__(self) -> str:
        return f"<TcpProxy {HOST}:{self.port} to {self._upstream}, {self._mode}, {self.open} open>"


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _obey(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with TcpProxy(host, port) as proxy:
        print(proxy.port, flush=True)  # noqa: T201 (its answer to whoever started it)
        while line := await commands.readline():
            {
                "cut": proxy.cut,
                "refuse": lambda: proxy.cut(refuse=True),
                "blackhole": proxy.blackhole,
                "heal": proxy.heal,
            }[line.decode().strip()]()
            print("ok", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1], int(sys.argv[2])))
