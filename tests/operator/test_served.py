"""Whether sidecars serve what is published: judged of what they say, and of pods that say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from pannier_operator.catalogs.group_index import Key
from pannier_operator.clock import ManualClock
from pannier_operator.errors import KubeFault
from pannier_operator.feed.reports import GONE_SECONDS, SidecarReports
from pannier_operator.feed.served_watch import GRACE_SECONDS, LISTED_SECONDS, YOUNG, ServedWatch
from pannier_operator.kube.pods import InjectedPod
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.served import Consumers, Report, served

KEY = Key("shop", "user-facts")
GROUP = "user_facts"


def consumers(revision: int, silent: Sequence[str] = (), **serving: int | Report) -> Consumers:
    """One namespace: what its sidecars serve, by pod."""
    reports = {pod: one if isinstance(one, Report) else Report(one) for pod, one in serving.items()}
    return Consumers("shop", revision, reports, silent)


@pytest.mark.parametrize(
    ("parts", "status", "reason", "message"),
    [
        ([consumers(5)], "True", "NoSidecars", "no live sidecar"),
        ([consumers(5, a=5, b=9)], "True", "Served", "every live"),
        ([consumers(5, a=5, b=4)], "False", "SidecarsBehind", "shop/b (revision 4 of 5)"),
        ([consumers(5, a=5, b=0)], "False", "SidecarsBehind", "shop/b (revision 0 of 5)"),
        (
            [consumers(5, a=Report(5, {GROUP: "GroupUnreadable"}))],
            "False",
            "SidecarsReject",
            "shop/a (GroupU",
        ),
        ([consumers(5, a=Report(5, {"other": "GroupUnreadable"}))], "True", "Served", ""),
        ([consumers(5, ["c"], a=5)], "Unknown", "SidecarsSilent", "shop/c"),
        ([consumers(5, ["c"], a=4)], "False", "SidecarsBehind", "shop/a"),
        ([consumers(5, a=5), Consumers("ads", 7, {"z": Report(6)})], "False", "SidecarsBehind", "ads/z"),
    ],
)
def test_what_is_found_of_reports(parts: list[Consumers], status: str, reason: str, message: str) -> None:
    """Behind before rejecting before silent: the surest thing first, and silence is never a yes or a no."""
    found = served(GROUP, parts)
    assert (found.status, found.reason) == (status, reason)
    assert message in found.message


def test_a_message_names_a_few_and_counts_the_rest() -> None:
    """A thousand pods do not fit into a condition."""
    found = served(GROUP, [Consumers("shop", 5, {f"pod{n:04d}": Report(1) for n in range(1_000)})])
    assert "shop/pod0000 (" in found.message
    assert found.message.endswith("and 995 more")


def test_a_sidecar_lives_while_it_asks_and_a_little_longer() -> None:
    """Between two questions there is a moment; who is gone for longer has gone."""
    clock = ManualClock()
    reports = SidecarReports(clock.monotonic)
    assert reports.began("shop", "a", Report(5))
    clock.advance(10 * GONE_SECONDS)
    assert reports.live("shop") == {"a": Report(5)}
    reports.ended("shop", "a")
    assert not reports.began("shop", "a", Report(5))
    reports.ended("shop", "a")
    clock.advance(GONE_SECONDS - 1)
    assert reports.live("shop") == {"a": Report(5)}
    clock.advance(2)
    assert reports.live("shop") == {}
    reports.ended("shop", "a")
    assert dict(reports.everywhere()) == {"shop": {}}


class Published:
    """The group is in one namespace since a revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision

    def standings(self, key: Key) -> Iterator[tuple[str, int]]:
        yield key.namespace, self.revision


class Pods:
    """Pods with a sidecar, and how often they were listed."""

    def __init__(self) -> None:
        self.found: list[InjectedPod] | KubeFault = []
        self.looks = 0

    async def injected(self, namespace: str) -> Sequence[InjectedPod]:
        assert namespace == KEY.namespace
        self.looks += 1
        if isinstance(self.found, KubeFault):
            raise self.found
        return self.found


class Watching:
    """A watch over one group, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.published, self.pods = Published(5), Pods()
        self.reports = SidecarReports(self.clock.monotonic)
        self.woken: list[Key] = []
        self.rounds, self.slept = 0, asyncio.Event()
        self.watch = ServedWatch(
            self.published, self.reports, self.pods, self.woken.append, self.clock, sleep=self._sleep
        )
        self.clock.advance(2 * GRACE_SECONDS)

    async def _sleep(self, _: float) -> None:
        if not self.rounds:
            self.slept.set()
            await asyncio.get_running_loop().create_future()
        self.rounds -= 1

    async def judge(self, before: Finding | None = None) -> str:
        return (await self.watch.judge(KEY, GROUP, before)).reason

    async def look(self) -> None:
        """One round over all that wait."""
        self.rounds = 1
        self.slept.clear()
        running = asyncio.create_task(self.watch.run())
        await self.slept.wait()
        running.cancel()

    def pod(self, name: str, age: timedelta) -> InjectedPod:
        return InjectedPod(name, self.clock.now() - age)


async def test_a_report_that_settles_it_has_it_told_at_once() -> None:
    """And one that does not wakes nobody: a rollout of a thousand pods is not a thousand writes."""
    it = Watching()
    it.reports.began("shop", "a", Report(4))
    it.reports.began("shop", "b", Report(4))
    assert await it.judge() == "SidecarsBehind"
    it.reports.began("shop", "a", Report(5))
    it.watch.heard("shop")
    assert it.woken == []
    it.reports.began("shop", "b", Report(5))
    it.watch.heard("shop")
    assert it.woken == [KEY]
    assert await it.judge() == "Served"
    it.watch.heard("shop")
    assert it.woken == [KEY]
    assert it.watch.waiting == 0


async def test_pods_of_which_nothing_is_heard_keep_it_unknown() -> None:
    """Unless they are so young that they mount what is published; a list of pods holds for a while."""
    it = Watching()
    it.reports.began("shop", "a", Report(5))
    it.pods.found = [it.pod("a", 2 * YOUNG), it.pod("young", YOUNG / 2)]
    assert await it.judge() == "Served"
    it.pods.found = [it.pod("a", 2 * YOUNG), it.pod("mute", 2 * YOUNG)]
    assert (await it.judge(), it.pods.looks) == ("Served", 1)
    it.clock.advance(LISTED_SECONDS)
    assert (await it.judge(), it.pods.looks) == ("SidecarsSilent", 2)


async def test_a_young_pod_counts_if_it_was_there_before_what_is_published() -> None:
    """It mounted something older; a new leader has heard of nobody, and must not say that there is nobody."""
    it = Watching()
    it.published.revision = int(it.clock.now().timestamp() * 1_000)
    it.pods.found = [it.pod("before", timedelta(seconds=5))]
    assert await it.judge() == "SidecarsSilent"
    it.reports.began("shop", "before", Report(it.published.revision))
    assert await it.judge() == "Served"
    it.clock.advance(LISTED_SECONDS)
    it.pods.found = [*it.pods.found, it.pod("after", timedelta(seconds=5))]
    assert await it.judge() == "Served"


async def test_a_list_of_pods_from_before_an_edit_says_nothing_of_it() -> None:
    """A pod that came after the list and before the edit serves what was before it."""
    it = Watching()
    assert (await it.judge(), it.pods.looks) == ("NoSidecars", 1)
    it.pods.found = [it.pod("between", timedelta(0))]
    it.clock.advance(1)
    it.published.revision = int(it.clock.now().timestamp() * 1_000)
    it.clock.advance(1)
    assert (await it.judge(), it.pods.looks) == ("SidecarsSilent", 2)
    assert (await it.judge(), it.pods.looks) == ("SidecarsSilent", 2)


async def test_pods_are_not_listed_while_somebody_is_known_to_lag() -> None:
    """The answer is no already."""
    it = Watching()
    it.reports.began("shop", "a", Report(4))
    await it.judge()
    assert it.pods.looks == 0


async def test_pods_that_cannot_be_listed_keep_it_unknown() -> None:
    """An outage is neither yes nor no."""
    it = Watching()
    it.pods.found = KubeFault(403, "Forbidden", "pods is forbidden")
    assert await it.judge() == "SidecarsSilent"


async def test_a_new_leader_believes_what_was_told_until_sidecars_have_found_it() -> None:
    """A restart of the operator must not have every group told as unknown, and true again."""
    it = Watching()
    it.pods.found = [it.pod("a", 2 * YOUNG)]
    told = Finding("True", "Served", "every live sidecar serves what is published")
    young = ServedWatch(it.published, it.reports, it.pods, it.woken.append, it.clock)
    assert await young.judge(KEY, GROUP, told) == told
    assert (await young.judge(KEY, GROUP, None)).reason == "SidecarsSilent"
    it.clock.advance(GRACE_SECONDS)
    assert (await young.judge(KEY, GROUP, told)).reason == "SidecarsSilent"


async def test_who_waits_is_looked_at_again_until_it_is_served_or_gone() -> None:
    """Silence brings no news, so somebody has to look."""
    it = Watching()
    it.reports.began("shop", "a", Report(4))
    await it.judge()
    await it.look()
    assert it.woken == [KEY]
    it.watch.forget(KEY)
    await it.look()
    assert it.woken == [KEY]
    assert "0 groups" in repr(it.watch)
