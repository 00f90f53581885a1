"""Events as they are posted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operator.api_server_on_the_wire import Wire, a_wire

from pannier_operator.clock import ManualClock
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.events import Events
from pannier_operator.reporting.transitions import Note


async def posted(wire: Wire, folder: Path, *pauses: float) -> list[str]:
    """Post an Event after each pause; gives their names."""
    wire.answers = [(201, {})]
    clock = ManualClock()
    credentials = await find_credentials(wire.kubeconfig(folder), {})
    async with KubeApi(credentials, may_write=lambda: None, count=lambda _verb, _code: None) as api:
        events = Events(api, clock, "one")
        for pause in pauses:
            clock.advance(pause)
            await events.post("shop", "user-facts", "uid", Note("Normal", "Ready", "all is well"))
    return [asked.body["metadata"]["name"] for asked in wire.asked]


@pytest.mark.parametrize("pause", [0.000_01, 0.9, 3600.0, 40_000_000.0])
async def test_events_of_a_second_are_shown_in_their_order(tmp_path: Path, pause: float) -> None:
    """What kubectl shows: sorted by whole seconds, then by name."""
    async with a_wire() as wire:
        names = await posted(wire, tmp_path, *[pause] * 20)
    assert names == sorted(names)
    assert len(set(names)) == 20


async def test_events_of_the_same_instant_have_names_of_their_own(tmp_path: Path) -> None:
    """Replicas do not ask each other."""
    async with a_wire() as wire:
        names = await posted(wire, tmp_path, *[0.0] * 5)
    assert len(set(names)) == 5
