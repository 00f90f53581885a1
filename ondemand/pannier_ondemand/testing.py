"""A test client: the call a sidecar would make, through everything but the socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pannier_ondemand.declaring import FeatureServer
from pannier_ondemand.exchange import Exchange, Reply
from pannier_ondemand.metrics import Metrics
from pannier_ondemand.spec_files import groups_of


class TestClient:
    """Owned through ``with``; making one checks the functions against the specs, as a start does."""

    __test__ = False  # its name is no test's

    def __init__(self, server: FeatureServer, specs: Path, **limits: Any) -> None:
        self.groups = groups_of(specs)
        self._exchange = Exchange(server, self.groups, metrics=Metrics(), **limits)

    async def rows(self, group: str, ids: Sequence[str], context: Any = None) -> dict[str, dict[str, Any]]:
        """The rows of an answer by id; raises AssertionError with the reason where the read is refused."""
        read = {"group": group, "schema_hash": self.groups[group].schema_hash, "ids": ids}
        reply = await self.call([read if context is None else {**read, "context": context}])
        (result,) = msgspec.json.decode(reply.body)["results"]
        if "error" in result:
            raise AssertionError(f"{result['error']['reason']}: {result['error']['detail']}")
        return {row["id"]: row for row in result["rows"]}

    async def call(
        self, reads: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Any call at all."""
        return await self._exchange.answer(headers or {}, msgspec.json.encode({"reads": reads}))

    def close(self, *, wait: bool = False) -> None:
        """Give the threads back; ``wait`` until the last of them is done."""
        self._exchange.close(wait=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TestClient of {self._exchange!r}>"
