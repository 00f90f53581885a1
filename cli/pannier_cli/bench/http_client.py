"""The least HTTP/1.1 client that a load generator can do with: one request at a time on a kept connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Self, cast

OnAnswer = Callable[[bytes | None], None]
_LENGTH: Final = b"content-length:"


class Connection(asyncio.Protocol):
    """One connection. An answer is handed over whole, head included; None where the connection was lost."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._missing = 0
        """Bytes of the answer that are yet to come; 0 while its head is not complete."""
        self._on_answer: OnAnswer | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    def __repr__(self) -> str:
        return f"<Connection {'busy' if self._on_answer else 'idle'}>"

    def post(self, path: bytes, body: bytes, on_answer: OnAnswer) -> None:
        """Send a request; ``on_answer`` is called once."""
        self._on_answer = on_answer
        if self._transport is None or self._transport.is_closing():
            self._finish(None)
            return
        head = (
            b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        self._transport.write(head % (path, len(body)) + body)

    def close(self) -> None:
        """Close without waiting."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for an answer that none will come."""
        del exc
        self._transport = None
        if self._on_answer is not None:
            self._finish(None)

    def data_received(self, data: bytes) -> None:
        """Gather an answer until its declared length is there."""
        self._chunks.append(data)
        if self._missing:
            self._missing -= len(data)
        else:
            self._read_head()
        if self._missing == 0 and self._head_seen:
            self._finish(b"".join(self._chunks))

    _head_seen = False

    def _read_head(self) -> None:
        text = b"".join(self._chunks)
        end = text.find(b"\r\n\r\n")
        if end < 0:
            return
        head = text[:end].lower()
        start = head.find(_LENGTH)
        length = int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        self._head_seen = True
        self._missing = end + 4 + length - len(text)

    def _finish(self, answer: bytes | None) -> None:
        self._chunks.clear()
        self._missing = 0
        self._head_seen = False
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is not None:
            on_answer(answer)
