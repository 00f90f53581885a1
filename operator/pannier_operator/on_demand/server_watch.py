"""Looks at the feature servers of all groups, in workers of its own, and wakes a group when there is news.

A reconcile never waits for a server: it reads what the last look found. How many looks are under way is
bounded by the workers, how often one comes by `servers.Looks`, so that servers that hang hold up each other
at worst, and no group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Final, Self

import structlog

from pannier.catalog import CatalogGroup
from pannier_operator.authorities import authority_in
from pannier_operator.catalogs.group_index import Key
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.services import Services
from pannier_operator.on_demand.handshake import Handshake
from pannier_operator.on_demand.options import Permission
from pannier_operator.on_demand.references import refused_server
from pannier_operator.on_demand.servers import (
    LOOK_AGAIN_SECONDS,
    Looks,
    Server,
    judge_endpoints,
    judge_service,
)
from pannier_operator.planning.findings import Finding
from pannier_operator.planning.plans import NOT_SEEN
from pannier_operator.settings import Settings
from pannier_operator.work_queue import Done, Errand, WorkQueue

_log: Final = structlog.stdlib.get_logger(__name__)
_WORKERS: Final = 8
_FORBIDDEN: Final = 403


class ServerWatch:
    """What is known of the servers of all groups; owned through ``async with``."""

    def __init__(  # noqa: PLR0913 (what it looks at, and the means)
        self,
        services: Services,
        handshake: Handshake,
        clock: Clock,
        wake: Callable[[Key], None],
        *,
        allowed: Collection[Permission] = (),
        most_seconds: float = LOOK_AGAIN_SECONDS,
    ) -> None:
        """``wake``: have a group reconciled; ``allowed``: which Services of other namespaces may be used.

        ``most_seconds``: the longest between two looks.
        """
        self._most_seconds = most_seconds
        self._allowed = allowed
        self._refused: set[Key] = set()
        self._services = services
        self._handshake = handshake
        self._wake = wake
        self._servers: dict[Key, Server] = {}
        self._looks: dict[Key, Looks] = {}
        self._queue: WorkQueue[Key] = WorkQueue(self._look, workers=_WORKERS, clock=clock)

    def finding(self, key: Key, server: Server, before: Finding | None) -> Finding:
        """Say what is known, and have the server looked at; ``before`` stands until the first look."""
        if self._servers.get(key) != server:
            is_first = key not in self._servers
            self._servers[key] = server
            self._looks[key] = Looks(before if is_first else None)
            self._queue.add(key)
        return self._looks[key].told or NOT_SEEN

    def refusal(self, key: Key, group: CatalogGroup) -> Finding | None:
        """Say why a group may not have its server; None = it may. Remembered until it is asked anew."""
        refusal = refused_server(key.namespace, group.on_demand, self._allowed)
        if refusal is None:
            self._refused.discard(key)
        else:
            self.forget(key)
            self._refused.add(key)
        return refusal

    def refuses(self, key: Key) -> bool:
        """Whether the last that was asked of a group was refused."""
        return key in self._refused

    def forget(self, key: Key) -> None:
        """Look no more: the group is gone, or computed by nobody."""
        self._refused.discard(key)
        self._servers.pop(key, None)
        self._looks.pop(key, None)
        self._queue.forget(key)

    async def join(self) -> None:
        """Run until a worker ends; raises what ended it."""
        await self._queue.join()

    async def _look(self, key: Key, _errand: Errand) -> Done:
        server = self._servers.get(key)
        if server is None:
            return Done()
        try:
            found = await self._found(server)
        except KubeFault as fault:
            _log.warning("api_server", group=str(key), fault=str(fault))
            if fault.status != _FORBIDDEN:
                return Done(failed=True)
            found = Finding("Unknown", "ServiceUnreadable", f"{server.where}: {fault.message}")
        if self._servers.get(key) is not server:
            return Done()  # edited meanwhile: that has put it into the queue again
        before = self._looks[key]
        after = self._looks[key] = before.after(found)
        if after.told != before.told:
            self._wake(key)
        return Done(again_seconds=min(after.again_seconds, self._most_seconds))

    async def _found(self, server: Server) -> Finding:
        fault = judge_service(server, await self._services.get(server.namespace, server.service))
        if fault is None:
            slices = await self._services.slices(server.namespace, server.service)
            fault = judge_endpoints(server, slices)
        return fault or await self._handshake.shake(server)

    async def __aenter__(self) -> Self:
        await self._handshake.__aenter__()
        await self._queue.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._queue.__aexit__(kind, error, trace)
        await self._handshake.__aexit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<ServerWatch of {len(self._servers)} servers>"


def a_server_watch(
    api: KubeApi, settings: Settings, clock: Clock, wake: Callable[[Key], None], most_seconds: float
) -> ServerWatch:
    """Make the watch of a leader."""
    return ServerWatch(
        Services(api),
        Handshake(settings.on_demand_at, authority_in(settings.on_demand_ca)),
        clock,
        wake,
        allowed=settings.on_demand_services,
        most_seconds=most_seconds,
    )
