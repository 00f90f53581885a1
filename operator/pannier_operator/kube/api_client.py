"""Requests to the API server through the kubernetes library's client; errors leave it as `KubeFault`.

The client is used below its generated API classes (ADR 15): paths in, decoded JSON out. No retries: whoever
asked is asked again by the queue. Every mutating request first asks whether this replica may still write, at
the last moment: with the credentials at hand and a connection to be had.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
import msgspec
from kubernetes.aio.client.api_client import ApiClient

from pannier_operator.errors import CannotStart, KubeFault
from pannier_operator.kube.credentials import Credentials

FIELD_MANAGER: Final = "pannier-operator"
PAGE_OBJECTS: Final = 200
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_CONNECTIONS: Final = 20
"""Requests at once: less than the pool of the library, so that none waits there once it was allowed.

Fifty were no quicker (`make operator-scale`) and took 20 MiB more.
"""
_AUTHENTICATION: Final = ["BearerToken"]
"""The library's name for what credentials have; it sends nothing where they have none."""
Counted = Callable[[str, str], None]
Params = Mapping[str, str]


class _Request(NamedTuple):
    verb: str
    path: str
    params: Params | None = None
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


class KubeApi:
    """One session with the API server, owned through ``async with``."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        may_write: Callable[[], None],
        count: Counted = lambda _verb, _code: None,
    ) -> None:
        self._credentials = credentials
        self._may_write = may_write
        self._count = count
        self._client: ApiClient | None = None
        self._connections = asyncio.Semaphore(_CONNECTIONS)

    async def get(self, path: str) -> dict[str, Any]:
        """Read one object; a missing one is a `KubeFault` with `is_missing`."""
        return await self._request(_Request("GET", path))

    async def items(
        self, path: str, params: Params | None = None, *, accept: str = "application/json"
    ) -> AsyncIterator[dict[str, Any]]:
        """List objects page by page; raises `KubeFault` with status 410 where the list is too old by then."""
        query = {**(params or {}), "limit": str(PAGE_OBJECTS)}
        while True:
            page = await self._request(_Request("GET", path, query, accept=accept))
            for item in page.get("items") or ():  # null where there are none and metadata only is asked for
                yield item
            following = page.get("metadata", {}).get("continue")
            if not following:
                return
            query["continue"] = following

    async def apply(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply: these fields are ours, whoever changed them."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request(_Request("PATCH", path, params, body, "application/apply-patch+yaml"))

    async def merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge-patch; with metadata.resourceVersion in it, only if the object is as it was seen."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._request(_Request("PATCH", path, params, body, "application/merge-patch+json"))

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Make an object; ``dry_run`` gives what would be made, after admission, and stores nothing."""
        params = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return await self._request(_Request("POST", path, params, body))

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object whole, if its resourceVersion is still what the body says."""
        return await self._request(_Request("PUT", path, {"fieldManager": FIELD_MANAGER}, body))

    async def delete(self, path: str) -> None:
        """Remove an object; one that is gone already is fine."""
        try:
            await self._request(_Request("DELETE", path))
        except KubeFault as fault:
            if not fault.is_missing:
                raise

    async def _request(self, request: _Request) -> dict[str, Any]:
        if self._client is None:
            raise KubeFault(0, "NotOpen", "the session with the API server is not open")
        async with self._connections:
            try:
                status, body = await self._send(self._client, request)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._count(request.verb, "NoAnswer")
                why = str(error) or type(error).__name__
                raise KubeFault(0, "NoAnswer", f"{request.verb} {request.path}: {why}") from error
        return self._read(request.verb, status, body)

    async def _send(self, client: ApiClient, request: _Request) -> tuple[int, bytes]:
        composed = await client.param_serialize(
            request.verb,
            request.path,
            query_params=list((request.params or {}).items()),
            header_params={"Accept": request.accept, "Content-Type": request.content_type},
            body=request.body,
            auth_settings=_AUTHENTICATION,
        )
        if request.verb != "GET":
            self._may_write()
        answer = await client.call_api(*composed, _request_timeout=_TIMEOUT)
        return answer.status, await answer.read()

    def _read(self, verb: str, status: int, body: bytes) -> dict[str, Any]:
        self._count(verb, str(status))
        is_refusal = status >= http.HTTPStatus.BAD_REQUEST
        try:
            said = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
        except msgspec.DecodeError as error:
            if not is_refusal:
                raise KubeFault(status, "NoJSON", _beginning(body)) from error
            said = {}
        if not is_refusal:
            return said
        reason = said.get("reason") or http.client.responses.get(status, "Refused").replace(" ", "")
        raise KubeFault(status, reason, said.get("message") or _beginning(body))

    async def __aenter__(self) -> Self:
        try:
            self._client = ApiClient(self._credentials.configuration)
        except OSError as error:
            raise CannotStart(f"{self._credentials!r}: certificates cannot be used: {error}") from error
        self._client.user_agent = FIELD_MANAGER
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
        self._client = None

    def __repr__(self) -> str:
        return f"<KubeApi {self._credentials.configuration.host} {'open' if self._client else 'closed'}>"


def _beginning(body: bytes) -> str:
    return body[:200].decode(errors="replace")
