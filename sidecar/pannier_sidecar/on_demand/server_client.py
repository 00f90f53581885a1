"""The HTTP client of feature servers: where `aiohttp`'s errors become `TierError`.

It follows no redirect, takes no proxy from the environment, keeps no cookie, and reads no more than it must.

Connections are aiohttp's own: its connector finds, keeps and secures them, its protocol parses what comes.
What `aiohttp.ClientSession` does around these for every request (URL, headers, cookies, timers, a request
and an answer object) is most of what a call costs, and is done here once per server.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from pannier.option_values import Address
from pannier_sidecar.errors import TierGarbled, TierTimeout, TierUnavailable
from pannier_sidecar.on_demand.authorities import TrustedAuthorities
from pannier_sidecar.on_demand.protocol import TIER, VERSION, refusal
from pannier_sidecar.on_demand_plan import ServerAddress

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
_JSON: Final = "application/json"
_IDLE_SECONDS: Final = 15
"""Shorter than the keep-alive of any server one would run."""
_ADDRESS_SECONDS: Final = 10
"""How long the address of a Service is taken for granted; it changes when the Service is made anew."""


_SPOILED: Final = 8
"""Connections in a row that are given back unused, before a server counts as one that cannot be called."""
_NO_TIMEOUT: Final = aiohttp.ClientTimeout()
"""The time of a call bounds connecting too."""


class _Way(NamedTuple):
    """How one server is reached."""

    request: aiohttp.ClientRequest
    """What the connector wants to know; it is never sent."""
    head: bytes
    """The first lines of every call."""
    trust: ssl.SSLContext | None
    """Who vouches for it; None = nobody has to."""


class ServerClient:
    """Owned through ``async with``."""

    def __init__(
        self,
        *,
        trusted: TrustedAuthorities,
        development: Mapping[str, Address],
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """``development``: where Services really are, by ``<name>.<namespace>``, outside a cluster."""
        self._trusted = trusted
        self._development = development
        self._max_answer_bytes = max_answer_bytes
        self._connector: aiohttp.TCPConnector | None = None
        self._ways: dict[ServerAddress, _Way] = {}

    async def call(
        self, address: ServerAddress, body: bytes, timeout_seconds: float, trace: Mapping[str, str]
    ) -> bytes:
        """The body of a 200; raises `TierError`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                way = self._way(address)
                message, answer = await self._exchange(way, _written(way, body, timeout_seconds, trace))
        except TimeoutError as error:
            raise TierTimeout(TIER, f"{address} did not answer within {timeout_seconds:g} s") from error
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            raise TierUnavailable(TIER, f"{address} cannot be reached: {error}") from error
        if message.code != HTTPStatus.OK:
            raise refusal(message.code, answer)
        coding = message.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise TierGarbled(TIER, f"the feature server answered in the coding {coding!r}, not as it is")
        content_type = message.headers.get("Content-Type", "application/octet-stream")
        if content_type.partition(";")[0].strip().lower() != _JSON:
            raise TierGarbled(TIER, f"the feature server answered {content_type!r}, not {_JSON}")
        return answer

    async def _exchange(self, way: _Way, call: bytes) -> tuple[RawResponseMessage, bytes]:
        """Write a call and read its answer, in a connection that is kept only if it came to its end."""
        connection, protocol, transport = await self._connection(way)
        try:
            # not decompressed: a few bytes could become more than there is memory
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(call)
            message, payload = await _final(protocol)
            answer = await self._read(payload)
            connection.release()
        finally:
            connection.close()  # which does nothing to one that was released
        return message, answer

    async def _connection(self, way: _Way) -> tuple[Connection, ResponseHandler, asyncio.Transport]:
        """Connect, or take a connection that idled, if its server has said nothing in it meanwhile."""
        for _ in range(_SPOILED):
            connection = await self._opened.connect(way.request, [], _NO_TIMEOUT)
            protocol, transport = connection.protocol, connection.transport
            if protocol is not None and transport is not None and not protocol.should_close:
                return connection, protocol, transport
            connection.close()
        raise aiohttp.ServerDisconnectedError("it speaks before it is asked, or hangs up")

    async def _read(self, payload: StreamReader) -> bytes:
        """Read a body, and stop where it is too long."""
        parts, size = [], 0
        while not payload.at_eof():
            part = await payload.readany()
            size += len(part)
            if size > self._max_answer_bytes:
                raise TierGarbled(TIER, f"the answer is longer than {self._max_answer_bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def _way(self, address: ServerAddress) -> _Way:
        """How to reach a server by those who are trusted now: they may be renewed while it is known."""
        trust = self._trusted.context() if address.scheme == "https" else None
        known = self._ways.get(address)
        return known if known is not None and known.trust is trust else self._find_way(address, trust)

    def _find_way(self, address: ServerAddress, trust: ssl.SSLContext | None) -> _Way:
        """Prepare what all calls of a server have in common; one elsewhere is called by its own name."""
        tls: dict[str, Any] = {"ssl": trust, "server_hostname": address.host} if trust is not None else {}
        fixed = {"Content-Type": _JSON, "Accept": _JSON, "Accept-Encoding": "identity"}
        fixed["Pannier-Protocol"] = VERSION
        request = aiohttp.ClientRequest(
            "POST",
            URL(self._url(address)),
            headers=fixed,
            loop=asyncio.get_running_loop(),
            **tls,
        )
        lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items() if name != "Content-Length"]
        way = self._ways[address] = _Way(request, "\r\n".join([*lines, ""]).encode(), trust)
        return way

    def _url(self, address: ServerAddress) -> str:
        here = self._development.get(f"{address.service}.{address.namespace}")
        return address.url if here is None else f"{address.scheme}://{here}{address.path}"

    @property
    def _opened(self) -> aiohttp.TCPConnector:
        if self._connector is None:
            raise AssertionError("used outside of its async with block")
        return self._connector

    async def __aenter__(self) -> Self:
        self._connector = aiohttp.TCPConnector(
            limit=0, ttl_dns_cache=_ADDRESS_SECONDS, keepalive_timeout=_IDLE_SECONDS
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.close()

    def __repr__(self) -> str:
        return f"<ServerClient {'open' if self._connector is not None else 'closed'}>"


def _written(way: _Way, body: bytes, timeout_seconds: float, trace: Mapping[str, str]) -> bytes:
    """A call as it goes over the wire."""
    deadline_ms = max(int(timeout_seconds * 1_000), 1)
    traced = "".join(f"{name}: {value}\r\n" for name, value in trace.items() if _is_line(value))
    return b"%bPannier-Deadline-Ms: %d\r\nContent-Length: %d\r\n%b\r\n%b" % (
        way.head,
        deadline_ms,
        len(body),
        traced.encode("utf-8", "surrogateescape"),
        body,
    )


def _is_line(value: str) -> bool:
    """Whether a value can stand in a header; what came in one always can."""
    return "\r" not in value and "\n" not in value


async def _final(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """The head of the answer; those before it, such as 103, say nothing."""
    while True:
        message, payload = await protocol.read()
        if message.code == HTTPStatus.SWITCHING_PROTOCOLS or message.code >= HTTPStatus.OK:
            return message, payload
