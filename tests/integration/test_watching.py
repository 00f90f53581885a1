"""The watch on a real API server: what it brings, how it finds out about its own silence, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.control_plane import ApiServer, User
from tests.manifests import a_manifest
from tests.permissions import grant
from tests.tcp_proxy import HOST, TcpProxy

from pannier.crd import PLURAL
from pannier.spec_base import API_VERSION, GROUP
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.watching import SILENCE_SECONDS, Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
_numbers = itertools.count()
RIGHTS = [{"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["get", "list", "watch"]}]


@dataclass
class Bystander:
    """Edits groups of a namespace as others do, and keeps what the watch brings of them."""

    api: ApiServer
    namespace: str
    user: User
    brought: list[tuple[str | None, str, int]] = field(default_factory=list)
    """Kind of event, name, generation."""

    @property
    def path(self) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURAL}"

    async def make(self, name: str) -> None:
        manifest = a_manifest({"/metadata.name": name})
        manifest["metadata"]["namespace"] = self.namespace
        await asyncio.to_thread(self.api.make, self.path, manifest)

    async def edit(self, name: str, description: str) -> None:
        await self._call("PATCH", name, {"spec": {"description": description}})

    async def delete(self, name: str) -> None:
        await self._call("DELETE", name)

    async def _call(self, method: str, name: str, body: Any = None) -> None:
        status, answer = await asyncio.to_thread(
            self.api.call, method, f"{self.path}/{name}", body, "application/merge-patch+json"
        )
        assert status == 200, answer

    def seen(self, event: str | None, document: Mapping[str, Any]) -> None:
        metadata = document["metadata"]
        self.brought.append((event, metadata["name"], metadata["generation"]))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(45):
            while not holds():  # noqa: ASYNC110 - it is another thread that brings events
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def watch(self, silence_seconds: float = SILENCE_SECONDS) -> AsyncIterator[Watch]:
        credentials = await find_credentials(str(self.user.kubeconfig), {})
        watch = Watch(credentials, [self.namespace], self.seen, silence_seconds=silence_seconds)
        async with watch:
            yield watch


@pytest.fixture
def bystander(api_server: ApiServer) -> Bystander:
    """A namespace of the test's own and a user who may watch it."""
    name = f"watched-{next(_numbers)}"
    api_server.make("/api/v1/namespaces", {"metadata": {"name": name}})
    return Bystander(api_server, name, api_server.user(f"watcher-of-{name}"))


@pytest.fixture
def allowed(bystander: Bystander) -> Bystander:
    """The same with the right to watch."""
    grant(bystander.api, bystander.user, RIGHTS, [bystander.namespace])
    return bystander


async def test_it_brings_what_there_is_and_what_happens(allowed: Bystander) -> None:
    """First what exists, as no event in particular; then creations, edits and deletions as they come."""
    await allowed.make("first")
    async with allowed.watch():
        await allowed.until(lambda: allowed.brought == [(None, "first", 1)])
        await allowed.make("second")
        await allowed.until(lambda: ("ADDED", "second", 1) in allowed.brought)
        await allowed.edit("first", "new words")
        await allowed.until(lambda: ("MODIFIED", "first", 2) in allowed.brought)
        await allowed.delete("second")
        await allowed.until(lambda: ("DELETED", "second", 1) in allowed.brought)
    assert len(allowed.brought) == 4
    await allowed.edit("first", "newer words")
    assert len(allowed.brought) == 4


async def test_a_stream_that_says_nothing_is_opened_anew(allowed: Bystander) -> None:
    """Its connection is forgotten by a router and nobody is told: what happens comes all the same."""
    config = allowed.user.kubeconfig
    async with TcpProxy(HOST, allowed.api.port) as way:
        config.write_text(config.read_text().replace(f":{allowed.api.port}", f":{way.port}"))
        await allowed.make("first")
        async with allowed.watch(silence_seconds=3):
            await allowed.until(lambda: (None, "first", 1) in allowed.brought)
            await allowed.until(lambda: way.idle(0.5) > 0)
            assert way.forget_idle(0.0) == way.open
            await allowed.edit("first", "new words")
            await allowed.until(lambda: ("MODIFIED", "first", 2) in allowed.brought)
            way.cut()  # what is half-open would take half a minute to close
            await allowed.edit("first", "newer words")
            await allowed.until(lambda: any(generation == 3 for _, _, generation in allowed.brought))


async def test_connections_that_are_cut_lose_nothing(allowed: Bystander) -> None:
    """Cut and refused for a moment; what happened meanwhile comes."""
    config = allowed.user.kubeconfig
    async with TcpProxy(HOST, allowed.api.port) as way:
        config.write_text(config.read_text().replace(f":{allowed.api.port}", f":{way.port}"))
        await allowed.make("first")
        async with allowed.watch():
            await allowed.until(lambda: (None, "first", 1) in allowed.brought)
            way.cut(refuse=True)
            await allowed.edit("first", "new words")
            way.heal()
            await allowed.until(lambda: any(generation == 2 for _, _, generation in allowed.brought))


async def test_rights_that_come_later_are_enough(bystander: Bystander) -> None:
    """A role that is bound after the operator started needs no restart; what there is comes then."""
    await bystander.make("first")
    async with bystander.watch():
        await bystander.until(lambda: bystander.api.refusals(bystander.user) != [])
        assert bystander.brought == []
        await asyncio.to_thread(grant, bystander.api, bystander.user, RIGHTS, [bystander.namespace])
        await bystander.until(lambda: bystander.brought == [(None, "first", 1)])
