"""A cluster as a team sees it, with operators beside it as child processes.

The API server is the real one of `tests.control_plane`; operators are ``pannier operator`` with a kubeconfig,
and reach their DynamoDB emulator through a proxy that counts and breaks calls. Everything waits in the test's
own loop, so that the proxy goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.control_plane import ApiServer, User
from tests.fault_proxy import FaultProxy
from tests.manifests import a_manifest
from tests.permissions import grant_operator
from tests.servers import HOST, Server

from pannier.catalog import CatalogGroup
from pannier.catalog_rendering import parse
from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION
from pannier_operator.app import Operator
from pannier_operator.clock import Clock
from pannier_operator.replica import Patience
from pannier_operator.settings import load

OK = 200
LEASE_NAMESPACE = "default"
"""That of the kubeconfig."""
_WAIT_SECONDS = 45.0
_POLL_SECONDS = 0.1
_numbers = itertools.count()
MERGE = "application/merge-patch+json"


class OperatorProcess(Server):
    """One replica of the operator."""

    name = "pannier-operator"

    def __init__(self, user: User, dynamodb_url: str, **flags: str) -> None:
        super().__init__()
        self._kubeconfig = user.kubeconfig
        self._flags = {"dynamodb-endpoint-url": dynamodb_url, "log-format": "json", **flags}

    def command(self) -> list[str]:
        flags = {"kubeconfig": str(self._kubeconfig), "admin": f"{HOST}:{self.port}", **self._flags}
        pannier = str(Path(sys.executable).parent / "pannier")
        return [
            pannier,
            "operator",
            *(f"--{name}" if value == "true" else f"--{name}={value}" for name, value in flags.items()),
        ]

    def answers(self) -> bool:
        status, _ = self.ask("/livez")
        return status == OK

    def ask(self, path: str) -> tuple[int, str]:
        """Ask the admin port."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def leads(self) -> bool:
        """Whether it says that it holds the Lease."""
        return "pannier_operator_leader 1.0" in self.ask("/metrics")[1]


class Cluster:
    """FeatureGroups of one namespace, made for one test."""

    def __init__(self, api: ApiServer, proxy: FaultProxy, namespace: str) -> None:
        self.api = api
        self.proxy = proxy
        self.namespace = namespace
        self.namespaces = [self.namespace]
        self.user = api.user(f"operator-{self.namespace}")

    async def call(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json"
    ) -> Any:
        """One request that has to succeed."""
        status, answer = await asyncio.to_thread(self.api.call, method, path, body, content)
        assert status < 300, (status, answer)
        return answer

    async def exists(self, path: str) -> bool:
        """Whether there is an object."""
        return (await asyncio.to_thread(self.api.call, "GET", path))[0] == OK

    def path(self, name: str = "") -> str:
        """Path of a group, or of all."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURAL}{f'/{name}' if name else ''}"

    async def make_namespace(self, name: str) -> None:
        """Make a namespace."""
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        if name not in self.namespaces:
            self.namespaces.append(name)

    async def apply(self, changes: dict[str, Any] | None = None) -> str:
        """Make a group of `a_manifest`; gives its name."""
        manifest = a_manifest(changes)
        manifest["metadata"]["namespace"] = self.namespace
        await self.call("POST", self.path(), manifest)
        name: str = manifest["metadata"]["name"]
        return name

    async def edit(self, name: str, spec: Mapping[str, Any]) -> None:
        """Merge into the spec."""
        await self.call("PATCH", self.path(name), {"spec": spec}, content=MERGE)

    async def delete(self, name: str) -> None:
        """Delete a group."""
        await self.call("DELETE", self.path(name))

    async def get(self, name: str) -> Any:
        """A group as it is."""
        return await self.call("GET", self.path(name))

    async def condition(self, name: str, kind: str = "Ready") -> tuple[str, str]:
        """Status and reason of a condition that is about the current generation, else nothing."""
        found = await self.get(name)
        for condition in (found.get("status") or {}).get("conditions", ()):
            if condition["type"] == kind:
                current = condition["observedGeneration"] == found["metadata"]["generation"]
                return (condition["status"], condition["reason"]) if current else ("", "")
        return ("", "")

    async def ready(self, name: str) -> Any:
        """Wait for a group to be ready in its current generation; gives it."""

        async def is_ready() -> bool:
            return (await self.condition(name))[0] == "True"

        await self.until(is_ready)
        return await self.get(name)

    async def told(self, name: str, reason: str, kind: str = "Ready") -> None:
        """Wait for a reason."""

        async def is_told() -> bool:
            return (await self.condition(name, kind))[1] == reason

        await self.until(is_told)

    async def gone(self, name: str) -> None:
        """Wait for a group to be gone."""

        async def is_gone() -> bool:
            return not await self.exists(self.path(name))

        await self.until(is_gone)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Poll until it holds."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not await holds():  # noqa: ASYNC110 - it is another process that changes
                await asyncio.sleep(_POLL_SECONDS)

    async def catalog(self, namespace: str | None = None) -> dict[str, CatalogGroup]:
        """What sidecars of a namespace are told, by groupName."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/configmaps/pannier-catalog"
        if not await self.exists(path):
            return {}
        data = (await self.call("GET", path))["data"]
        parsed = parse({name: text.encode() for name, text in data.items()})
        return {group.group_name: group for group in parsed.catalog.groups}

    async def versions(self) -> dict[str, str]:
        """ResourceVersion of every object that the operator could write in the namespace."""
        paths = (self.path(), f"/api/v1/namespaces/{self.namespace}/configmaps")
        found = {}
        for path in paths:
            for item in (await self.call("GET", path))["items"]:
                found[f"{path} {item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
        return found


@contextlib.asynccontextmanager
async def a_cluster(
    api: ApiServer, dynamodb_url: str, namespace: str | None = None
) -> AsyncIterator[Cluster]:
    """A namespace of its own on the API server, and a proxy before DynamoDB."""
    async with FaultProxy(dynamodb_url) as proxy:
        cluster = Cluster(api, proxy, namespace or f"team-{next(_numbers)}")
        await cluster.make_namespace(cluster.namespace)
        yield cluster
        # where a namespace is on its way out, nobody may make anything in it
        assert [said for said in api.refusals(cluster.user) if "being terminated" not in said] == []


def _dashed(flags: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in flags.items()}


def _quick(cluster: Cluster, flags: Mapping[str, str]) -> dict[str, str]:
    """Flags of an operator for a test: soon to look again, and with a Lease of its own."""
    return {
        "lease-name": cluster.namespace,
        "namespaces": ",".join(cluster.namespaces),
        "resync-seconds": "5",
        "aws-calls-per-second": "100",
        **_dashed(flags),
    }


def an_operator(cluster: Cluster, **flags: str) -> contextlib.AbstractAsyncContextManager[OperatorProcess]:
    """A replica that leads or stands by, until the end of the block."""
    return an_operator_of(cluster, OperatorProcess, flags)


@contextlib.asynccontextmanager
async def an_operator_of(
    cluster: Cluster, make: Callable[..., OperatorProcess], flags: Mapping[str, str]
) -> AsyncIterator[OperatorProcess]:
    """A replica of some release; ``make`` takes what `OperatorProcess` takes."""
    await asyncio.to_thread(grant_operator, cluster.api, cluster.user, cluster.namespaces, LEASE_NAMESPACE)
    operator = make(cluster.user, cluster.proxy.url, **_quick(cluster, flags))
    try:
        await asyncio.to_thread(operator.start)
        yield operator
    except BaseException as error:
        error.add_note(f"{operator!r} said:\n{operator.output}")
        raise
    finally:
        await asyncio.to_thread(operator.close)


@contextlib.asynccontextmanager
async def an_operator_here(
    cluster: Cluster, *, clock: Clock | None = None, patience: Patience | None = None, **flags: str
) -> AsyncIterator[Operator]:
    """A replica in the test's own loop, for what needs another clock or less patience."""
    await asyncio.to_thread(grant_operator, cluster.api, cluster.user, cluster.namespaces, LEASE_NAMESPACE)
    own = {
        "kubeconfig": str(cluster.user.kubeconfig),
        "admin": f"{HOST}:0",
        "dynamodb-endpoint-url": cluster.proxy.url,
        **_quick(cluster, flags),
    }
    settings = load({name.replace("-", "_"): value for name, value in own.items()}, {})
    stop = asyncio.Event()
    async with Operator(settings, clock, patience) as operator:
        running = asyncio.create_task(operator.run(stop))
        try:
            yield operator
        finally:
            stop.set()
            await running
