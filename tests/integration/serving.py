"""One serving core on the embedded store, with a clock to move and a store to watch, hold and break.

Everything is real but the wall clock, the dice and the moment at which L3 answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Any

import msgspec
from tests.builders import a_catalog
from tests.integration.watched_store import WatchedStore

from pannier.catalog import CatalogGroup
from pannier.option_values import Address
from pannier_sidecar.admission import Admission
from pannier_sidecar.api.read_requests import read_decoder
from pannier_sidecar.api.write_batch import take_in
from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.backfill import L2Writer
from pannier_sidecar.bulkhead import Bulkhead, Limits
from pannier_sidecar.cache_looks import CacheLooks
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.hedged_reads import HedgedReads
from pannier_sidecar.invalidation import Invalidations
from pannier_sidecar.l3_reads import L3Reads
from pannier_sidecar.lease import LeaseBounds
from pannier_sidecar.live_plan import LivePlan
from pannier_sidecar.loader import Loader
from pannier_sidecar.loads import Loads
from pannier_sidecar.metrics import GroupCounters, Metrics
from pannier_sidecar.observer import Observer
from pannier_sidecar.on_demand.authorities import TrustedAuthorities
from pannier_sidecar.on_demand.computed_loads import ComputedLoads
from pannier_sidecar.on_demand.feature_servers import FeatureServers
from pannier_sidecar.on_demand.server_client import ServerClient
from pannier_sidecar.plan import ReadPlan
from pannier_sidecar.read_path import ReadAnswer, ReadPath
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.shadow import Shadow
from pannier_sidecar.shared_flight import SharedFlight
from pannier_sidecar.strong_looks import StrongLooks
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l2_subscription import Heartbeat, Subscription
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore
from pannier_sidecar.underway import Underway
from pannier_sidecar.write_path import WritePath, WriteResult

PATIENT = LeaseBounds(longest_us=2_000_000, shortest_us=2_000_000)
"""Leases outlast any hiccup of the machine that runs the tests."""
QUICK = Heartbeat(ping_seconds=0.05, connect_seconds=0.5, longest_pause_seconds=0.1)
"""So that a test need not wait seconds for what takes seconds."""


@dataclass
class Core:
    """A serving core in a test's hands."""

    live: LivePlan
    clock: ManualClock
    store: WatchedStore
    l1: L1Cache
    recent: RecentWrites
    metrics: Metrics
    loads: Loads
    loader: Loader
    reads: ReadPath
    writes: WritePath
    writer: L2Writer | None
    shadow: Shadow
    observer: Observer
    admission: Admission
    underway: Underway
    subscription: Subscription | None
    naps: asyncio.Queue[asyncio.Future[None]]
    """Who sleeps, in order; waking up is the test's."""
    waits_for_lease: asyncio.Event
    """Set as soon as a load waits for what another sidecar brings to L2."""

    @property
    def plan(self) -> ReadPlan:
        """What is served now."""
        assert self.live.current is not None
        return self.live.current

    async def ask(self, *reads: dict[str, Any], int64: str = "number", **options: Any) -> ReadAnswer:
        """Send a request the way the HTTP surface does."""
        request = read_decoder.decode(msgspec.json.encode({"reads": reads, **options}))
        if int64 == "number":
            body = self.reads.answer_from_l1(request, self.plan)
            if body is not None:
                return ReadAnswer(200, body)
        return await self.reads.read(request, self.plan, int64_strings=int64 == "string")

    async def read(self, *reads: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Results of a request that must succeed."""
        answer = await self.ask(*reads, **options)
        assert answer.status == 200, answer.body
        return list(json.loads(answer.body)["results"])

    async def row(self, group: str, row_id: str, **read: Any) -> dict[str, Any]:
        """One row, explained."""
        options = {"explain": read.pop("explain", True), "timeout_ms": read.pop("timeout_ms", None)}
        (result,) = await self.read({"group": group, "ids": [row_id], **read}, **options)
        assert "rows" in result, result
        return dict(result["rows"][0])

    async def write(self, group: str, row_id: str, **item: Any) -> WriteResult:
        """Write one row; gives its verdict."""
        (result,) = await self.write_all({"group": group, "id": row_id, **item})
        return result

    async def write_all(self, *items: dict[str, Any]) -> list[WriteResult]:
        """Write a batch."""
        body = msgspec.json.encode({"writes": items})
        return await self.writes.write(take_in(self.plan, body, self.clock.now_us()))

    async def settle(self) -> None:
        """Let loads and what they put into L2 come to rest."""
        await self.loads.settled()
        await self.shadow.settled()
        if self.writer is not None:
            assert await self.writer.drain(5)

    def counters(self, group: str) -> GroupCounters:
        """What was counted of a group."""
        return self.metrics.group(group)

    def deploy(self, *groups: CatalogGroup) -> None:
        """Swap the catalog."""
        self.live.adopt(a_catalog(*groups))


@contextlib.asynccontextmanager
async def serving(
    directory: Path,
    *groups: CatalogGroup,
    redis_url: str | None = None,
    clock: ManualClock | None = None,
    l1_bytes: int = 16 << 20,
    timeout_seconds: float = 5.0,
    l2_timeout_seconds: float = 2.0,
    store: Store | None = None,
    dice: float = 0.5,
    reads_in_flight: int = 1024,
    lease_bounds: LeaseBounds = PATIENT,
    listen_url: str | None = None,
    heartbeat: Heartbeat = QUICK,
    feature_servers: Mapping[str, Address] = MappingProxyType({}),
    on_demand_ca: Path | None = None,
) -> AsyncIterator[Core]:
    """Open a core over a store in ``directory``, or over one that is shared with another core.

    With a ``listen_url`` it hears what other cores announce; it listens from the beginning.
    """
    clock = clock or ManualClock()
    metrics, recent, underway = Metrics(), RecentWrites(), Underway()
    live, sender = LivePlan(metrics, clock), secrets.token_bytes(8)
    live.adopt(a_catalog(*groups))
    async with contextlib.AsyncExitStack() as owned:
        if store is None:
            store = await owned.enter_async_context(EmbeddedStore(directory, clock))
        watched = WatchedStore(store)
        plans = [] if live.current is None else live.current.groups.values()
        await watched.create_tables([plan for plan in plans if plan.group.storage_mode != "None"])
        tier = writer = None
        if redis_url is not None:
            tier = await owned.enter_async_context(
                RedisTier(redis_url, clock=clock, metrics=metrics, timeout_seconds=l2_timeout_seconds)
            )
            writer = await owned.enter_async_context(
                L2Writer(
                    tier, clock=clock, metrics=metrics, dice=lambda: dice, latest=live.latest, sender=sender
                )
            )
        l1 = L1Cache(l1_bytes, dice=lambda: dice, can_refresh=lambda: tier is None or tier.state == "closed")
        arrivals = Arrivals(l1=l1, recent=recent, clock=clock, writer=writer, dice=lambda: dice)
        room = Bulkhead("l3_read", Limits(128, 128, 5.0), metrics)
        asking = HedgedReads(room, clock=clock, metrics=metrics, hedge_share=0.0)
        shadow = await owned.enter_async_context(
            Shadow(l1=l1, l2=tier, arrivals=arrivals, clock=clock, metrics=metrics)
        )
        waits_for_lease = asyncio.Event()

        async def wait_for_lease(seconds: float) -> None:
            waits_for_lease.set()
            await asyncio.sleep(seconds)

        l3, shared = L3Reads(watched, asking, clock, metrics, timeout_seconds), None
        if tier is not None and writer is not None:
            shared = SharedFlight(
                tier,
                writer,
                arrivals,
                l3.load_us,
                metrics=metrics,
                bounds=lease_bounds,
                holder=token_hex(8),
                sleep=wait_for_lease,
                dice=lambda: dice,
            )
        loader = await owned.enter_async_context(
            Loader(
                arrivals=arrivals,
                l2=tier,
                l3=l3,
                shadow=shadow,
                shared=shared,
                underway=underway,
                clock=clock,
                metrics=metrics,
            )
        )
        subscription = None
        if listen_url is not None:
            invalidations = Invalidations(
                sender=sender, l1=l1, recent=recent, underway=underway, clock=clock, metrics=metrics
            )
            subscription = Subscription(listen_url, invalidations, dice=lambda: dice, heartbeat=heartbeat)
            invalidations.on_channels = subscription.want
            live.watch(invalidations.follow)
            await owned.enter_async_context(subscription)
            await until(lambda: subscription.is_listening)
        client = await owned.enter_async_context(
            ServerClient(trusted=TrustedAuthorities(on_demand_ca), development=feature_servers)
        )
        computed = await owned.enter_async_context(
            ComputedLoads(FeatureServers(client, clock, metrics), l1, clock, metrics)
        )
        naps: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

        async def sleep(_seconds: float) -> None:
            nap: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            naps.put_nowait(nap)
            await nap

        writes = await owned.enter_async_context(
            WritePath(
                store=watched,
                l1=l1,
                recent=recent,
                writer=writer,
                underway=underway,
                clock=clock,
                metrics=metrics,
                timeout_seconds=timeout_seconds,
                forget_computed=computed.forget,
                sleep=sleep,
            )
        )
        admission = Admission(
            reads=reads_in_flight,
            writes=reads_in_flight,
            delay_target_us=5_000,
            metrics=metrics,
            dice=lambda: dice,
        )
        # not entered: the test says when samples are checked
        observer = Observer(
            plan=lambda: core.plan,
            caches=CacheLooks(l1=l1, l2=tier, arrivals=arrivals, clock=clock),
            l3=StrongLooks(watched, clock, metrics, timeout_seconds),
            clock=clock,
            metrics=metrics,
            dice=lambda: dice,
        )
        loads = Loads(loader, computed)
        reads = ReadPath(
            l1=l1,
            loads=loads,
            lane=admission.reads,
            shadow=shadow,
            observer=observer,
            clock=clock,
            metrics=metrics,
            timeout_seconds=timeout_seconds,
            dice=lambda: dice,
        )
        core = Core(
            live,
            clock,
            watched,
            l1,
            recent,
            metrics,
            loads,
            loader,
            reads,
            writes,
            writer,
            shadow,
            observer,
            admission,
            underway,
            subscription,
            naps,
            waits_for_lease,
        )
        yield core


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another process has to do first; fails when it does not come about."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.002)
