"""One request through: what it asks, who is around, what follows. In doubt it lets pass, and says so.

What passes unchecked is judged by the operator on its next pass, with the same reason in a condition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from pannier_operator.admission.asking import Ask, ask_of
from pannier_operator.admission.neighbourhood import Neighbourhood
from pannier_operator.admission.review import Review
from pannier_operator.admission.verdict import ALLOWED, Verdict, decide
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.on_demand.options import Permission
from pannier_operator.on_demand.references import refused_server
from pannier_operator.planning.findings import Finding

_log: Final = structlog.stdlib.get_logger(__name__)
LOOK_SECONDS: Final = 2.0
"""How long a look around may take: less than the chart's timeoutSeconds, so that a warning still gets out."""
Counted = Callable[[str, str], None]
"""Told of each request: its result, and the reason of a refusal."""


class Gate:
    """Judges requests."""

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        clock: Clock,
        *,
        table_prefix: str,
        count: Counted,
        allowed: Collection[Permission] = (),
    ) -> None:
        """``allowed``: which Services of other namespaces may be used."""
        self._allowed = allowed
        self._neighbourhood = neighbourhood
        self._clock = clock
        self._table_prefix = table_prefix
        self._count = count

    async def judge(self, review: Review) -> Verdict:
        """Judge one request."""
        ask = None
        if review.operation in {"CREATE", "UPDATE"} and review.object is not None:
            ask = ask_of(review.object, review.old_object, self._table_prefix)
        if ask is None:
            self._count("allowed", "")
            return ALLOWED
        refusal = self._server_refusal(ask)
        if refusal is not None:
            return self._checked(ask, Verdict(refusal))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                known = await self._neighbourhood.around(ask)
        except (KubeFault, TimeoutError) as fault:
            return self._unchecked(ask, str(fault) or f"no answer within {LOOK_SECONDS:.0f} s")
        return self._checked(ask, decide(ask, known, self._clock.now()))

    def _server_refusal(self, ask: Ask) -> Finding | None:
        """Say that it may not use the Service of its feature server; that is known without asking."""
        if not ask.calls_anew:
            return None
        return refused_server(ask.entry.key.namespace, ask.entry.group.on_demand, self._allowed)

    def _checked(self, ask: Ask, verdict: Verdict) -> Verdict:
        refusal = verdict.refusal
        self._count("refused" if refusal else "allowed", refusal.reason if refusal else "")
        if refusal is not None:
            _log.info("refused", group=str(ask.entry.key), reason=refusal.reason, message=refusal.message)
        return verdict

    def _unchecked(self, ask: Ask, why: str) -> Verdict:
        self._count("unchecked", "")
        _log.warning("admitted_unchecked", group=str(ask.entry.key), fault=why)
        return Verdict(
            warnings=("not checked against other FeatureGroups; condition Ready will tell", why[:200])
        )

    def __repr__(self) -> str:
        return f"<Gate before {self._neighbourhood!r}>"
