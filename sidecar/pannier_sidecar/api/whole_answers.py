"""An answer in one write, head and body at once, without a header dictionary: for what comes by the thousand.

Between a handler and the wire aiohttp asks three things of an answer: ``prepare``, ``write_eof``,
``keep_alive``. For a plain HTTP/1.1 answer on a connection that stays open they come to a constant head
with a length in it, which is a third of what a hit costs otherwise, and two thirds of a refusal.
"""

from __future__ import annotations

from typing import Final, cast

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

_HEAD: Final = b"HTTP/1.1 %b\r\nServer: pannier\r\nContent-Length: %d\r\nDate: %b\r\n%b\r\n"
_LAST: Final = b"Connection: close\r\n"


class _WholeAnswer:
    """Head and body as one piece of bytes."""

    __slots__ = ("_body", "_head", "_writer", "keep_alive")

    def __init__(self, head: bytes, body: bytes) -> None:
        self._head = head
        self._body = body
        self.keep_alive = True
        self._writer: AbstractStreamWriter | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write everything; raises `ConnectionError` where the client has gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        date = rfc822_formatted_time().encode()
        last = b"" if self.keep_alive else _LAST
        transport.write(_HEAD % (self._head, len(self._body), date, last) + self._body)
        self._writer = request.writer
        return self._writer

    def force_close(self) -> None:
        """Let this be the last answer of its connection, and say so."""
        self.keep_alive = False

    async def write_eof(self) -> None:
        """Wait while the client reads more slowly than it is written to."""
        if self._writer is not None:
            await self._writer.drain()

    def __repr__(self) -> str:
        return f"<_WholeAnswer {len(self._body)} bytes>"


def whole_answer(request: web.BaseRequest, head: bytes, body: bytes) -> web.StreamResponse | None:
    """Answer at once, where the connection allows; ``head``: status and headers of its own, CRLF between."""
    if request.version != HttpVersion11 or not request.keep_alive:
        return None
    return cast("web.StreamResponse", _WholeAnswer(head, body))
