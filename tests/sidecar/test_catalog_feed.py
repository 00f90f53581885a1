"""News of the catalog from the operator: asked for again and again, taken if newer, never needed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tests.builders import a_catalog, a_group
from tests.mounted_volume import Volume

from pannier.catalog import Catalog
from pannier.catalog_feed import CatalogNews
from pannier.catalog_rendering import render
from pannier_sidecar.catalog_dir import CatalogDirectory
from pannier_sidecar.catalog_feed import WAIT_SECONDS, CatalogFeed, Serving
from pannier_sidecar.catalog_intake import CatalogIntake
from pannier_sidecar.errors import TierError, TierUnavailable

Said = tuple[int, CatalogNews] | None | TierError


class Operator:
    """Answers as told, and remembers the questions."""

    def __init__(self, *said: Said) -> None:
        self.said = list(said)
        self.asked: list[tuple[int, Serving]] = []
        self.waits = asyncio.Event()
        self.now = 0.0
        self.patience = float(WAIT_SECONDS)
        """How long it keeps a question without news."""

    async def ask(self, heard: int, serving: Serving, wait_seconds: int) -> tuple[int, CatalogNews] | None:
        assert wait_seconds == WAIT_SECONDS
        self.asked.append((heard, serving))
        if not self.said:
            self.waits.set()
            await asyncio.get_running_loop().create_future()
        said = self.said.pop(0)
        if isinstance(said, TierError):
            raise said
        self.now += self.patience if said is None else 0.0
        return said


def news(revision: int, files: Mapping[str, str] | None = None, soft: int = 60) -> tuple[int, CatalogNews]:
    """An answer with a catalog of one group."""
    return revision, CatalogNews(files or render(a_catalog(a_group("a", soft=soft), revision=revision)))


class Feeding:
    """A feed, what it feeds, and how long it slept."""

    def __init__(self, *said: Said) -> None:
        self.operator = Operator(*said)
        self.adopted: list[Catalog] = []
        self.intake = CatalogIntake(self.adopted.append)
        self.slept: list[float] = []
        self.feed = CatalogFeed(
            self.operator,
            self.intake,
            sleep=self._sleep,
            monotonic=lambda: self.operator.now,
            dice=lambda: 1.0,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def ask(self, times: int = 1) -> None:
        for _ in range(times):
            await self.feed.ask()


async def test_news_are_served_and_the_next_question_says_so() -> None:
    """That is how the operator knows that an edit has arrived."""
    it = Feeding(news(5), news(6, soft=30), None)
    await it.ask(3)
    assert [catalog.revision for catalog in it.adopted] == [5, 6]
    assert [(heard, serving.revision) for heard, serving in it.operator.asked] == [(0, 0), (5, 5), (6, 6)]
    assert it.slept == []
    assert it.feed.is_heard


async def test_an_older_catalog_is_not_served_nor_asked_for_again_and_again() -> None:
    """An operator that lost its memory answers with what it has; the sidecar keeps what it serves."""
    it = Feeding(news(9), news(4), None)
    await it.ask(3)
    assert [catalog.revision for catalog in it.adopted] == [9]
    assert [heard for heard, _ in it.operator.asked] == [0, 9, 4]
    assert it.intake.problems == ()


async def test_what_cannot_be_used_changes_nothing_and_is_told() -> None:
    """Files that do not belong together are a problem with a reason; the next ones are taken."""
    damaged = render(a_catalog(a_group("a"), revision=6)) | {"groups-000.json": "{}"}
    it = Feeding(news(5), news(6, damaged), news(7))
    await it.ask(2)
    assert [problem.reason for problem in it.intake.problems] == ["CatalogDamaged"]
    assert it.operator.asked[-1] == (5, Serving(5, ()))
    await it.ask()
    assert it.operator.asked[-1][0] == 6
    assert [catalog.revision for catalog in it.adopted] == [5, 7]
    assert it.intake.problems == ()


async def test_a_group_that_cannot_be_used_is_said_to_the_operator() -> None:
    """By name and reason: the group's status tells who keeps an older version of it."""
    files = dict(render(a_catalog(a_group("a"), a_group("b"), revision=5)))
    unknown = {name: text.replace('"String"', '"Quaternion"', 1) for name, text in files.items()}
    assert unknown != files
    it = Feeding(news(5, _rehashed(unknown)), None)
    await it.ask(2)
    assert it.operator.asked[1] == (5, Serving(5, (("a", "GroupUnreadable"),)))


def _rehashed(files: Mapping[str, str]) -> dict[str, str]:
    """Files whose manifest has the digests of what they are now."""
    manifest = json.loads(files["manifest.json"])
    for entry in manifest["shards"]:
        entry["sha256"] = hashlib.sha256(files[entry["name"]].encode()).hexdigest()
    return {**files, "manifest.json": json.dumps(manifest)}


async def test_an_operator_that_does_not_answer_is_asked_less_and_less() -> None:
    """Serving is none the worse for it; when it answers again, pauses begin anew."""
    down = TierUnavailable("operator", "connection refused")
    it = Feeding(*[down] * 12, None, down)
    await it.ask(12)
    assert it.slept[:3] == [0.1, 0.2, 0.4]
    assert it.slept[-1] == 10.0
    assert not it.feed.is_heard
    assert it.feed.fault == down
    await it.ask(2)
    assert it.slept[-1] == 0.1


async def test_an_operator_that_does_not_wait_is_not_asked_all_the_time() -> None:
    """Whoever answers without news at once, or always with what is known, gets one question a second."""
    it = Feeding(news(5), None, news(5), news(4))
    it.operator.patience = 0.0
    await it.ask(4)
    assert it.slept == [1.0, 1.0, 1.0]


async def test_it_asks_while_entered_and_not_after() -> None:
    """The task ends with the block, also in the middle of a question."""
    it = Feeding(news(5))
    async with it.feed:
        await it.operator.waits.wait()
    assert [catalog.revision for catalog in it.adopted] == [5]
    assert "heard" in repr(it.feed)


async def test_a_mounted_catalog_that_comes_late_is_no_problem(tmp_path: Path) -> None:
    """The kubelet brings what was heard of a minute ago: nothing to complain of, and nothing goes back."""
    it, volume = Feeding(news(5), news(7)), Volume(tmp_path)
    directory = CatalogDirectory(volume.path, it.intake)
    await it.ask(2)
    for revision in (5, 6, 7):
        volume.project(render(a_catalog(a_group("a"), revision=revision)))
        assert not directory.look()
        assert it.intake.problems == ()
    volume.project(render(a_catalog(a_group("a"), revision=8)))
    assert directory.look()
    volume.project(render(a_catalog(a_group("a"), revision=6)))
    assert not directory.look()
    assert [problem.reason for problem in it.intake.problems] == ["CatalogOlder"]
    assert [catalog.revision for catalog in it.adopted] == [5, 7, 8]
