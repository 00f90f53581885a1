"""The composition root: the only place that makes clients and starts tasks.

`Operator` is one replica: it stands by until it has the Lease, then leads until it loses it or is told to
stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from pannier_operator.admin import Admin
from pannier_operator.admission.gate import Gate
from pannier_operator.admission.neighbourhood import Neighbourhood
from pannier_operator.admission.server import VALIDATE, AdmissionServer
from pannier_operator.certificates.keeper import CertificateKeeper, Kept
from pannier_operator.clock import Clock, SystemClock
from pannier_operator.crd_check import check_crd
from pannier_operator.errors import KubeFault
from pannier_operator.feed.feed_server import FeedServer
from pannier_operator.injection.template import template_in
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.events import Events
from pannier_operator.kube.leases import Leases
from pannier_operator.kube.pods import Pods
from pannier_operator.kube.tls_objects import TlsObjects
from pannier_operator.leader import Leader
from pannier_operator.leadership import Leadership, Terms
from pannier_operator.metrics import Metrics
from pannier_operator.missed_pods import MissedPods, Watchdog
from pannier_operator.replica import Patience, Replica
from pannier_operator.serving_certificate import ServingCertificate
from pannier_operator.settings import Settings

_log: Final = structlog.stdlib.get_logger(__name__)
_SILENT_SECONDS: Final = 60.0
_START_RETRY_SECONDS: Final = 2.0


class Operator:
    """One replica, owned through ``async with``."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, patience: Patience | None = None
    ) -> None:
        self._settings = settings
        self._identity = settings.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._metrics = Metrics()
        self._leader: Leader | None = None
        self._owned = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Make what a replica needs, leading or not; raises `CannotStart`."""
        async with contextlib.AsyncExitStack() as owned:
            await self._compose(owned)
            self._owned = owned.pop_all()
        return self

    async def _compose(self, owned: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        credentials = await owned.enter_async_context(await find_credentials(settings.kubeconfig))
        self._replica = Replica(
            settings=settings,
            credentials=credentials,
            identity=self._identity,
            metrics=self._metrics,
            clock=self._clock,
            patience=self._patience,
        )
        # the Lease is how the right to write is had, so its own client does not ask for it
        self._api = await owned.enter_async_context(
            KubeApi(credentials, may_write=lambda: None, count=self._metrics.count_request)
        )
        terms = Terms(
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.lease_renew_seconds,
            retry_seconds=settings.lease_retry_seconds,
        )
        leases = Leases(self._api, settings.lease_namespace or credentials.namespace, settings.lease_name)
        self.leadership = Leadership(leases, self._identity, terms, self._clock)
        self.admin = await owned.enter_async_context(
            Admin(settings.admin, self._metrics, live=self._not_alive, ready=self._not_ready)
        )
        self._webhook = await self._open_webhook(owned)
        self._feed = await self._open_feed(owned)
        self._keeper = await self._open_keeper(owned, leases.namespace)
        self._missed = await self._open_missed(owned, leases.namespace)
        self._metrics.watch(self._gauges)

    async def _open_webhook(self, owned: contextlib.AsyncExitStack) -> AdmissionServer | None:
        """Serve the webhook, on a replica that stands by as well: it only reads."""
        settings = self._settings
        if not (settings.admission and settings.admission_certificate and settings.admission_key):
            return None
        # a client of its own: a burst of admissions must not keep the Lease waiting
        api = await self._open_api(owned)
        prefix = settings.table_prefix
        around = Neighbourhood(api, settings.namespaces, cluster_id=settings.cluster_id, table_prefix=prefix)
        gate = Gate(
            around,
            self._clock,
            table_prefix=prefix,
            count=self._metrics.count_admission,
            allowed=settings.on_demand_services,
        )
        certificate = self._certificate(settings.admission_certificate, settings.admission_key)
        webhook = AdmissionServer(settings.admission, certificate, {VALIDATE: gate.judge})
        return await owned.enter_async_context(webhook)

    async def _open_feed(self, owned: contextlib.AsyncExitStack) -> FeedServer | None:
        """Listen for sidecars, on a replica that stands by as well: it says that another one leads."""
        settings = self._settings
        if not (settings.catalog_feed and settings.admission_certificate and settings.admission_key):
            return None
        certificate = self._certificate(settings.admission_certificate, settings.admission_key)
        server = FeedServer(settings.catalog_feed, certificate, self._metrics.count_feed)
        return await owned.enter_async_context(server)

    def _certificate(self, chain: str, key: str) -> ServingCertificate:
        return ServingCertificate(Path(chain), Path(key), self._metrics.count_certificate)

    async def _open_api(self, owned: contextlib.AsyncExitStack) -> KubeApi:
        """A client that writes only while this replica leads."""
        credentials, count = self._replica.credentials, self._metrics.count_request
        return await owned.enter_async_context(
            KubeApi(credentials, may_write=self.leadership.may_write, count=count)
        )

    async def _open_missed(self, owned: contextlib.AsyncExitStack, namespace: str) -> MissedPods | None:
        """Look for pods without their sidecar while leading, where the injector's template is known."""
        settings = self._settings
        if settings.sidecar_template is None:
            return None
        template, api = (
            template_in(settings.sidecar_template, "--sidecar-template"),
            await self._open_api(owned),
        )
        events = Events(api, self._clock, self._identity, api_version="v1", kind="Pod")
        evicts = settings.evict_missed_pods and settings.injector_service is not None
        return MissedPods(
            Pods(api, settings.namespaces, namespace),
            events,
            template,
            self._clock,
            watchdog=Watchdog(settings.injector_service or "") if evicts else None,
        )

    async def _open_keeper(
        self, owned: contextlib.AsyncExitStack, namespace: str
    ) -> CertificateKeeper | None:
        """Keep the webhooks' certificate while leading, where nobody else does."""
        settings = self._settings
        if settings.certificate_secret is None:
            return None
        api = await self._open_api(owned)
        kept = Kept(settings.certificate_secret, settings.certificate_names, settings.certificate_hooks)
        return CertificateKeeper(TlsObjects(api, namespace), kept, self._clock)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, lead, and give the Lease back; raises `LeadershipLost` where it was lost."""
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await self._until(stopped, self._check_crd())
            await self._until(stopped, self.leadership.acquire())
            if not stop.is_set():
                await self._lead(stopped)
        finally:
            stopped.cancel()
            await self.leadership.release()

    async def _lead(self, stopped: asyncio.Task[Any]) -> None:
        leader = Leader(self._replica, self.leadership)
        holding = asyncio.create_task(self.leadership.hold(), name="lease")
        try:
            async with leader:
                self._leader = leader
                if self._feed is not None:
                    self._feed.desk = leader.desk
                work = [asyncio.create_task(leader.run(), name="leader")]
                if self._keeper is not None:
                    work.append(asyncio.create_task(self._keeper.run(), name="certificates"))
                if self._missed is not None:
                    work.append(asyncio.create_task(self._missed.run(), name="missed pods"))
                await self._first_of(stopped, holding, *work)
        finally:
            self._leader = None
            if self._feed is not None:
                self._feed.desk = None
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _until(self, stopped: asyncio.Task[Any], work: Awaitable[None]) -> None:
        await self._first_of(stopped, asyncio.ensure_future(work))

    @staticmethod
    async def _first_of(stopped: asyncio.Task[Any], *tasks: asyncio.Future[None]) -> None:
        """Wait for the first to end and cancel the others; raises what it raised."""
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if task is not stopped:
                task.result()

    async def _check_crd(self) -> None:
        """Make sure of the CRD once the API server answers; raises `CannotStart`."""
        while True:
            try:
                await check_crd(self._api)
            except KubeFault as fault:
                _log.warning("api_server", fault=str(fault))
                await asyncio.sleep(_START_RETRY_SECONDS)
            else:
                return

    # -- what is told

    def _not_alive(self) -> str | None:
        if self._leader is not None:
            return self._leader.fault()
        silent = self.leadership.silent_seconds
        return f"no part taken in the election for {silent:.0f} s" if silent > _SILENT_SECONDS else None

    def _not_ready(self) -> str | None:
        if self._leader is not None and not self._leader.is_complete:
            return "the groups are being listed"
        for what, server in (("webhook", self._webhook), ("catalog endpoint", self._feed)):
            if server is not None and not server.is_serving:
                return f"the {what} has no certificate yet: see --admission-certificate"
        return self._not_alive()

    def _gauges(self) -> Mapping[str, float]:
        told = self._leader.gauges() if self._leader else {}
        return {
            "pannier_operator_leader": self.leadership.is_leader,
            "pannier_operator_webhook_serving": self._webhook is not None and self._webhook.is_serving,
            "pannier_operator_missed_pods": self._missed.count if self._missed else 0,
            "pannier_operator_evicted_pods": self._missed.evicted if self._missed else 0,
            **told,
        }

    def __repr__(self) -> str:
        return f"<Operator {self._identity}>"
