"""A test client: the call a sidecar would make, through everything but the socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pannier_ondemand.declaring import FeatureServer
from pannier_ondemand.exchange import Exchange, Reply
from pannier_ondemand.given_inputs import given_inputs
from pannier_ondemand.metrics import Metrics
from pannier_ondemand.spec_files import groups_of


class TestClient:
    """Owned through ``with``; making one checks the functions against the specs, as a start does."""

    __test__ = False  # its name is no test's

    def __init__(self, server: FeatureServer, *specs: Path, **limits: Any) -> None:
        """``specs``: directories of FeatureGroups, those that inputs come from included."""
        self.groups = groups_of(*specs)
        self._exchange = Exchange(server, self.groups, metrics=Metrics(), **limits)

    async def rows(
        self,
        group: str,
        ids: Sequence[str],
        context: Any = None,
        inputs: Mapping[str, Sequence[Any]] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The rows of an answer by id; raises AssertionError with the reason where the read is refused.

        ``inputs``: per input one value for each id, the features of a row (a dict, or the function's own
        type), a sequence of `Record` for a timeline, or None for a row that is missing.
        """
        read: dict[str, Any] = {"group": group, "schema_hash": self.groups[group].schema_hash, "ids": ids}
        if context is not None:
            read["context"] = context
        if inputs is not None:
            read["inputs"] = given_inputs(group, self.groups, ids, inputs)
        reply = await self.call([read])
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
