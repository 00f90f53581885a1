"""The composition root: the only place that makes clients, wires tiers to paths and paths to sockets.

`build` gives a running sidecar in an ``async with`` block (tests and ingestion workers use it, and
`pannier_sidecar.process`, which is ``pannier serve``). Nothing here answers a request.
"""
# Longer than 300 lines because every part of a sidecar is made here, for a reader to see all of them at once.

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from pannier.catalog_feed import AUTHORITY_FILE, ON_DEMAND_AUTHORITY_FILE
from pannier.errors import Problem
from pannier.options import SettingsInvalid
from pannier_sidecar.admission import Admission
from pannier_sidecar.api.admin import AdminRoutes
from pannier_sidecar.api.dispatch import Dispatcher
from pannier_sidecar.api.routes import DataRoutes
from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.backfill import L2Writer
from pannier_sidecar.backfill_queue import DEFAULT_LIMITS
from pannier_sidecar.bulkhead import Bulkhead, Limits
from pannier_sidecar.cache_looks import CacheLooks
from pannier_sidecar.catalog_dir import CatalogDirectory
from pannier_sidecar.catalog_feed import CatalogFeed
from pannier_sidecar.catalog_intake import CatalogIntake
from pannier_sidecar.clock import Clock, SystemClock
from pannier_sidecar.drain import Drain
from pannier_sidecar.errors import TierError
from pannier_sidecar.exposition import Exposition
from pannier_sidecar.feed_client import FeedClient
from pannier_sidecar.invalidation import Invalidations
from pannier_sidecar.l1_tending import L1Tending
from pannier_sidecar.l3_opening import L3, open_l3
from pannier_sidecar.l3_reads import L3Reads
from pannier_sidecar.lease import LeaseBounds
from pannier_sidecar.live_plan import LivePlan
from pannier_sidecar.loader import Loader
from pannier_sidecar.loads import Loads
from pannier_sidecar.loop_delay import LoopDelay
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.observer import Observer
from pannier_sidecar.on_demand.authorities import TrustedAuthorities
from pannier_sidecar.on_demand.computed_loads import ComputedLoads
from pannier_sidecar.on_demand.feature_servers import FeatureServers
from pannier_sidecar.on_demand.server_client import ServerClient
from pannier_sidecar.read_path import ReadPath
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.server import HttpServer
from pannier_sidecar.settings import Settings
from pannier_sidecar.shadow import Shadow
from pannier_sidecar.shared_flight import SharedFlight
from pannier_sidecar.specs import catalog_from_directory
from pannier_sidecar.status import PhaseHolder, StatusReport
from pannier_sidecar.strong_looks import StrongLooks
from pannier_sidecar.table_health import TableHealth
from pannier_sidecar.tier_events import CircuitLog
from pannier_sidecar.tiers.bulkheads import GuardedReader
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l2_subscription import Subscription
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.underway import Underway
from pannier_sidecar.version import VERSION
from pannier_sidecar.write_path import WritePath

_ADMIN_SECONDS: Final = 0.2
FIRST_LOOK_SECONDS: Final = 10.0
"""How long a start with --create-tables waits for the tables before it serves without."""


@dataclass(slots=True)
class Sidecar:
    """A running sidecar. The paths are usable without HTTP; the servers know their ports."""

    settings: Settings
    plan: LivePlan
    metrics: Metrics
    admission: Admission
    reads: ReadPath
    writes: WritePath
    status: StatusReport
    tables: TableHealth
    data: HttpServer
    admin: HttpServer


@dataclass(slots=True)
class _Parts:
    """What is built first and wired into everything else."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    plan: LivePlan
    admission: Admission
    drain: Drain
    owned: AsyncExitStack
    last_steps: list[Callable[[], Coroutine[Any, Any, Any]]] = field(default_factory=list)
    """What is finished after the last answer and before anything is closed, the last one first."""


@contextlib.asynccontextmanager
async def build(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Sidecar]:
    """Start everything that the settings name, and stop it in order: sockets, writes under way, tiers.

    Starts without Redis and without DynamoDB. Raises `SpecInvalid`, `SettingsInvalid` or `CannotListen`.
    """
    metrics = Metrics()
    async with AsyncExitStack() as owned:
        admission = await _open_admission(settings, metrics, owned)
        clock = clock or SystemClock()
        drain = Drain(settings.drain_seconds)
        parts = _Parts(settings, clock, metrics, LivePlan(metrics, clock), admission, drain, owned)
        metrics.watch_circuits(CircuitLog(metrics).changed)
        problems = await _open_catalog(parts)
        l3 = await open_l3(settings, parts.clock, metrics, owned)
        reads, writes = await _open_paths(parts, l3)
        tables = await _open_tables(parts, l3.store)
        yield await _open_servers(parts, reads, writes, tables, problems)


async def _open_admission(settings: Settings, metrics: Metrics, owned: AsyncExitStack) -> Admission:
    admission = Admission(
        reads=settings.reads_in_flight,
        writes=settings.writes_in_flight,
        delay_target_us=settings.loop_delay_ms * 1_000,
        metrics=metrics,
        dice=random.random,
    )
    if settings.loop_delay_ms:
        clocks = (lambda: time.monotonic_ns() // 1_000), (lambda: time.thread_time_ns() // 1_000)
        await owned.enter_async_context(LoopDelay(admission.observe, *clocks))
    return admission


async def _open_catalog(parts: _Parts) -> Callable[[], Sequence[Problem]]:
    """Serve manifests as they are now, or follow a mounted catalog; gives what is wrong with it."""
    settings = parts.settings
    if settings.specs is not None:
        catalog = await asyncio.to_thread(
            catalog_from_directory,
            settings.specs,
            revision=parts.clock.now_us() // 1_000,
            namespace=settings.namespace,
            table_prefix=settings.table_prefix,
        )
        parts.plan.adopt(catalog)
        return tuple
    mounted = cast("Path", settings.catalog)
    intake = CatalogIntake(parts.plan.adopt)
    await parts.owned.enter_async_context(CatalogDirectory(mounted, intake))
    parts.metrics.watch_catalog(lambda: [problem.reason for problem in intake.problems])
    if settings.operator_url is not None:
        authority = settings.operator_ca or mounted / AUTHORITY_FILE
        client = FeedClient(
            settings.operator_url,
            authority=authority,
            first_authority=settings.operator_authority,
            token=settings.operator_token,
        )
        await parts.owned.enter_async_context(client)
        feed = await parts.owned.enter_async_context(CatalogFeed(client, intake))
        parts.metrics.watch_feed(lambda: feed.is_heard)
    return lambda: intake.problems


async def _open_paths(parts: _Parts, l3: L3) -> tuple[ReadPath, WritePath]:
    settings, clock, metrics, owned = parts.settings, parts.clock, parts.metrics, parts.owned
    sender = secrets.token_bytes(8)
    l2, writer = await _open_shared_cache(parts, sender)
    l1 = L1Cache(
        settings.l1_bytes,
        dice=random.random,
        can_refresh=lambda: metrics.circuits.get("l2", "closed") == "closed",
    )
    metrics.watch_l1(l1.usage, settings.l1_bytes)
    await owned.enter_async_context(L1Tending(l1, clock))
    recent, underway = RecentWrites(), Underway()
    arrivals = Arrivals(l1=l1, recent=recent, clock=clock, writer=writer, dice=random.random)
    l3_reads = L3Reads(l3.store, l3.reads, clock, metrics, settings.l3_timeout_ms / 1_000)
    shadow = await owned.enter_async_context(
        Shadow(l1=l1, l2=l2, arrivals=arrivals, clock=clock, metrics=metrics)
    )
    shared = None
    if l2 is not None and writer is not None:
        bounds, name = LeaseBounds(longest_us=settings.l3_timeout_ms * 1_000), secrets.token_hex(8)
        shared = SharedFlight(
            l2, writer, arrivals, l3_reads.load_us, metrics=metrics, bounds=bounds, holder=name
        )
    loader = await owned.enter_async_context(
        Loader(
            arrivals=arrivals,
            l2=l2,
            l3=l3_reads,
            shadow=shadow,
            shared=shared,
            underway=underway,
            clock=clock,
            metrics=metrics,
        )
    )
    computed = await owned.enter_async_context(
        ComputedLoads(await _open_feature_servers(parts), l1, clock, metrics)
    )
    caches = CacheLooks(l1=l1, l2=l2, arrivals=arrivals, clock=clock)
    looks = StrongLooks(l3.store, clock, metrics, settings.l3_timeout_ms / 1_000)
    observer = await owned.enter_async_context(
        Observer(plan=parts.plan.get, caches=caches, l3=looks, clock=clock, metrics=metrics)
    )
    loads = Loads(loader, computed)
    parts.last_steps.append(loads.settled)
    invalidations = Invalidations(
        sender=sender,
        l1=l1,
        recent=recent,
        underway=underway,
        clock=clock,
        metrics=metrics,
        observed=observer.heard,
    )
    await _open_subscription(parts, invalidations)
    budget, write_budget = settings.request_timeout_ms / 1_000, settings.write_timeout_ms / 1_000
    reads = ReadPath(
        l1=l1,
        loads=loads,
        lane=parts.admission.reads,
        shadow=shadow,
        observer=observer,
        clock=clock,
        metrics=metrics,
        timeout_seconds=budget,
    )
    writes = WritePath(
        store=l3.writes,
        l1=l1,
        recent=recent,
        writer=writer,
        underway=underway,
        clock=clock,
        metrics=metrics,
        timeout_seconds=write_budget,
        forget_computed=computed.forget,
    )
    return reads, await owned.enter_async_context(writes)


async def _open_feature_servers(parts: _Parts) -> FeatureServers:
    settings = parts.settings
    try:
        trusted = TrustedAuthorities(settings.on_demand_ca, _published_authority(settings.catalog))
    except OSError as error:  # ssl's are among them
        problem = Problem("--on-demand-ca", "Unreadable", f"is no PEM of certificates: {error}")
        raise SettingsInvalid([problem]) from error
    client = ServerClient(trusted=trusted, development=settings.on_demand_at)
    return FeatureServers(await parts.owned.enter_async_context(client), parts.clock, parts.metrics)


def _published_authority(catalog: Path | None) -> Path | None:
    """Where the operator says who vouches for feature servers."""
    return catalog / ON_DEMAND_AUTHORITY_FILE if catalog is not None else None


async def _open_shared_cache(parts: _Parts, sender: bytes) -> tuple[GuardedReader | None, L2Writer | None]:
    """Open L2 and the writer behind it; without a Redis there is neither."""
    settings, metrics = parts.settings, parts.metrics
    if settings.redis_url is None:
        return None, None
    url, timeout_seconds = settings.redis_url.reveal(), settings.l2_timeout_ms / 1_000
    try:
        tier = RedisTier(url, clock=parts.clock, metrics=metrics, timeout_seconds=timeout_seconds)
    except TierError as error:
        raise SettingsInvalid([Problem("--redis-url", error.reason, error.message)]) from error
    await parts.owned.enter_async_context(tier)
    metrics.circuit("l2", tier.state)
    limits = DEFAULT_LIMITS._replace(entries=settings.backfill_entries)
    writer = await parts.owned.enter_async_context(
        L2Writer(
            tier,
            clock=parts.clock,
            metrics=metrics,
            dice=random.random,
            latest=parts.plan.latest,
            limits=limits,
            sender=sender,
        )
    )
    metrics.watch_backfill(writer.usage)
    parts.last_steps.append(lambda: writer.drain(parts.drain.left_seconds()))
    reads = Limits(settings.l2_reads_in_flight, settings.l2_reads_in_flight, timeout_seconds / 2)
    return GuardedReader(tier, Bulkhead("l2_read", reads, metrics)), writer


async def _open_subscription(parts: _Parts, invalidations: Invalidations) -> None:
    """Listen to what other sidecars announce, for the groups of whatever catalog is served."""
    if parts.settings.redis_url is None:
        return
    parts.metrics.subscription.state = "starting"
    subscription = Subscription(parts.settings.redis_url.reveal(), invalidations, dice=random.random)
    invalidations.on_channels = subscription.want
    parts.plan.watch(invalidations.follow)
    await parts.owned.enter_async_context(subscription)


async def _open_tables(parts: _Parts, store: Store) -> TableHealth:
    create = parts.settings.create_tables
    tables = TableHealth(store, parts.plan.get, create=create)
    if create:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(tables.look(), FIRST_LOOK_SECONDS)
    return await parts.owned.enter_async_context(tables)


async def _open_servers(
    parts: _Parts,
    reads: ReadPath,
    writes: WritePath,
    tables: TableHealth,
    catalog_problems: Callable[[], Sequence[Problem]],
) -> Sidecar:
    """Open the admin port first and close it last, so that probes see the start and the end.

    In between, on the way out: the data port answers what is under way, then the last steps follow.
    """
    settings, metrics, owned = parts.settings, parts.metrics, parts.owned
    phase = PhaseHolder()
    status = _status(parts, tables, phase, catalog_problems)
    admin_routes = AdminRoutes(status, Exposition(metrics, version=VERSION)).routes()
    admin = HttpServer(
        Dispatcher(admin_routes, metrics, _new_error_id), tcp=settings.admin, drain=Drain(_ADMIN_SECONDS)
    )
    await owned.enter_async_context(admin)
    owned.push_async_callback(_finish, parts)
    routes = DataRoutes(
        reads,
        writes,
        lane=parts.admission.writes,
        plan=parts.plan.get,
        metrics=metrics,
        clock=parts.clock,
    )
    parts.last_steps.append(routes.settled)
    data = HttpServer(
        Dispatcher(routes.routes(), metrics, _new_error_id),
        tcp=settings.http,
        uds=settings.uds,
        drain=parts.drain,
    )
    await owned.enter_async_context(data)
    phase.now = "serving"
    owned.callback(parts.drain.begin)
    owned.callback(phase.stop)
    return Sidecar(settings, parts.plan, metrics, parts.admission, reads, writes, status, tables, data, admin)


async def _finish(parts: _Parts) -> None:
    """Writes whose client has gone, loads nobody waits for, then what they left for Redis."""
    for step in reversed(parts.last_steps):
        await parts.drain.within(step())


def _status(
    parts: _Parts, tables: TableHealth, phase: PhaseHolder, catalog_problems: Callable[[], Sequence[Problem]]
) -> StatusReport:
    return StatusReport(
        version=VERSION,
        settings=parts.settings,
        plan=parts.plan.get,
        metrics=parts.metrics,
        tables=tables,
        clock=parts.clock,
        started_us=parts.clock.now_us(),
        phase=phase.get,
        catalog_problems=catalog_problems,
    )


def _new_error_id() -> str:
    return secrets.token_hex(8)
