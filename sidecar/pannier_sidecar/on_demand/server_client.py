"""The HTTP client of feature servers: where `aiohttp`'s errors become `TierError`.

It follows no redirect, takes no proxy from the environment, keeps no cookie, and reads no more than it must.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

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
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, address: ServerAddress, body: bytes, timeout_seconds: float, trace: Mapping[str, str]
    ) -> bytes:
        """The body of a 200; raises `TierError`."""
        headers = {
            "Content-Type": _JSON,
            "Accept": _JSON,
            "Accept-Encoding": "identity",
            "Pannier-Protocol": VERSION,
            "Pannier-Deadline-Ms": str(max(int(timeout_seconds * 1_000), 1)),
            **trace,
        }
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._opened.post(
                    self._url(address),
                    data=io.BytesIO(body),
                    headers=headers,
                    allow_redirects=False,
                    **self._trust(address),
                ) as answer,
            ):
                return await self._read(answer)
        except TimeoutError as error:
            raise TierTimeout(TIER, f"{address} did not answer within {timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TierUnavailable(TIER, f"{address} cannot be reached: {error}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        coding = answer.headers.get("Content-Encoding", "identity")
        if coding != "identity":  # a few bytes could become more than there is memory
            answer.close()
            if answer.status != HTTPStatus.OK:
                raise refusal(answer.status, b"")
            raise TierGarbled(TIER, f"the feature server answered in the coding {coding!r}, not as it is")
        parts, size = [], 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > self._max_answer_bytes:
                answer.close()
                raise TierGarbled(TIER, f"the answer is longer than {self._max_answer_bytes} bytes")
            parts.append(part)
        body = b"".join(parts)
        if answer.status != HTTPStatus.OK:
            raise refusal(answer.status, body)
        if answer.content_type != _JSON:
            raise TierGarbled(TIER, f"the feature server answered {answer.content_type!r}, not {_JSON}")
        return body

    def _trust(self, address: ServerAddress) -> dict[str, Any]:
        """What HTTPS takes beside; a Service elsewhere is still called by its own name."""
        if address.scheme != "https":
            return {}
        return {"ssl": self._trusted.context(), "server_hostname": address.host}

    def _url(self, address: ServerAddress) -> str:
        here = self._development.get(f"{address.service}.{address.namespace}")
        return address.url if here is None else f"{address.scheme}://{here}{address.path}"

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise AssertionError("used outside of its async with block")
        return self._session

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0, ttl_dns_cache=_ADDRESS_SECONDS, keepalive_timeout=_IDLE_SECONDS
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.close()

    def __repr__(self) -> str:
        return f"<ServerClient {'open' if self._session is not None else 'closed'}>"
