"""The composition root: the only place that makes clients, wires tiers to paths and paths to sockets.

`build` gives a running sidecar in an ``async with`` block (tests and ingestion workers use it); `run` is
``pannier serve``. Nothing here answers a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import structlog
import uvloop

from pannier.errors import Problem
from pannier_sidecar import logs
from pannier_sidecar.api.admin import AdminRoutes
from pannier_sidecar.api.dispatch import Dispatcher
from pannier_sidecar.api.routes import DataRoutes
from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.backfill import L2Writer
from pannier_sidecar.backfill_queue import DEFAULT_LIMITS
from pannier_sidecar.catalog_dir import CatalogDirectory
from pannier_sidecar.clock import Clock, SystemClock
from pannier_sidecar.errors import TierError
from pannier_sidecar.exposition import Exposition
from pannier_sidecar.garbage import spare_the_collector
from pannier_sidecar.l3_reads import L3Reads
from pannier_sidecar.live_plan import LivePlan
from pannier_sidecar.loader import Loader
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.read_path import ReadPath
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.server import HttpServer
from pannier_sidecar.settings import Settings, SettingsInvalid
from pannier_sidecar.specs import catalog_from_directory
from pannier_sidecar.status import PhaseHolder, StatusReport
from pannier_sidecar.table_health import TableHealth
from pannier_sidecar.tier_events import BadValueLog, CircuitLog
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore
from pannier_sidecar.version import VERSION
from pannier_sidecar.write_path import WritePath

FIRST_LOOK_SECONDS: Final = 10.0
"""How long a start with --create-tables waits for the tables before it serves without."""

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Sidecar:
    """A running sidecar. The paths are usable without HTTP; the servers know their ports."""

    settings: Settings
    plan: LivePlan
    metrics: Metrics
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
    owned: AsyncExitStack


@contextlib.asynccontextmanager
async def build(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Sidecar]:
    """Start everything that the settings name, and stop it in order: sockets, writes under way, tiers.

    Starts without Redis and without DynamoDB. Raises `SpecInvalid`, `SettingsInvalid` or `CannotListen`.
    """
    metrics = Metrics()
    async with AsyncExitStack() as owned:
        parts = _Parts(settings, clock or SystemClock(), metrics, LivePlan(metrics), owned)
        metrics.watch_circuits(CircuitLog(metrics).changed)
        problems = await _open_catalog(parts)
        store = await _open_store(parts)
        reads, writes = await _open_paths(parts, store)
        tables = await _open_tables(parts, store)
        yield await _open_servers(parts, reads, writes, tables, problems)


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
    directory = await parts.owned.enter_async_context(CatalogDirectory(mounted, parts.plan.adopt))
    parts.metrics.watch_catalog(lambda: [problem.reason for problem in directory.problems])
    return lambda: directory.problems


async def _open_store(parts: _Parts) -> Store:
    settings = parts.settings
    store: Store
    if settings.store == "dynamodb":
        # importing the AWS client takes a third of the start, which a laptop without AWS need not wait for
        from pannier_sidecar.tiers.l3_dynamodb import DynamoDBSettings, DynamoDBStore  # noqa: PLC0415

        client = DynamoDBSettings(endpoint_url=settings.dynamodb_endpoint_url)
        store = DynamoDBStore(client, on_bad_value=BadValueLog().heard, dice=random.Random())
        flag = "--store"
    else:
        store = EmbeddedStore(settings.data_dir, parts.clock)
        flag = "--data-dir"
    try:
        return await parts.owned.enter_async_context(store)
    except TierError as error:
        raise SettingsInvalid([Problem(flag, error.reason, error.message)]) from error


async def _open_paths(parts: _Parts, store: Store) -> tuple[ReadPath, WritePath]:
    settings, clock, metrics, owned = parts.settings, parts.clock, parts.metrics, parts.owned
    l1 = L1Cache(settings.l1_bytes, dice=random.random)
    metrics.watch_l1(l1.usage, settings.l1_bytes)
    recent = RecentWrites()
    l2, writer = await _open_shared_cache(parts)
    arrivals = Arrivals(l1=l1, recent=recent, clock=clock, writer=writer, dice=random.random)
    l3 = L3Reads(store, clock, metrics, settings.l3_timeout_ms / 1_000)
    loader = await owned.enter_async_context(
        Loader(arrivals=arrivals, l2=l2, l3=l3, clock=clock, metrics=metrics)
    )
    budget, write_budget = settings.request_timeout_ms / 1_000, settings.write_timeout_ms / 1_000
    reads = ReadPath(l1=l1, loader=loader, clock=clock, metrics=metrics, timeout_seconds=budget)
    writes = WritePath(
        store=store,
        l1=l1,
        recent=recent,
        writer=writer,
        clock=clock,
        metrics=metrics,
        timeout_seconds=write_budget,
    )
    return reads, await owned.enter_async_context(writes)


async def _open_shared_cache(parts: _Parts) -> tuple[RedisTier | None, L2Writer | None]:
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
        L2Writer(tier, clock=parts.clock, metrics=metrics, dice=random.random, limits=limits)
    )
    metrics.watch_backfill(writer.usage)
    parts.owned.push_async_callback(writer.drain, settings.drain_seconds)
    return tier, writer


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
    """Open the admin port first and close it last, so that probes see the start and the end."""
    settings, metrics, owned = parts.settings, parts.metrics, parts.owned
    phase = PhaseHolder()
    status = _status(parts, tables, phase, catalog_problems)
    admin_routes = AdminRoutes(status, Exposition(metrics, version=VERSION)).routes()
    admin = HttpServer(
        Dispatcher(admin_routes, metrics, _new_error_id), tcp=settings.admin, shutdown_seconds=1.0
    )
    await owned.enter_async_context(admin)
    routes = DataRoutes(reads, writes, plan=parts.plan.get, metrics=metrics, clock=parts.clock)
    owned.push_async_callback(routes.settle, settings.drain_seconds)
    data = HttpServer(
        Dispatcher(routes.routes(), metrics, _new_error_id),
        tcp=settings.http,
        uds=settings.uds,
        shutdown_seconds=settings.drain_seconds,
    )
    await owned.enter_async_context(data)
    phase.now = "serving"
    owned.callback(phase.stop)
    return Sidecar(settings, parts.plan, metrics, reads, writes, status, tables, data, admin)


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


async def serve(settings: Settings, stop: asyncio.Event, announce: Callable[[Sidecar], None]) -> None:
    """Serve until told to stop, then finish what is under way."""
    async with build(settings) as sidecar:
        spare_the_collector()
        announce(sidecar)
        await stop.wait()
        _log.info("stopping", drain_seconds=settings.drain_seconds)
    _log.info("stopped")


def run(settings: Settings) -> None:
    """Run ``pannier serve`` in this process until SIGTERM or SIGINT."""
    logs.configure(settings.log_format, settings.log_level)
    uvloop.run(_serve_until_signal(settings))


async def _serve_until_signal(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told_to_stop(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # who insists gets the default: an end without drain

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)
    await serve(settings, stop, _announce)


def _announce(sidecar: Sidecar) -> None:
    """Say where it listens: in the log for machines, on stdout for whoever started it (ports may be 0)."""
    redis = {"redis": str(sidecar.settings.redis_url)} if sidecar.settings.redis_url else {}
    _log.info(
        "serving",
        version=VERSION,
        data=sidecar.data.urls,
        admin=sidecar.admin.urls,
        store=sidecar.settings.store,
        **redis,
    )
    if sys.stdout.isatty() and sys.stderr.isatty() and _log.isEnabledFor(logging.INFO):
        return  # both lines would stand below each other on the same terminal
    sys.stdout.write(f"serving data={','.join(sidecar.data.urls)} admin={','.join(sidecar.admin.urls)}\n")
    sys.stdout.flush()
