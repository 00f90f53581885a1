"""kopf, embedded: watch events of FeatureGroups -> our callback. The only module that imports kopf.

kopf runs in a thread with a loop of its own, since it cancels every task of its loop when it ends. It has
one handler, of events, and keeps nothing on the objects (ADR 15). Settings are those that its known stalls
call for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import kopf
import structlog

from pannier.crd import PLURAL
from pannier.spec_base import GROUP, VERSION
from pannier_operator.kube.credentials import Credentials

_log: Final = structlog.stdlib.get_logger(__name__)
_TOKEN_LIFE: Final = timedelta(minutes=5)
"""How long kopf may use a token before it asks for it again."""
_STOP_SECONDS: Final = 10.0
_LINGER_SECONDS: Final = 0.1
"""How long kopf keeps an object's task for the next event of that object."""
_CLOSING_SECONDS: Final = 0.25
"""How long TLS connections that kopf has closed need the loop to be so, as aiohttp says."""
SILENCE_SECONDS: Final = 70.0
"""How long a stream may bring nothing before it is opened anew; the API server sends a bookmark a minute."""

Seen = Callable[[str | None, Mapping[str, Any]], None]


class Watch:
    """The watch of all FeatureGroups, owned through ``async with``; `ended` tells why it ended."""

    def __init__(
        self,
        credentials: Credentials,
        namespaces: Sequence[str],
        seen: Seen,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._credentials = credentials
        self._namespaces = namespaces
        self._seen = seen
        self._silence_seconds = silence_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(self._ended)

    async def join(self) -> None:
        """Return when the watch has ended, which it never does by itself; raises what ended it."""
        error = await asyncio.shield(self._ended)
        if error is not None:
            raise error

    # -- in the thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch())
        except Exception as caught:  # noqa: BLE001 - whatever ended it is raised by `join`
            error = caught
        with contextlib.suppress(RuntimeError):  # our own loop is closed already
            self._loop.call_soon_threadsafe(self._note_end, error)

    def _note_end(self, error: BaseException | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def _watch(self) -> None:
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # signals are ours, it knows
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(self._silence_seconds),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=list(self._namespaces),
                stop_flag=self._stop,
            )
        finally:
            self._stop.set()  # a thread of kopf's waits for it
            await asyncio.sleep(_CLOSING_SECONDS)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            renewal = asyncio.run_coroutine_threadsafe(self._credentials.renew(), self._loop)
            await asyncio.wrap_future(renewal)
            return _connection(self._credentials)

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def event(event: Mapping[str, Any], **_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # our own loop is closed already
                self._loop.call_soon_threadsafe(self._seen, event["type"], event["object"])

        return registry

    def __repr__(self) -> str:
        where = ", ".join(self._namespaces) or "all namespaces"
        return f"<Watch of {where} {'running' if self._thread.is_alive() else 'stopped'}>"


def _connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """Tell kopf what the kubernetes library found, so that there is one source of credentials."""
    found = credentials.configuration
    scheme, token = credentials.authorization or (None, None)
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        scheme=scheme,
        token=token,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        proxy_url=found.proxy,
        default_namespace=credentials.namespace,
        expiration=datetime.now(UTC) + _TOKEN_LIFE,
    )


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf copies every object twice to see what changed in it, also where no handler asks for that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Find an object without anything to compare."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Nothing was kept of an object."""

    def store(self, **_: Any) -> None:
        """Keep nothing on an object."""


def _settings(silence_seconds: float) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # the CRD is known, namespaces are named or all
    settings.posting.enabled = False
    settings.admission.managed = None
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDifferences()
    # kopf has a task per object, which lingers and holds the object. Ours only hands events on: how many
    # groups are worked on at once is for `work_queue`; a limit here would let 20 objects through per linger
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = _LINGER_SECONDS
    settings.watching.inactivity_timeout = silence_seconds
    settings.watching.client_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 200
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = [1, 2, 3, 5, 8, 13, 21] * 1000  # an API server may be away for long
    settings.process.ultimate_exiting_timeout = None
    return settings
