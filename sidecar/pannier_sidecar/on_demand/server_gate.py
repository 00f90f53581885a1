"""Whether one feature server may be called now: room, circuit and retries, decided on values.

Every failure but being full counts towards the circuit the way a late answer does: a Service stands for
several pods, so one refusal, or one 500 of a pod that is about to go, says nothing of the others.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pannier_sidecar.circuit import Circuit
from pannier_sidecar.errors import TierError, TierMisconfigured, TierOverloaded, TierUnavailable
from pannier_sidecar.share_budget import ShareBudget

RETRY_SHARE: Final = 0.1
"""One retry for ten calls, so that retries never make an outage worse than a tenth."""
RETRIES_SAVED: Final = 10.0
LEFT_FOR_RETRY: Final = 0.5
"""Share of a call's time that must be left for a second try."""


class ServerGate(msgspec.Struct, frozen=True, gc=False):
    """One server as of its last event."""

    circuit: Circuit = Circuit()
    in_flight: int = 0
    retries: ShareBudget = ShareBudget(RETRY_SHARE, RETRIES_SAVED, RETRIES_SAVED)

    def decide(self, most: int, now_us: int) -> Literal["call", "full", "open"]:
        """What becomes of one more call, where at most ``most`` may be under way."""
        if self.in_flight >= most:
            return "full"
        return "call" if self.circuit.admits(now_us) else "open"

    def entered(self, now_us: int) -> ServerGate:
        """A call has begun."""
        return ServerGate(self.circuit.admitted(now_us), self.in_flight + 1, self.retries.earned())

    def left(self, error: TierError | None, now_us: int) -> ServerGate:
        """A call has ended. Being told that this sidecar is wrong is an answer: the server is there."""
        is_answer = error is None or isinstance(error, TierMisconfigured)
        circuit = self.circuit.succeeded() if is_answer else self.circuit.timed_out(now_us)
        return ServerGate(circuit, self.in_flight - 1, self.retries)

    def retried(self) -> ServerGate:
        """A second try was paid for."""
        return ServerGate(self.circuit, self.in_flight, self.retries.spent())

    def may_retry(self, error: TierError, left: float) -> bool:
        """Whether to try once more; ``left``: share of the call's time that is left."""
        return isinstance(error, TierUnavailable) and left >= LEFT_FOR_RETRY and self.retries.affords


def refused(why: Literal["full", "open"], server: str, most: int) -> TierError:
    """Why a server was not called."""
    if why == "full":
        message = f"not asked: {most} calls to {server} are in flight (maxConcurrency)"
        return TierOverloaded("on_demand", message)
    return TierUnavailable("on_demand", f"not asked: {server} failed several times in a row a moment ago")
