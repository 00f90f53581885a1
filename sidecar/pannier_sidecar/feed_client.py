"""The HTTP client of the operator's catalog endpoint: where `aiohttp`'s errors become `TierError`.

Token and authority are files that others renew: they are read for every request, and the authority's trust
is made anew when it changes. Nothing is sent to a server that it does not vouch for.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec

from pannier.catalog_feed import (
    PATH,
    REJECTS,
    SERVES,
    CatalogNews,
    etag,
    prefer_wait,
    revision_of,
    write_rejected,
)
from pannier_sidecar.catalog_feed import Serving
from pannier_sidecar.errors import TierGarbled, TierTimeout, TierUnavailable

TIER: Final = "operator"
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_PATIENCE_SECONDS: Final = 15.0
"""For an answer, beyond the time that it was asked to wait."""
_CONNECT_SECONDS: Final = 5.0


class FeedClient:
    """Owned through ``async with``; ``url`` is an origin, https in a cluster."""

    def __init__(
        self, url: str, *, authority: Path, token: Path | None, first_authority: str | None = None
    ) -> None:
        """``first_authority``: PEM of who vouches for it while the file ``authority`` is not there yet."""
        self._url = url.rstrip("/") + PATH
        self._authority = authority
        self._first_authority = first_authority
        self._token = token
        self._trusted = b""
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, heard: int, serving: Serving, wait_seconds: int) -> tuple[int, CatalogNews] | None:
        """Wait for a revision other than ``heard``; None = there is none. Raises `TierError`."""
        tls, headers = await asyncio.to_thread(self._credentials)
        headers |= {
            "If-None-Match": etag(heard),
            "Prefer": prefer_wait(wait_seconds),
            SERVES: str(serving.revision),
            REJECTS: write_rejected(serving.rejected),
        }
        try:
            async with (
                asyncio.timeout(wait_seconds + _PATIENCE_SECONDS),
                self._opened.get(self._url, headers=headers, allow_redirects=False, ssl=tls) as answer,
            ):
                return await self._read(answer)
        except TimeoutError as error:
            raise TierTimeout(TIER, f"{self._url} did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TierUnavailable(TIER, f"{self._url} cannot be reached: {error}") from error

    def _credentials(self) -> tuple[ssl.SSLContext | bool, dict[str, str]]:
        """Read the files as they are now."""
        headers: dict[str, str] = {}
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {self._token.read_text(encoding='ascii').strip()}"
            if not self._url.startswith("https:"):
                return True, headers
            authority = self._vouching()
            if self._tls is None or authority != self._trusted:
                self._tls = ssl.create_default_context(cadata=authority.decode("ascii"))
                self._trusted = authority
        except (OSError, UnicodeDecodeError, ssl.SSLError) as error:
            raise TierUnavailable(TIER, f"token or authority cannot be used: {error}") from error
        return self._tls, headers

    def _vouching(self) -> bytes:
        try:
            return self._authority.read_bytes()
        except FileNotFoundError:
            if self._first_authority is None:
                raise
            return self._first_authority.encode()

    async def _read(self, answer: aiohttp.ClientResponse) -> tuple[int, CatalogNews] | None:
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return None
        parts, size = [], 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                answer.close()
                raise TierGarbled(TIER, f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            parts.append(part)
        body = b"".join(parts)
        if answer.status != HTTPStatus.OK:
            said = body[:200].decode(errors="replace").strip()
            raise TierUnavailable(TIER, f"the operator answered {answer.status}: {said}")
        revision = revision_of(answer.headers.get("ETag"))
        try:
            news = msgspec.json.decode(body, type=CatalogNews)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TierGarbled(TIER, f"the answer is no catalog: {error}") from error
        if revision is None:
            raise TierGarbled(TIER, "the answer names no revision")
        return revision, news

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise AssertionError("used outside of its async with block")
        return self._session

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.close()

    def __repr__(self) -> str:
        return f"<FeedClient of {self._url} {'open' if self._session is not None else 'closed'}>"
