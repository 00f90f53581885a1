"""Four serving cores over one Redis and one DynamoDB emulator, whose reads a proxy counts."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from redis.asyncio import Redis
from tests.builders import a_group
from tests.fault_proxy import FaultProxy
from tests.integration.dynamodb_stores import settings
from tests.integration.serving import PATIENT, Core, serving

from pannier.catalog import CatalogGroup
from pannier.keys import lease_key
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.lease import LeaseBounds, LeaseEvent
from pannier_sidecar.specs import catalog_from_directory
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

SIDECARS = 4
READS = ("GetItem", "BatchGetItem", "Query")

_tables = itertools.count()


@dataclass
class Fleet:
    """Sidecars that share everything below L1."""

    sidecars: Sequence[Core]
    proxy: FaultProxy
    redis: Any
    clock: ManualClock

    async def write(self, group: str, row_id: str, **features: str) -> None:
        """Store a row through the first sidecar, and let every cache forget it."""
        extra = {"timestamp": 1} if self.sidecars[0].plan.groups[group].is_timeline else {}
        written = await self.sidecars[0].write(group, row_id, features=features, **extra)
        assert written.verdict == "written"
        await self.settle()
        await self.redis.flushall()
        for core in self.sidecars:
            core.l1.segment(core.plan.groups[group]).clear()
        self.clock.advance(61)  # no sidecar remembers the write
        self.proxy.calls.clear()

    async def read_at_once(self, group: str, row_id: str, readers: int) -> list[dict[str, Any]]:
        """Let so many readers ask, spread over all sidecars; gives their rows when everything has settled."""
        reads = [self.sidecars[i % SIDECARS].row(group, row_id) for i in range(readers)]
        rows = await asyncio.gather(*reads)
        await self.settle()
        return rows

    async def hold_lease(self, group: str, row_id: str, for_ms: int) -> None:
        """Hold the lease as a sidecar that died with it."""
        plan = self.sidecars[0].plan.groups[group]
        await self.redis.set(lease_key(plan.cache_prefix, row_id), "a dead sidecar", px=for_ms)

    async def settle(self) -> None:
        """Let all loads come to rest."""
        await asyncio.gather(*(core.settle() for core in self.sidecars))

    @property
    def l3_reads(self) -> int:
        """Calls that read from DynamoDB."""
        return sum(self.proxy.calls[operation] for operation in READS)

    def leases(self, group: str) -> Counter[LeaseEvent]:
        """What became of leases, over all sidecars."""
        return sum((Counter(core.counters(group).leases) for core in self.sidecars), Counter())


@contextlib.asynccontextmanager
async def a_fleet(
    directory: Path,
    dynamodb_url: str,
    redis_url: str,
    *groups: CatalogGroup,
    lease_bounds: LeaseBounds = PATIENT,
    **options: Any,
) -> AsyncIterator[Fleet]:
    """Start four sidecars."""
    clock = ManualClock()
    async with contextlib.AsyncExitStack() as owned:
        proxy = await owned.enter_async_context(FaultProxy(dynamodb_url))
        store = await owned.enter_async_context(DynamoDBStore(settings(proxy.url)))
        sidecars = [
            await owned.enter_async_context(
                serving(
                    directory,
                    *groups,
                    redis_url=redis_url,
                    clock=clock,
                    store=store,
                    lease_bounds=lease_bounds,
                    **options,
                )
            )
            for _ in range(SIDECARS)
        ]
        redis: Any = Redis.from_url(redis_url, protocol=2)
        owned.push_async_callback(redis.aclose)
        yield Fleet(sidecars, proxy, redis, clock)


def a_table_group(*, timeline: bool, **policy: Any) -> CatalogGroup:
    """Make a group with a table of its own: the emulator is shared with other tests."""
    known = {"local_soft": 10, "local_hard": 40, "remote_soft": 50, "remote_hard": 600, **policy}
    return a_group(timeline=timeline, table=_a_table(), **known)


def with_a_table(manifest: dict[str, Any], directory: Path) -> tuple[Path, tuple[CatalogGroup, ...]]:
    """Write a manifest with a table of its own; gives the directory and its groups as sidecars see them."""
    manifest = copy.deepcopy(manifest)
    manifest["spec"]["storage"]["tableName"] = _a_table()
    specs = directory / "specs"
    specs.mkdir()
    (specs / "group.yaml").write_text(yaml.safe_dump(manifest))
    return specs, catalog_from_directory(specs, revision=1).groups


def _a_table() -> str:
    return f"pannier.shop.stampede-{next(_tables)}"
