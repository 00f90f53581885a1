"""What a replica does while it leads: everything that writes, from the first list to the last requeue."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import structlog

from pannier_operator.authorities import beside_catalogs
from pannier_operator.aws.call_budget import CallBudget
from pannier_operator.aws.dynamodb_client import ClientSettings, DynamoDB
from pannier_operator.catalogs.group_index import GroupIndex, Key, SeenGroup
from pannier_operator.catalogs.publisher import Publisher
from pannier_operator.cluster_identity import find_cluster_id
from pannier_operator.farewells import Farewells
from pannier_operator.feed.desk import Desk, LeadersPart
from pannier_operator.group_tables import GroupTables
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.config_maps import CatalogMaps
from pannier_operator.kube.events import Events
from pannier_operator.kube.feature_groups import FeatureGroups
from pannier_operator.leadership import Leadership
from pannier_operator.liveness import EventFlow
from pannier_operator.on_demand.server_watch import a_server_watch
from pannier_operator.planning.findings import parse_moment
from pannier_operator.reconciler import Parts, Reconciler
from pannier_operator.replica import Replica
from pannier_operator.reporter import Listener, Reporter
from pannier_operator.resync import Resync
from pannier_operator.shared_tables import SharedKey, SharedTables, read_shared_tables
from pannier_operator.table_keeper import TableKeeper
from pannier_operator.watching import Watch
from pannier_operator.work_queue import Done, Errand, WorkQueue

_log: Final = structlog.stdlib.get_logger(__name__)
FIRST_LOOK_SECONDS: Final = 30.0
"""Groups that were reconciled before are looked at again within this after a start."""
OVERDUE_SECONDS: Final = 600.0
"""How overdue a group may be before the process counts as stuck."""


class Leader:
    """The leading replica's work, owned through ``async with``."""

    def __init__(self, replica: Replica, leadership: Leadership) -> None:
        self._settings = replica.settings
        self._credentials = replica.credentials
        self._identity = replica.identity
        self._metrics = replica.metrics
        self._clock = replica.clock
        self._patience = replica.patience
        self._leadership = leadership
        self._dice = random.Random()
        self._owned = contextlib.AsyncExitStack()
        self.is_complete = False
        self.desk: Desk | None = None
        """What sidecars are answered from; None = nowhere is listened for them."""

    async def __aenter__(self) -> Self:
        """Make all parts; raises `CannotStart` and `KubeFault`."""
        async with contextlib.AsyncExitStack() as owned:
            await self._compose(owned)
            self._owned = owned.pop_all()
        return self

    async def _compose(self, owned: contextlib.AsyncExitStack) -> None:
        settings, clock, may_write = self._settings, self._clock, self._leadership.may_write
        api = await owned.enter_async_context(
            KubeApi(self._credentials, may_write=may_write, count=self._metrics.count_request)
        )
        cluster_id = settings.cluster_id or await find_cluster_id(api)
        self._index = GroupIndex()
        self._groups = FeatureGroups(api, settings.namespaces)
        self._budget = CallBudget(settings.aws_calls_per_second, clock)
        dynamodb = await owned.enter_async_context(
            DynamoDB(
                ClientSettings(endpoint_url=settings.dynamodb_endpoint_url),
                budget=self._budget,
                clock=clock,
                may_write=may_write,
                count=self._metrics.count_aws_call,
            )
        )
        keeper = TableKeeper(dynamodb, clock, self._metrics.count_drift)
        self._shared = SharedTables(
            read_shared_tables(settings.shared_tables), keeper, cluster_id=cluster_id, wake=self._wake
        )
        self._tables = GroupTables(
            keeper, self._shared, clock, cluster_id=cluster_id, table_prefix=settings.table_prefix
        )
        self._publisher = await owned.enter_async_context(
            Publisher(
                CatalogMaps(api, settings.namespaces),
                clock,
                is_known=self._is_known,
                delay_seconds=settings.catalog_delay_ms / 1000,
                beside=beside_catalogs(settings.catalog_authority, settings.on_demand_ca),
            )
        )
        self._publisher.wake = self._wake
        if settings.catalog_feed is not None:
            lent = LeadersPart(self._wake_to_tell, lambda: self.is_complete)
            self.desk = Desk(self._publisher, api, settings, clock, lent)
        reporter = Reporter(
            self._groups,
            Events(api, clock, self._identity),
            self._index,
            clock,
            Listener(
                told=lambda seen, found: self._metrics.note_conditions(seen.key, found), edited=self._edited
            ),
        )
        self._servers = a_server_watch(api, settings, clock, self._wake, self._patience.server_seconds)
        farewells = Farewells(keeper, self._publisher, self._groups, self._index, clock)
        self._reconciler = Reconciler(
            Parts(
                index=self._index,
                tables=self._tables,
                publisher=self._publisher,
                farewells=farewells,
                reporter=reporter,
                served=self.desk.watch if self.desk is not None else None,
                servers=self._servers,
                table_prefix=settings.table_prefix,
            )
        )
        self._flow = EventFlow(
            self._groups, self._index, clock, self._wake, check_seconds=self._patience.check_seconds
        )
        self._resync = Resync(self, self._dice)
        self._queue: WorkQueue[Key | SharedKey] = WorkQueue(
            self._work, workers=settings.workers, clock=clock, dice=self._dice
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    async def run(self) -> None:
        """List, watch, reconcile, go over all again, until something ends or the task is cancelled."""
        await self._first_list()
        silence = self._patience.silence_seconds
        watch = Watch(self._credentials, self._settings.namespaces, self._seen, silence_seconds=silence)
        async with self._queue, watch, self._servers:
            work = {
                "watch": watch.join(),
                "queue": self._queue.join(),
                "feature servers": self._servers.join(),
                "resync": self._resync.run(),
                "event flow": self._flow.run(),
            }
            if self.desk is not None:
                work["served"] = self.desk.watch.run()
            tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_list(self) -> None:
        """Know every group before anything is published: a catalog without a group takes it from sidecars."""
        for key in self._shared.keys:
            self._queue.add(key)
        async for document in self._groups.all():  # one by one: all of them at once are most of our memory
            self._shared.recall(document)
            seen = self._index.put(document)
            if seen is None:
                continue
            if (document.get("status") or {}).get("observedGeneration") == seen.generation:
                delay = self._dice.uniform(0, FIRST_LOOK_SECONDS)
                self._queue.add(seen.key, "resync", delay_seconds=delay)
            else:
                self._queue.add(seen.key)
        await self._publisher.check(await self._publisher.existing())
        self.is_complete = True
        _log.info("listed", groups=len(self._index), shared_tables=len(self._shared.keys))

    # -- one part at a time

    async def _work(self, key: Key | SharedKey, errand: Errand) -> Done:
        began = self._clock.monotonic()
        if isinstance(key, SharedKey):
            done = await self._shared.reconcile(key, "resync" if errand == "served" else errand)
        elif errand == "served":
            return await self._reconciler.tell_served(key)
        else:
            done = await self._reconciler.reconcile(key, errand)
        self._metrics.count_pass(done, self._clock.monotonic() - began)
        return done

    def _seen(self, event: str | None, document: Mapping[str, Any]) -> None:
        """Take in what the watch brings; in our own loop."""
        metadata = document["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        self._flow.note_event(key.namespace)
        if event == "DELETED":
            if self._index.remove(key, metadata["uid"]):
                self._metrics.forget(key)
                self._queue.add(key)
        elif (seen := self._index.put(document)) is not None:
            self._edited(seen)

    def _edited(self, seen: SeenGroup) -> None:
        self._reconciler.publish_ahead(seen)
        self._queue.add(seen.key)

    def _wake(self, key: Key) -> None:
        self._queue.add(key)

    def _wake_to_tell(self, key: Key) -> None:
        self._queue.add(key, "served")

    def _is_known(self, key: Key) -> bool:
        seen = self._index.get(key)
        return seen is not None and not seen.deleting and not self._servers.refuses(key)

    # -- for the resync

    def parts(self) -> Sequence[Key | SharedKey | str]:
        """Return keys of groups, of shared tables, and namespaces with a catalog."""
        return [*self._index.keys(), *self._shared.keys, *self._publisher.namespaces]

    def period_seconds(self) -> float:
        """How long a resync has to take now."""
        return self._budget.resync_seconds(self._tables.calls_of_a_pass(), self._settings.resync_seconds)

    async def revisit(self, part: Key | SharedKey | str) -> None:
        """Have a part looked at."""
        if isinstance(part, str):
            await self._publisher.check([part])
        else:
            self._queue.add(part, "resync")

    # -- what is told

    def fault(self) -> str | None:
        """Say why this process is no longer alive; None = it is."""
        if not self._flow.flows:
            return "the watch brings no events"
        overdue = self._queue.oldest_seconds
        if overdue > OVERDUE_SECONDS:
            return f"a group has waited {overdue:.0f} s for a worker"
        return None

    def gauges(self) -> Mapping[str, float]:
        """Return the values of gauges while leading."""
        now = self._clock.now()
        return {
            "pannier_operator_groups": len(self._index),
            "pannier_operator_queue_keys": len(self._queue),
            "pannier_operator_queue_age_seconds": self._queue.oldest_seconds,
            "pannier_operator_watch_last_event_age_seconds": self._flow.last_event_seconds,
            "pannier_operator_watch_events_missed": self._flow.missed,
            "pannier_operator_resync_period_seconds": self.period_seconds(),
            "pannier_operator_aws_budget_ratio": self._budget.level,
            "pannier_operator_terminating_age_seconds": max(self._terminating(now), default=0.0),
            "pannier_operator_catalog_writes": self._publisher.writes,
            **(self.desk.gauges() if self.desk is not None else {}),
        }

    def _terminating(self, now: datetime) -> Iterator[float]:
        for seen in self._index.all():
            since = parse_moment(seen.deleting_since)
            if since is not None:
                yield (now - since).total_seconds()

    def __repr__(self) -> str:
        return f"<Leader of {len(self._index)} groups>"
