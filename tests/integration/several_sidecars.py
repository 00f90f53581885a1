"""Several serving cores over one store and one Redis, which hear of each other's writes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from tests.integration.serving import Core, serving, until

from pannier.catalog import CatalogGroup
from pannier.keys import cache_key
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

LONG: dict[str, Any] = {"soft": 500, "hard": 900, "negative": 500}
"""Nothing ends by itself while a test lasts."""


@contextlib.asynccontextmanager
async def sidecars(
    directory: Path,
    *groups: CatalogGroup,
    redis_urls: Sequence[str],
    listen_urls: Sequence[str] | None = None,
    store: Store | None = None,
    **options: Any,
) -> AsyncIterator[list[Core]]:
    """Open one core per URL, with one clock for all; they listen at the same URLs unless others are named."""
    clock = options.pop("clock", None) or ManualClock()
    async with contextlib.AsyncExitStack() as owned:
        if store is None:
            store = await owned.enter_async_context(EmbeddedStore(directory, clock))
        yield [
            await owned.enter_async_context(
                serving(
                    directory,
                    *groups,
                    redis_url=redis_url,
                    listen_url=listen_url,
                    clock=clock,
                    store=store,
                    **options,
                )
            )
            for redis_url, listen_url in zip(redis_urls, listen_urls or redis_urls, strict=True)
        ]


def heard(core: Core, *events: str, group: str = "clicks") -> int:
    """How many ids a core was told of by others, with one of these effects (any, if none is named)."""
    counts = core.counters(group).invalidations
    foreign = {"unheld", "known", "dropped", "amended"}
    return sum(n for event, n in counts.items() if event in (events or foreign))


async def hears(core: Core, count: int, *events: str) -> None:
    """Wait until a core has been told of so many ids."""
    await until(lambda: heard(core, *events) >= count)


async def forget(redis_url: str, core: Core, row_id: str, group: str = "clicks") -> None:
    """Let Redis lose one id."""
    async with Redis.from_url(redis_url) as client:
        assert await client.delete(cache_key(core.plan.groups[group].cache_prefix, row_id)) == 1
