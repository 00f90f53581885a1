"""Catalogs for sidecars that wait for them: told at once of what the publisher has written."""

from __future__ import annotations

import asyncio
import gzip
from collections import defaultdict
from typing import Final, NamedTuple, Protocol

import msgspec

from pannier.catalog_feed import CatalogNews
from pannier_operator.catalogs.catalog_content import catalog_files
from pannier_operator.catalogs.published import Published

_LEVEL: Final = 1
"""Of gzip: specs shrink to a tenth by any."""


class Publishes(Protocol):
    """What is published: `pannier_operator.catalogs.publisher`."""

    def published(self, namespace: str) -> Published:
        """What a namespace's sidecars are told."""
        ...


class News(NamedTuple):
    """A catalog as it goes out."""

    revision: int
    body: bytes
    """JSON, gzip."""


class CatalogRoom:
    """Where sidecars wait for news of their namespace."""

    def __init__(self, publisher: Publishes) -> None:
        self._publisher = publisher
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._bodies: dict[str, News] = {}

    def tell(self, namespace: str) -> None:
        """Wake all who wait for news of a namespace."""
        for waiting in self._waiting.pop(namespace, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def news(self, namespace: str, heard: int | None, wait_seconds: float) -> News | None:
        """Give the catalog if it is of another revision, else wait; None = nothing has come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        while (found := self._found(namespace, heard)) is None and loop.time() < until:
            waiting: asyncio.Future[None] = loop.create_future()
            self._waiting[namespace].add(waiting)
            try:
                async with asyncio.timeout_at(until):
                    await waiting
            except TimeoutError:
                break
            finally:
                self._waiting[namespace].discard(waiting)
        return None if found is None else await self._rendered(namespace, found)

    def _found(self, namespace: str, heard: int | None) -> Published | None:
        published = self._publisher.published(namespace)
        is_news = published.sound and published.revision and published.revision != heard
        return published if is_news else None

    async def _rendered(self, namespace: str, published: Published) -> News:
        held = self._bodies.get(namespace)
        if held is None or held.revision != published.revision:
            body = await asyncio.to_thread(_render, published)
            held = self._bodies[namespace] = News(published.revision, body)
        return held

    def __repr__(self) -> str:
        return f"<CatalogRoom with {sum(map(len, self._waiting.values()))} waiting>"


def _render(published: Published) -> bytes:
    """Write the files as the ConfigMaps have them; compressed once for all who wait."""
    files = catalog_files(list(published.groups.values()), published.revision)
    return gzip.compress(msgspec.json.encode(CatalogNews(files)), _LEVEL, mtime=0)
