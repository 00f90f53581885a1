"""The handshake with a feature server: a read of no ids, by the group's schema (on-demand-protocol.md).

No redirect is followed, no proxy taken from the environment, no cookie kept, and an answer is bounded.
"""

from __future__ import annotations

import asyncio
import http
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from pannier.option_values import Address
from pannier_operator.authorities import Authority
from pannier_operator.on_demand.servers import (
    Server,
    garbled,
    judge_answer,
    judge_status,
    unreachable,
    untrusted,
)
from pannier_operator.planning.findings import Finding

TIMEOUT_SECONDS: Final = 2.0
MAX_ANSWER_BYTES: Final = 16 * 1024
_JSON: Final = "application/json"


class Handshake:
    """The client of handshakes, owned through ``async with``."""

    def __init__(
        self,
        elsewhere: Mapping[str, Address],
        authority: Authority = str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """``elsewhere``: where Services really are, by ``<name>.<namespace>``, outside a cluster.

        ``authority``: who vouches for servers, read with each handshake; empty = whom the system trusts.
        """
        self._authority = authority
        self._trusted: tuple[str, ssl.SSLContext] | None = None
        self._elsewhere = elsewhere
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def shake(self, server: Server) -> Finding:
        """Ask one server; never raises for what servers do."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._ask(server)
        except TimeoutError:
            return unreachable(server, f"no answer within {self._timeout_seconds:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return untrusted(server, f"its certificate for {server.host} is not trusted")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return unreachable(server, f"it cannot be reached ({type(error).__name__})")

    async def _ask(self, server: Server) -> Finding:
        if self._session is None:
            raise AssertionError("used outside of its async with block")
        trust: dict[str, Any] = {}
        if server.scheme == "https":
            tls = self._trust()
            if tls is None:
                return untrusted(server, "--on-demand-ca names no authority that can be read")
            trust = {"ssl": tls, "server_hostname": server.host}
        async with self._session.post(
            self._url(server),
            data=_question(server),
            headers={
                "Content-Type": _JSON,
                "Accept": _JSON,
                "Accept-Encoding": "identity",
                "Pannier-Protocol": "1",
                "Pannier-Deadline-Ms": str(max(int(self._timeout_seconds * 1_000), 1)),
            },
            allow_redirects=False,
            **trust,
        ) as answer:
            if answer.status != http.HTTPStatus.OK:
                return judge_status(server, answer.status)
            if answer.content_type != _JSON:
                return garbled(server, "its answer is no JSON")
            return await self._read(server, answer)

    async def _read(self, server: Server, answer: aiohttp.ClientResponse) -> Finding:
        body = b""
        async for part in answer.content.iter_any():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                answer.close()
                return garbled(server, f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        try:
            return judge_answer(server, msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return garbled(server, "its answer is no JSON")

    def _trust(self) -> ssl.SSLContext | None:
        """Whom to trust now; None = that cannot be said."""
        authority = self._authority()
        if authority is None:
            return None
        if self._trusted is None or self._trusted[0] != authority:
            self._trusted = authority, ssl.create_default_context(cadata=authority or None)
        return self._trusted[1]

    def _url(self, server: Server) -> str:
        here = self._elsewhere.get(f"{server.service}.{server.namespace}")
        return f"{server.scheme}://{here or f'{server.host}:{server.port}'}{server.path}"

    async def __aenter__(self) -> Self:
        # a connection each: an answer of a pod that has gone since would say nothing of those that are there
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,  # a few bytes could become more than there is memory
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._session = None

    def __repr__(self) -> str:
        return f"<Handshake {'open' if self._session is not None else 'closed'}>"


def _question(server: Server) -> bytes:
    read = {
        "group": server.group,
        "schema_hash": server.schema_hash,
        "ids": [],
        "features": list(server.features),
    }
    return msgspec.json.encode({"reads": [read]})
