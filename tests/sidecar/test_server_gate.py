"""When a feature server is called: room, circuit, retries."""

from __future__ import annotations

import pytest

from pannier_sidecar.circuit import FIRST_PAUSE_US, TIMEOUTS_TO_OPEN
from pannier_sidecar.errors import (
    TierError,
    TierGarbled,
    TierMisconfigured,
    TierOverloaded,
    TierTimeout,
    TierUnavailable,
)
from pannier_sidecar.on_demand.server_gate import LEFT_FOR_RETRY, RETRIES_SAVED, ServerGate, refused

NOW_US = 1_000_000


def after(gate: ServerGate, error: TierError | None, calls: int = 1) -> ServerGate:
    """Make so many calls that end like this."""
    for _ in range(calls):
        gate = gate.entered(NOW_US).left(error, NOW_US)
    return gate


def test_so_many_calls_are_in_flight_and_no_more() -> None:
    """One that ends makes room."""
    gate = ServerGate().entered(NOW_US)
    assert gate.decide(2, NOW_US) == "call"
    gate = gate.entered(NOW_US)
    assert gate.decide(2, NOW_US) == "full"
    assert gate.left(None, NOW_US).decide(2, NOW_US) == "call"


@pytest.mark.parametrize("kind", [TierUnavailable, TierTimeout, TierGarbled])
def test_failures_in_a_row_open_the_circuit(kind: type[TierError]) -> None:
    """A success in between begins anew; after a pause one call is let through."""
    error = kind("on_demand", "")
    nearly = after(ServerGate(), error, TIMEOUTS_TO_OPEN - 1)
    assert nearly.decide(9, NOW_US) == "call"
    assert after(after(nearly, None), error).decide(9, NOW_US) == "call"
    opened = after(nearly, error)
    assert opened.decide(9, NOW_US) == "open"
    assert opened.decide(9, NOW_US + FIRST_PAUSE_US) == "call"
    assert opened.entered(NOW_US + FIRST_PAUSE_US).decide(9, NOW_US + FIRST_PAUSE_US) == "open"


def test_being_told_of_a_fault_of_ours_is_an_answer() -> None:
    """The server is there."""
    gate = after(ServerGate(), TierMisconfigured("on_demand", ""), 9)
    assert gate.decide(9, NOW_US) == "call"


def test_retries_are_paid_for_and_only_outages_are_retried() -> None:
    """Ten are saved; then one for ten calls. Never late, never for what would be answered the same again."""
    gate, outage = ServerGate(), TierUnavailable("on_demand", "")
    assert not gate.may_retry(TierTimeout("on_demand", ""), 1.0)
    assert not gate.may_retry(TierGarbled("on_demand", ""), 1.0)
    assert not gate.may_retry(outage, LEFT_FOR_RETRY - 0.01)
    for _ in range(int(RETRIES_SAVED)):
        assert gate.may_retry(outage, LEFT_FOR_RETRY)
        gate = gate.retried()
    assert not gate.may_retry(outage, 1.0)
    assert not after(gate, None, 9).may_retry(outage, 1.0)
    assert after(gate, None, 10).may_retry(outage, 1.0)


def test_a_refusal_names_the_server_and_the_bound() -> None:
    """What was full says nothing of its health."""
    full, broken = refused("full", "shop/scores:80", 8), refused("open", "shop/scores:80", 8)
    assert isinstance(full, TierOverloaded)
    assert "8 calls to shop/scores:80" in full.message
    assert isinstance(broken, TierUnavailable)
    assert "shop/scores:80" in broken.message
