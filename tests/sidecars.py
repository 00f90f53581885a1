"""A whole sidecar in this process, over real sockets and stores, and a client that speaks to it.

`a_sidecar` builds what ``pannier serve`` runs, on free ports and a store of its own, without its logging.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml

from pannier_sidecar.app import Sidecar, build
from pannier_sidecar.clock import Clock
from pannier_sidecar.settings import load

RECORDS: dict[str, Any] = {
    "apiVersion": "pannier.dev/v1alpha1",
    "kind": "FeatureGroup",
    "metadata": {"name": "user-facts", "namespace": "shop"},
    "spec": {
        "groupName": "user_facts",
        "key": {"entity": "user", "maxIdBytes": 64},
        "features": [
            {"id": 0, "name": "city", "type": "String", "default": "nowhere"},
            {"id": 1, "name": "visits", "type": "Int64"},
            {"id": 2, "name": "score", "type": "Float64"},
            {"id": 3, "name": "tags", "type": "Set", "elementType": "String"},
            {"id": 4, "name": "notes", "type": "Json", "maxBytes": 200000},
            {"id": 5, "name": "retired", "type": "String", "state": "Removed"},
        ],
        "storage": {"mode": "Dedicated"},
    },
}
TIMELINE: dict[str, Any] = {
    "apiVersion": "pannier.dev/v1alpha1",
    "kind": "FeatureGroup",
    "metadata": {"name": "clicks", "namespace": "shop"},
    "spec": {
        "groupName": "clicks",
        "key": {
            "entity": "user",
            "sortKey": {"type": "Timestamp", "unit": "Seconds", "tieBreaker": "session"},
        },
        "features": [
            {"id": 0, "name": "article", "type": "String"},
            {"id": 1, "name": "session", "type": "String"},
        ],
        "query": {"defaultLimit": 3, "maxLimit": 10},
        "storage": {"mode": "Dedicated"},
    },
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a problem document; fails where the answer is none."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        return str(self.json["reason"])

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Path and reason of each fault."""
        return [(fault["path"], fault["reason"]) for fault in self.json["errors"]]


class Client:
    """Speaks to one sidecar over TCP."""

    def __init__(self, sidecar: Sidecar, session: aiohttp.ClientSession) -> None:
        self.sidecar = sidecar
        self._session = session
        self.data_url = f"http://{sidecar.data.tcp_addresses[0]}"
        self.admin_url = f"http://{sidecar.admin.tcp_addresses[0]}"

    async def send(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Answer:
        """Send one request to the data port; a path is taken as it is, percent signs included."""
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        return await self._send(method, self.data_url + path, data, headers)

    async def admin(self, path: str) -> Answer:
        """GET from the admin port."""
        return await self._send("GET", self.admin_url + path, None, {})

    async def until_listening(self) -> None:
        """Wait until it hears invalidations: what it cached before that counts as soft-expired."""
        listening = b"\npannier_invalidation_listening 1.0"
        async with asyncio.timeout(30):
            while listening not in (await self.admin("/metrics")).body:  # noqa: ASYNC110 (only metrics tell)
                await asyncio.sleep(0.01)

    async def _send(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        from yarl import URL  # noqa: PLC0415 - aiohttp's own URL type, needed for its ``encoded``

        body = io.BytesIO(data) if data is not None else None
        async with self._session.request(
            method, URL(url, encoded=True), data=body, headers=headers
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def read(self, *reads: dict[str, Any], **options: Any) -> Answer:
        """POST a read request."""
        return await self.send("POST", "/v1/features/read", {"reads": list(reads), **options})

    async def write(self, *writes: dict[str, Any]) -> list[dict[str, Any]]:
        """POST a write request; gives the verdicts."""
        answer = await self.send("POST", "/v1/features/write", {"writes": list(writes)})
        assert answer.status == 200, answer.body
        results: list[dict[str, Any]] = answer.json["results"]
        return results

    async def row(self, group: str, row_id: str, query: str = "", method: str = "GET") -> Answer:
        """Call the resource of one row."""
        path = f"/v1/groups/{quote(group, safe='')}/rows/{quote(row_id, safe='')}"
        return await self.send(method, f"{path}?{query}" if query else path)

    async def rows(self, group: str, *ids: str, **options: Any) -> list[dict[str, Any]]:
        """Read ids of one group; gives the rows."""
        answer = await self.read({"group": group, "ids": list(ids)}, **options)
        assert answer.status == 200, answer.body
        rows: list[dict[str, Any]] = answer.json["results"][0]["rows"]
        return rows


@contextlib.asynccontextmanager
async def a_sidecar(
    directory: Path, *manifests: dict[str, Any], clock: Clock | None = None, **flags: str | bool | None
) -> AsyncIterator[Client]:
    """Run a sidecar on the embedded store (unless flags say otherwise) and free ports."""
    specs = directory / "specs"
    specs.mkdir(exist_ok=True, parents=True)
    for manifest in manifests or (RECORDS, TIMELINE):
        (specs / f"{manifest['metadata']['name']}.yaml").write_text(yaml.safe_dump(manifest))
    settings = load(
        {
            "specs": str(specs),
            "http": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "data_dir": str(directory / "data"),
            "store": "embedded",
            "create_tables": True,
            "drain_seconds": "0",
            "loop_delay_ms": "0",  # a busy machine is no reason for a test to be refused
            **flags,
        },
        {},
    )
    async with (
        build(settings, clock=clock) as sidecar,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        yield Client(sidecar, session)
