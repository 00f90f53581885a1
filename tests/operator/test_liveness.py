"""Whether events flow is judged by what a list shows, and nothing that the watch missed is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.api_server_on_the_wire import Wire, a_wire

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION
from pannier_operator.catalogs.group_index import GroupIndex, Key
from pannier_operator.clock import ManualClock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.feature_groups import FeatureGroups
from pannier_operator.liveness import MISSES, EventFlow

GONE = (404, {"reason": "NotFound", "message": "no such group"})
AWAY = (503, {"reason": "ServiceUnavailable", "message": "starting"})


def a_group(version: int, name: str = "user-facts", namespace: str = "shop") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "generation": version}}


def listed(*groups: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"items": list(groups)}


class Watched:
    """An index, what it is compared with, and whom the flow wakes."""

    def __init__(self, wire: Wire, api: KubeApi) -> None:
        self.wire = wire
        self.index = GroupIndex()
        self.clock = ManualClock()
        self.woken: list[Key] = []
        self.flow = EventFlow(FeatureGroups(api), self.index, self.clock, self.woken.append)

    async def check(self, *answers: tuple[int, Any]) -> None:
        """One check that asks exactly this."""
        self.wire.asked.clear()
        self.wire.answers = [*answers, (500, {"message": "nobody answers this"})]
        await self.flow.check()
        assert len(self.wire.asked) == len(answers)

    def brought(self, group: dict[str, Any]) -> None:
        """Take in what the watch brings, as the leader does."""
        self.flow.note_event(group["metadata"]["namespace"])
        self.index.put(group)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with a_wire() as wire:
        credentials = await find_credentials(wire.kubeconfig(tmp_path), {})
        async with KubeApi(credentials, may_write=lambda: None) as api:
            yield Watched(wire, api)


async def test_a_quiet_cluster_is_alive(watched: Watched) -> None:
    """Silence proves nothing: without anything missed, hours without an event are fine."""
    watched.brought(a_group(1))
    for _ in range(10):
        watched.clock.advance(3600)
        await watched.check(listed(a_group(1)))
    assert watched.flow.flows
    assert watched.flow.last_event_seconds == 36_000
    assert watched.woken == []


async def test_what_arrives_between_two_checks_was_not_missed(watched: Watched) -> None:
    """A list may be ahead of the watch for a moment."""
    await watched.check(listed(a_group(1)))
    watched.brought(a_group(1))
    await watched.check(listed(a_group(1)))
    assert watched.flow.missed == 0
    assert watched.woken == []


async def test_what_the_watch_missed_is_fetched_and_reconciled(watched: Watched) -> None:
    """A group that is new, one that was edited, one that is gone: each is taken in and woken once."""
    watched.index.put(a_group(1, "edited"))
    watched.index.put(a_group(1, "gone"))
    there = listed(a_group(7, "edited"), a_group(5, "new"))
    await watched.check(there)
    assert watched.woken == []
    fetched = {"edited": (200, a_group(7, "edited")), "new": (200, a_group(5, "new")), "gone": GONE}
    watched.wire.asked.clear()
    path = f"/apis/{API_VERSION}/namespaces/shop/{PLURAL}"
    watched.wire.by_path = {f"{path}/{name}": answer for name, answer in fetched.items()}
    watched.wire.answers = [there]
    await watched.flow.check()
    assert sorted(key.name for key in watched.woken) == ["edited", "gone", "new"]
    assert sorted((seen.key.name, seen.resource_version) for seen in watched.index.all()) == [
        ("edited", "7"),
        ("new", "5"),
    ]
    assert watched.flow.missed == 3
    assert watched.flow.flows
    await watched.check(there)
    assert len(watched.woken) == 3


async def test_a_group_that_is_edited_all_the_time_tells_of_a_dead_watch(watched: Watched) -> None:
    """Every edit is a new suspicion, so a miss shows at every other check only: it counts all the same."""
    watched.brought(a_group(1))
    for version in range(2, 2 + MISSES):
        assert watched.flow.flows
        await watched.check(listed(a_group(version)))
        await watched.check(listed(a_group(version)), (200, a_group(version)))
    assert not watched.flow.flows
    await watched.check(listed(a_group(version)))
    assert not watched.flow.flows, "a quiet check proves nothing"


async def test_an_event_shows_that_the_watch_is_back(watched: Watched) -> None:
    """Which ends a run of misses, and brings a dead one back to life."""
    for version in range(1, 1 + MISSES):
        await watched.check(listed(a_group(version)))
        await watched.check(listed(a_group(version)), (200, a_group(version)))
    assert not watched.flow.flows
    watched.brought(a_group(9))
    assert watched.flow.flows


async def test_events_of_one_namespace_say_nothing_of_another(watched: Watched) -> None:
    """Each named namespace has a watch of its own."""
    for version in range(1, 1 + MISSES):
        watched.brought(a_group(version, namespace="ads"))
        there = listed(a_group(version), a_group(version, namespace="ads"))
        await watched.check(there)
        await watched.check(there, (200, a_group(version)))
    assert not watched.flow.flows


async def test_without_a_list_nothing_is_said_of_the_watch(watched: Watched) -> None:
    """An API server that is away is nobody's miss; the next list is compared as if none had failed."""
    await watched.check(listed(a_group(1)))
    for _ in range(MISSES + 1):
        with pytest.raises(KubeFault):
            await watched.check(AWAY)
    assert watched.flow.flows
    await watched.check(listed(a_group(1)), (200, a_group(1)))
    assert watched.woken == [Key("shop", "user-facts")]


async def test_a_repair_that_fails_is_made_up_for(watched: Watched) -> None:
    """A miss that could not be fetched stays a suspicion."""
    await watched.check(listed(a_group(1)))
    with pytest.raises(KubeFault):
        await watched.check(listed(a_group(1)), AWAY)
    assert watched.woken == []
    await watched.check(listed(a_group(1)), (200, a_group(1)))
    assert watched.woken == [Key("shop", "user-facts")]


async def test_checks_go_on_after_a_list_that_failed(tmp_path: Path) -> None:
    """The loop outlives an API server that is away."""
    async with a_wire() as wire:
        wire.answers = [AWAY, listed()]
        credentials = await find_credentials(wire.kubeconfig(tmp_path), {})
        async with KubeApi(credentials, may_write=lambda: None) as api:
            flow = EventFlow(FeatureGroups(api), GroupIndex(), ManualClock(), print, check_seconds=0.01)
            task = asyncio.create_task(flow.run())
            async with asyncio.timeout(10):
                while len(wire.asked) < 3:  # noqa: ASYNC110 - it is the server that is asked
                    await asyncio.sleep(0.01)
            assert not task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
