"""``pannier webhook``: the process that adds sidecars to pods. It keeps nothing and asks nobody.

All it needs is in the pod and in its template, so that pods come up with sidecars while the operator, Redis,
DynamoDB and the API server's other clients are down. Any number of replicas run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from pannier_operator.admin import Admin
from pannier_operator.admission.server import MUTATE, AdmissionServer
from pannier_operator.authorities import authority_in
from pannier_operator.injection.injector_metrics import InjectorMetrics
from pannier_operator.injection.injector_settings import InjectorSettings
from pannier_operator.injection.mutation import mutate
from pannier_operator.injection.pod_gate import PodGate
from pannier_operator.injection.template import template_in
from pannier_operator.serving_certificate import ServingCertificate

_log: Final = structlog.stdlib.get_logger(__name__)
_CANNED: Final[dict[str, Any]] = {
    "metadata": {"name": "self-test"},
    "spec": {"containers": [{"name": "app"}]},
}


class Injector:
    """One replica, owned through ``async with``."""

    def __init__(self, settings: InjectorSettings) -> None:
        """Read the template; raises `CannotStart`."""
        self._settings = settings
        self._template = template_in(settings.template, "--template")
        self._metrics = InjectorMetrics(self._gauges)
        self._certificate = ServingCertificate(
            Path(settings.certificate), Path(settings.key), self._metrics.count_certificate
        )
        gate = PodGate(self._template, self._metrics.count_pod, authority_in(settings.authority))
        self.server = AdmissionServer(
            settings.listen, self._certificate, {MUTATE: gate.judge}, flag="--listen"
        )
        self.admin = Admin(settings.admin, self._metrics, live=lambda: None, ready=self._not_ready)
        self._owned = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen; raises `CannotStart`."""
        async with contextlib.AsyncExitStack() as owned:
            await owned.enter_async_context(self.admin)
            await owned.enter_async_context(self.server)
            self._owned = owned.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    def _not_ready(self) -> str | None:
        """A replica counts once it would answer: with a certificate, and a sidecar for a pod that asks."""
        if not self.server.is_serving:
            return "no certificate yet: see --certificate and --key"
        if mutate(_CANNED, self._template).pod is None:
            return "the template gives a plain pod no sidecar"
        return None

    def _gauges(self) -> Mapping[str, float]:
        return {
            "pannier_injector_serving": self.server.is_serving,
            "pannier_injector_certificate_expires_timestamp_seconds": self._certificate.expires_at,
        }

    def __repr__(self) -> str:
        return f"<Injector {self.server!r}>"


def run(settings: InjectorSettings) -> None:
    """Run until SIGTERM or SIGINT; raises `CannotStart`."""
    asyncio.run(_run(settings))


async def _run(settings: InjectorSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Injector(settings) as injector:
        sys.stdout.write(f"webhook url={injector.server.url}{MUTATE} admin={injector.admin.url}\n")
        sys.stdout.flush()
        await stop.wait()
    _log.info("stopped")
