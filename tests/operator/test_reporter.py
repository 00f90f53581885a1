"""Status is written where it differs, and an edit that comes back with the answer is not lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.api_server_on_the_wire import Wire, a_wire

from pannier_operator.catalogs.group_index import GroupIndex, Key, SeenGroup
from pannier_operator.clock import ManualClock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.events import Events
from pannier_operator.kube.feature_groups import FeatureGroups, path_of
from pannier_operator.reporter import Listener, Reporter
from pannier_operator.reporting.outcome import Outcome

KEY = Key("shop", "user-facts")


def a_group(version: int, *, generation: int = 1, uid: str = "uid-1", **more: Any) -> dict[str, Any]:
    metadata = {"namespace": KEY.namespace, "name": KEY.name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**metadata, "generation": generation}, **more}


class Reported:
    """A reporter, the server it writes to, and whom it tells."""

    def __init__(self, wire: Wire, api: KubeApi) -> None:
        self.wire = wire
        self.index = GroupIndex()
        self.edited: list[SeenGroup] = []
        clock = ManualClock()
        self.reporter = Reporter(
            FeatureGroups(api),
            Events(api, clock, "one"),
            self.index,
            clock,
            Listener(told=lambda _seen, _conditions: None, edited=self.edited.append),
        )

    async def report(self, document: dict[str, Any], answer: tuple[int, Any]) -> None:
        """Report on an object as it was seen; the server gives this answer."""
        self.index.put(document)
        seen = self.index.get(KEY)
        assert seen is not None
        self.wire.by_path = {f"{path_of(KEY.namespace, KEY.name)}/status": answer}
        await self.reporter.report(seen, seen.document(), Outcome(generation=seen.generation))

    @property
    def held(self) -> SeenGroup | None:
        return self.index.get(KEY)


@pytest.fixture
async def reported(tmp_path: Path) -> AsyncIterator[Reported]:
    async with contextlib.AsyncExitStack() as owned:
        wire = await owned.enter_async_context(a_wire())
        credentials = await find_credentials(wire.kubeconfig(tmp_path), {})
        api = await owned.enter_async_context(KubeApi(credentials, may_write=lambda: None))
        yield Reported(wire, api)


async def test_an_own_write_is_no_reason_to_look_again(reported: Reported) -> None:
    """The status alone is new, also where the watch brings it."""
    await reported.report(a_group(10), (200, a_group(11)))
    assert reported.edited == []
    assert reported.index.put(a_group(11)) is None


async def test_an_edit_while_the_status_was_on_its_way_is_acted_on(reported: Reported) -> None:
    """The answer has the edit, so the watch, which brings it later, tells of nothing new."""
    await reported.report(a_group(10), (200, a_group(12, generation=2)))
    assert [seen.generation for seen in reported.edited] == [2]
    assert reported.index.put(a_group(11, generation=2)) is None


@pytest.mark.parametrize("meanwhile", [None, a_group(20, uid="uid-2")], ids=["deleted", "made anew"])
async def test_a_group_that_is_gone_does_not_come_back_by_an_answer(
    reported: Reported, meanwhile: dict[str, Any] | None
) -> None:
    """The watch told of its end before the answer was read."""
    reported.wire.open.clear()
    under_way = asyncio.create_task(reported.report(a_group(10), (200, a_group(12))))
    while not reported.wire.asked:  # noqa: ASYNC110 - the server runs in this loop
        await asyncio.sleep(0)
    reported.index.remove(KEY, "uid-1")
    if meanwhile is not None:
        reported.index.put(meanwhile)
    reported.wire.open.set()
    await under_way
    assert reported.edited == []
    assert (reported.held.uid if reported.held else None) == ("uid-2" if meanwhile else None)


@pytest.mark.parametrize("status", [404, 409])
async def test_nobody_is_told_of_a_group_that_is_gone(reported: Reported, status: int) -> None:
    """Gone, or another life of its name."""
    await reported.report(a_group(10), (status, {"reason": "Gone", "message": "not there"}))
    assert reported.held is not None
    assert reported.held.resource_version == "10"
    assert [asked.verb for asked in reported.wire.asked] == ["PATCH"]


async def test_another_refusal_is_for_the_queue(reported: Reported) -> None:
    """It is tried again with backoff."""
    with pytest.raises(KubeFault):
        await reported.report(a_group(10), (503, {"reason": "Unavailable", "message": "starting"}))
