"""How to reach the API server, as the kubernetes library finds it: service account or kubeconfig.

The library reads both, runs a kubeconfig's programs (exec) and refreshes OIDC tokens. It is asked again once
a minute, so that a rotated token is taken up; tokens are renewed minutes before they end, so nobody waits for
it. A client certificate is loaded once, also one that a program gave.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import structlog
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.kube_config import KubeConfigLoader

from pannier_operator.errors import CannotStart

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN: Final = "BearerToken"  # noqa: S105 - the library's name for what it sends as Authorization
_RENEW_SECONDS: Final = 60.0
_LOAD_SECONDS: Final = 30.0
_log: Final = structlog.stdlib.get_logger(__name__)

_UNUSABLE: Final = (
    OSError,
    aiohttp.ClientError,
    yaml.YAMLError,
    ConfigException,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)
"""What the library raises over a file, a program or a token server; it checks few types."""

Load = Callable[[Configuration], Awaitable[str]]
"""Fills a configuration with what is true now; gives the namespace that we are in."""


class Credentials:
    """Where the API server is, whom to trust and who we are, kept fresh through ``async with``."""

    def __init__(self, load: Load, origin: str) -> None:
        self.namespace = "default"
        # neither proxies of the environment nor ~/.netrc, which aiohttp would read for every request
        self.configuration = Configuration(client_session_kwargs={"trust_env": False})
        self._load = load
        self._origin = origin
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read everything anew; raises `CannotStart`."""
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                self.namespace = await self._load(self.configuration)
        except _UNUSABLE as error:
            said = str(error).partition("{")[0]  # the library names a node by all that is in it, tokens too
            raise CannotStart(f"{self._origin} cannot be used: {type(error).__name__}: {said}") from None
        keys = self.configuration.api_key
        if _TOKEN in keys:
            keys[_TOKEN] = keys[_TOKEN].strip()  # files of tokens may end in a new line, headers may not

    async def renew(self) -> None:
        """Read everything anew; where that fails, what was read before stands."""
        try:
            await self.load()
        except CannotStart as fault:
            _log.warning("credentials_not_renewed", fault=str(fault))

    @property
    def authorization(self) -> tuple[str, str] | None:
        """Scheme and token as they are now."""
        scheme, _, token = self.configuration.api_key.get(_TOKEN, "").partition(" ")
        return (scheme, token) if token else None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_fresh(), name="credentials")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self.renew()

    def __repr__(self) -> str:
        return f"<Credentials of {self._origin} for {self.configuration.host}>"


async def find_credentials(kubeconfig: str | None, env: Mapping[str, str] = os.environ) -> Credentials:
    """Take the kubeconfig that is named, else the pod's service account, else ``KUBECONFIG``."""
    if kubeconfig is None and (SERVICE_ACCOUNT / "token").exists():
        found = Credentials(_load_service_account, "the service account")
    elif path := kubeconfig or env.get("KUBECONFIG"):
        found = Credentials(_Kubeconfig(path), f"kubeconfig {path}")
    else:
        raise CannotStart("no API server: run in a pod with a service account, or give --kubeconfig FILE")
    await found.load()
    return found


async def _load_service_account(configuration: Configuration) -> str:
    load_incluster_config(configuration, try_refresh_token=False)  # it is loaded again all the same
    return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()


class _Kubeconfig:
    """Loads the current context of a kubeconfig; knows when a program's token ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loader: KubeConfigLoader | None = None

    async def __call__(self, configuration: Configuration) -> str:
        if self._loader is None:
            if not any(map(os.path.exists, map(os.path.expanduser, self._path.split(os.pathsep)))):
                raise ConfigException("there is no such file")
            self._loader = await load_kube_config(
                self._path, client_configuration=configuration, persist_config=False
            )
        else:
            await self._loader.load_and_set(configuration)
        context = self._loader.current_context["context"]
        if context.get("user") and not (configuration.api_key or configuration.cert_file):
            raise ConfigException(f"its user {context['user']!r} gave nothing to authenticate with")
        namespace: str = context.get("namespace", "default")
        return namespace
