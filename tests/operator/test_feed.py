"""Parts of the catalog endpoint: who waits for news, whom a token proves, whose authority is published."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
from tests.builders import a_group

from pannier.catalog_feed import AUDIENCE, CatalogNews
from pannier.catalog_rendering import parse
from pannier_operator.catalogs.published import NOTHING, Published, by_key
from pannier_operator.clock import ManualClock
from pannier_operator.feed.news import CatalogRoom
from pannier_operator.kube.token_reviews import KEEP_SECONDS, Caller, TokenReviews


class Catalogs:
    """What is published, by namespace."""

    def __init__(self) -> None:
        self.all: dict[str, Published] = {}

    def publish(self, namespace: str, revision: int, **parts: Any) -> None:
        self.all[namespace] = Published(revision, "", by_key((a_group("a"),)), 1, **parts)

    def published(self, namespace: str) -> Published:
        return self.all.get(namespace, NOTHING)


async def test_news_come_at_once_where_there_are_any_and_else_when_they_do() -> None:
    """Only to those of the namespace that they are about."""
    catalogs = Catalogs()
    room = CatalogRoom(catalogs)
    catalogs.publish("shop", 5)
    found = await room.news("shop", None, 0)
    assert found is not None
    files = msgspec.json.decode(gzip.decompress(found.body), type=CatalogNews).files
    parsed = parse({name: text.encode() for name, text in files.items()})
    assert (found.revision, parsed.catalog.revision, len(parsed.catalog.groups)) == (5, 5, 1)
    shop, ads = (asyncio.create_task(room.news(name, 5, 60)) for name in ("shop", "ads"))
    await asyncio.sleep(0)
    assert "2 waiting" in repr(room)
    catalogs.publish("shop", 6)
    room.tell("shop")
    later = await shop
    assert (later is not None and later.revision, ads.done()) == (6, False)
    ads.cancel()


async def test_no_news_are_none_after_the_wait() -> None:
    """Nor is a catalog that could not be read back, of which nothing but the revision is known."""
    catalogs = Catalogs()
    room = CatalogRoom(catalogs)
    assert await room.news("nowhere", None, 0.01) is None
    catalogs.publish("shop", 5)
    assert await room.news("shop", 5, 0.01) is None
    catalogs.publish("shop", 6, sound=False)
    assert await room.news("shop", 5, 0) is None
    assert "0 waiting" in repr(room)


async def test_a_wake_without_news_waits_on() -> None:
    """Every writing of a namespace wakes; what has the same revision is no news."""
    catalogs = Catalogs()
    room = CatalogRoom(catalogs)
    catalogs.publish("shop", 5)
    waiting = asyncio.create_task(room.news("shop", 5, 60))
    await asyncio.sleep(0)
    room.tell("shop")
    await asyncio.sleep(0)
    assert not waiting.done()
    catalogs.publish("shop", 6)
    room.tell("shop")
    assert (await waiting) is not None


class Reviewer:
    """Plays the API server's part of a review, and counts."""

    def __init__(self, **status: Any) -> None:
        self.status = status
        self.bodies: list[Any] = []

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        self.bodies.append(body)
        return {"status": self.status}


def reviews(reviewer: Any, clock: ManualClock | None = None) -> TokenReviews:
    """Make reviews of one API server."""
    return TokenReviews(reviewer, AUDIENCE, (clock or ManualClock()).monotonic)


def a_user(name: str = "system:serviceaccount:shop:app", pod: str = "") -> dict[str, Any]:
    """What a review says of a service account."""
    extra = {"authentication.kubernetes.io/pod-name": [pod]} if pod else {}
    return {"username": name, "extra": extra}


async def test_a_token_proves_namespace_account_and_pod() -> None:
    """Of our audience only."""
    user = a_user(pod="web-1")
    reviewer = Reviewer(authenticated=True, audiences=[AUDIENCE], user=user)
    assert await reviews(reviewer).caller("t") == Caller("shop", "app", "web-1")
    assert reviewer.bodies[0]["spec"] == {"token": "t", "audiences": [AUDIENCE]}
    unbound = Reviewer(authenticated=True, audiences=[AUDIENCE], user=a_user())
    assert await reviews(unbound).caller("t") == Caller("shop", "app", "")


async def test_what_proves_nothing_is_nobody() -> None:
    """A person, a token of another audience or of an API server that knows none, and one that is refused."""
    for status in (
        {"authenticated": True, "audiences": [AUDIENCE], "user": a_user("kubernetes-admin")},
        {"authenticated": True, "audiences": ["vault"], "user": a_user()},
        {"authenticated": True, "user": a_user()},
        {"authenticated": False, "error": "expired"},
        {},
    ):
        assert await reviews(Reviewer(**status)).caller("t") is None


async def test_an_answer_is_remembered_for_a_minute_also_a_refusal() -> None:
    """Long polls come twice a minute from every pod, and from whoever tries tokens."""
    clock = ManualClock()
    reviewer = Reviewer(authenticated=False)
    asked = reviews(reviewer, clock)
    for _ in range(3):
        assert await asked.caller("t") is None
    await asked.caller("other")
    assert len(reviewer.bodies) == 2
    clock.advance(KEEP_SECONDS)
    reviewer.status = {"authenticated": True, "audiences": [AUDIENCE], "user": a_user()}
    assert await asked.caller("t") is not None
    assert "2 kept" in repr(asked)
