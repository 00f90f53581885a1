"""Calls of feature servers: one per server for all rows of a request that it computes.

Groups that one server computes within the same time share a call. What may be called, how often and how many
at once is `pannier_sidecar.on_demand.server_gate`'s; what is said, `protocol`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pannier.trace_context import trace_headers
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError, TierMisconfigured
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.on_demand import protocol
from pannier_sidecar.on_demand.protocol import TIER, Computed, Question
from pannier_sidecar.on_demand.server_client import ServerClient
from pannier_sidecar.on_demand.server_gate import ServerGate, refused
from pannier_sidecar.on_demand_plan import ServerAddress, ServerPlan

Said = Callable[[Question, dict[str, Computed]], None]
"""Hears what was said of every id of a question."""


class FeatureServers:
    """All servers of one sidecar, and what is known of their health."""

    def __init__(self, client: ServerClient, clock: Clock, metrics: Metrics) -> None:
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._gates: dict[ServerAddress, ServerGate] = {}

    async def ask(self, questions: Sequence[Question], said: Said) -> None:
        """Have all of them answered, each as soon as its server has; never raises for what servers do."""
        calls: dict[tuple[ServerAddress, float], list[Question]] = {}
        for question in questions:
            server = question.plan.server
            if server is None or question.plan.is_timeline:
                error = TierMisconfigured(TIER, "no feature server can compute timelines: leave sortKey out")
                said(question, dict.fromkeys(question.ids, error))
            else:
                calls.setdefault((server.address, server.timeout_seconds), []).append(question)
        first = next(iter(calls.values()), None)
        if first is not None and len(calls) == 1:  # nearly every request: no task of its own for it
            await self._ask_one(first, said)
            return
        async with asyncio.TaskGroup() as tasks:
            for together in calls.values():
                tasks.create_task(self._ask_one(together, said))

    async def _ask_one(self, questions: Sequence[Question], said: Said) -> None:
        """One call, for questions to one server within the same time."""
        answers: Sequence[dict[str, Computed]]
        try:
            answers = await self._answers(questions, _server(questions))
        except TierError as error:
            answers = [dict.fromkeys(question.ids, error) for question in questions]
        for question, answer in zip(questions, answers, strict=True):
            self._count(answer)
            said(question, answer)

    async def _answers(self, questions: Sequence[Question], server: ServerPlan) -> list[dict[str, Computed]]:
        body = protocol.encode(questions)
        deadline = asyncio.get_running_loop().time() + server.timeout_seconds
        try:
            return await self._try(questions, server, body, server.timeout_seconds)
        except TierError as error:
            left = deadline - asyncio.get_running_loop().time()
            gate = self._gate(server.address)
            if not gate.may_retry(error, left / server.timeout_seconds):
                raise
            self._gates[server.address] = gate.retried()
        return await self._try(questions, server, body, left)

    async def _try(
        self, questions: Sequence[Question], server: ServerPlan, body: bytes, seconds: float
    ) -> list[dict[str, Computed]]:
        start_us = self._enter(server, min(q.plan.server.max_concurrency for q in questions if q.plan.server))
        failure: TierError | None = None
        try:
            answer = await self._client.call(server.address, body, seconds, trace_headers())
            return protocol.decode(questions, answer, start_us)
        except TierError as error:
            failure = error
            raise
        finally:
            now_us = self._clock.now_us()
            self._change(server.address, self._gate(server.address).left(failure, now_us))
            for group in {question.plan.name for question in questions}:
                self._metrics.load_seconds("on_demand", group, max(now_us - start_us, 0) / 1_000_000)

    def _enter(self, server: ServerPlan, most: int) -> int:
        """Begin a call and say when that was; raises `TierError` where it must not be made."""
        now_us, gate = self._clock.now_us(), self._gate(server.address)
        decision = gate.decide(most, now_us)
        if decision != "call":
            raise refused(decision, str(server.address), most)
        self._change(server.address, gate.entered(now_us))
        return now_us

    def _gate(self, address: ServerAddress) -> ServerGate:
        return self._gates.get(address) or ServerGate()

    def _change(self, address: ServerAddress, gate: ServerGate) -> None:
        before = self._gates.get(address)
        self._gates[address] = gate
        if before is None or before.circuit.state != gate.circuit.state:
            self._metrics.circuit(f"{TIER} {address}", gate.circuit.state)

    def _count(self, answer: dict[str, Computed]) -> None:
        """An error counts once per call and reason, not once per row."""
        for reason in {said.reason for said in answer.values() if isinstance(said, TierError)}:
            self._metrics.tier_error(TIER, reason)

    def __repr__(self) -> str:
        in_flight = sum(gate.in_flight for gate in self._gates.values())
        return f"<FeatureServers {len(self._gates)} known, {in_flight} calls in flight>"


def _server(questions: Sequence[Question]) -> ServerPlan:
    server = questions[0].plan.server
    if server is None:
        raise AssertionError("questions without a server are answered before")
    return server
