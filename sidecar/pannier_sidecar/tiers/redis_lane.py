"""Calls to Redis in time and through a circuit: an outage is a `TierError`, at once while it lasts.

Reads and writes have a lane each: a batch of merges may take longer than a reader would wait, and neither its
size nor its failure may hold up reads. It knows neither keys nor entries: `pannier_sidecar.tiers.l2_redis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from pannier_sidecar.circuit import Circuit, State
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError, TierTimeout, TierUnavailable
from pannier_sidecar.lease import LeaseEvent
from pannier_sidecar.patience import in_time
from pannier_sidecar.tiers.redis_faults import TIER, fault_of, is_unserved
from pannier_sidecar.tiers.redis_pipe import Command, Exchange


class TierMetrics(Protocol):
    """What this tier counts."""

    def tier_error(self, tier: str, reason: str) -> None:
        """A call or an entry went wrong."""
        ...

    def circuit(self, tier: str, state: State) -> None:
        """The circuit is in this state now."""
        ...

    def lease(self, group: str, event: LeaseEvent) -> None:
        """Something happened to a lease of the group."""
        ...

    def published(self, receivers: int) -> None:
        """A message was handed to so many listeners."""
        ...


class RedisLane:
    """One way to Redis with its own connection and circuit. Owned through ``async with``."""

    def __init__(
        self, name: str, exchange: Exchange, *, clock: Clock, metrics: TierMetrics, timeout_seconds: float
    ) -> None:
        self._name = name
        self._exchange = exchange
        self._clock = clock
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._circuit = Circuit()
        self._last_fault: TierError | None = None
        self.on_recovery: Callable[[], None] = lambda: None
        """Told when calls succeed again."""

    @property
    def state(self) -> State:
        """Of the circuit; ``closed`` is healthy."""
        return self._circuit.state

    def refusal(self) -> TierError | None:
        """Why a call would not even be tried now; None = it would."""
        if self._circuit.admits(self._clock.now_us()):
            return None
        return TierUnavailable(TIER, f"not tried, after: {self._last_fault}")

    async def call(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands in one go and return their replies, errors of single commands as values."""
        if not commands:
            return []
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        self._become(self._circuit.admitted(self._clock.now_us()))
        try:
            replies = await in_time(self._exchange.send(commands), self._timeout_seconds)
        except Exception as error:  # a peer that does not speak the protocol trips the client anywhere
            fault = fault_of(error)
            await self._failed(fault)
            raise self.counted(fault) from error
        unserved = next((reply for reply in replies if is_unserved(reply)), None)
        if unserved is not None:
            # connected to what was the primary before a failover: the name may lead to the new one
            fault = fault_of(unserved)
            await self._failed(fault)
            raise self.counted(fault)
        self._become(self._circuit.succeeded())
        return replies

    def try_again(self) -> None:
        """Redis answers another lane again: do not wait for the end of the pause."""
        self._circuit = self._circuit.hopeful()

    def counted(self, fault: TierError) -> TierError:
        """Count a fault."""
        self._metrics.tier_error(TIER, fault.reason)
        return fault

    async def _failed(self, fault: TierError) -> None:
        now_us = self._clock.now_us()
        is_late = isinstance(fault, TierTimeout)
        self._last_fault = fault
        self._become(self._circuit.timed_out(now_us) if is_late else self._circuit.failed(now_us))
        if self._circuit.state == "open":
            await self._exchange.reset()  # what hangs in the connection comes too late for everybody

    def _become(self, circuit: Circuit) -> None:
        before, self._circuit = self._circuit.state, circuit
        if circuit.state != before:
            self._metrics.circuit(self._name, circuit.state)
            if circuit.state == "closed":
                self.on_recovery()

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        self._metrics.circuit(self._name, self._circuit.state)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<RedisLane {self._name}, circuit {self._circuit.state}>"
