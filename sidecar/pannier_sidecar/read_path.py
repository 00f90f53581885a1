"""The order of a read: L1, L2, L3, written once. Requests in, answer bytes out."""

from __future__ import annotations

from typing import NamedTuple

from pannier_sidecar.api.read_requests import ReadRequest
from pannier_sidecar.plan import ReadPlan


class ReadAnswer(NamedTuple):
    """What a read request comes to. ``status`` 200 has a JSON body, anything else a problem document."""

    status: int
    body: bytes
    timings: str = ""
    """Value of the ``Server-Timing`` header; empty unless the request asked to explain."""


class ReadPath:
    """Answers read requests."""

    def answer_from_l1(self, request: ReadRequest, plan: ReadPlan) -> bytes | None:
        """The body of a 200, if L1 alone can answer every row without looking twice; None = use `read`."""
        raise NotImplementedError

    async def read(
        self, request: ReadRequest, plan: ReadPlan, *, int64_strings: bool = False
    ) -> ReadAnswer:
        """Answer a request; never raises for what tiers do. Counts what it does."""
        raise NotImplementedError
