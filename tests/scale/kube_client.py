"""One client of the API server for many requests at once: the administrator, over one `aiohttp` session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from tests.control_plane import ApiServer
from tests.integration.operator_cluster import MERGE

_LONGEST_LINE = 16 * 1024 * 1024
"""Of a watch: an object is one line."""


class KubeClient:
    """Owned through ``async with``."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._api.trust(), limit=0)
        self._session = aiohttp.ClientSession(
            self._api.address,
            connector=connector,
            read_bufsize=_LONGEST_LINE,
            timeout=aiohttp.ClientTimeout(total=60),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """Read an object, or a list."""
        return await self._send("GET", path, None, {})

    async def make(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Make an object."""
        await self._send("POST", path, manifest, {"Content-Type": "application/json"})

    async def merge(self, path: str, changes: Mapping[str, Any]) -> None:
        """Merge into an object."""
        await self._send("PATCH", path, changes, {"Content-Type": MERGE})

    async def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            assert answer.status < 300, (method, path, answer.status, await answer.text())
            return await answer.json()

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Every object that is there or comes, until the server ends the watch."""
        query = {**params, "watch": "1"}
        async with self._session.get(path, params=query, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                event = json.loads(line)
                assert event["type"] in {"ADDED", "MODIFIED", "DELETED"}, event
                yield event["object"]

    def __repr__(self) -> str:
        return f"<KubeClient of {self._api!r}>"
