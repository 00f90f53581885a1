"""Edits reach sidecars at once, and `Served` says so: a real API server, its tokens, TLS, and processes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.control_plane import ApiServer
from tests.integration.live_catalogs import FeedingOperator, PodSidecar, a_token, mount, running_in_pods
from tests.integration.operator_cluster import Cluster, a_cluster

from pannier.catalog_feed import AUTHORITY_FILE, PATH, REJECTS, SERVES, etag, revision_of

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
GROUP = "user_facts"
OK, NOT_MODIFIED, UNAUTHORIZED, UNAVAILABLE = 200, 304, 401, 503
EDITS = 10


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[FeedingOperator]:
    """An operator that sidecars can ask."""
    with FeedingOperator(tmp_path) as made:
        yield made


def sidecars(
    cluster: Cluster, operator: FeedingOperator, folder: Path, *pods: str
) -> AbstractAsyncContextManager[list[PodSidecar]]:
    """Sidecars whose mounted catalog never changes: there is none."""
    return running_in_pods(cluster, lambda where, token: PodSidecar(where, operator, token), folder, *pods)


async def serve(cluster: Cluster, running: list[PodSidecar], soft_ttl: int) -> None:
    """Wait until all of them serve the group by this TTL."""

    async def by_it() -> bool:
        return all([await asyncio.to_thread(one.soft_ttl, GROUP) == soft_ttl for one in running])

    await cluster.until(by_it)


class Asking:
    """A sidecar's requests, made by hand."""

    def __init__(self, session: aiohttp.ClientSession, operator: FeedingOperator, token: str = "") -> None:
        self._session = session
        self._url = operator.url + PATH
        self._tls = ssl.create_default_context(cadata=operator.authority.certificate)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def ask(self, **headers: str) -> tuple[int, int | None, Any]:
        """Status, revision and body of one answer."""
        sent = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self._session.get(self._url, headers=sent, ssl=self._tls) as answer:
            body = await (answer.json() if answer.status == OK else answer.text())
            return answer.status, revision_of(answer.headers.get("ETag")), body


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_an_edit_is_served_everywhere_once_served_is_true(
    cluster: Cluster, operator: FeedingOperator, tmp_path: Path
) -> None:
    """In less than the second that a kubelet would not even look in; `kubectl wait` may be believed."""
    took: list[float] = []
    async with operator.running(cluster), sidecars(cluster, operator, tmp_path, "a", "b", "c") as running:
        name = await cluster.apply({"cache": {"profile": "Hot", "local": {"softTTLSeconds": 10}}})
        await serve(cluster, running, 10)
        for edit in range(EDITS):
            began = time.monotonic()
            await cluster.edit(name, {"cache": {"local": {"softTTLSeconds": 11 + edit}}})
            wait = ("wait", "--for=condition=Served", f"fg/{name}", "-n", cluster.namespace, "--timeout=30s")
            await asyncio.to_thread(cluster.api.kubectl, *wait)
            took.append(time.monotonic() - began)
            for one in running:
                assert one.soft_ttl(GROUP) == 11 + edit
        assert await cluster.condition(name, "Served") == ("True", "Served")
    p50, most = statistics.median(took), max(took)
    print(f"edit -> served by {len(running)} sidecars: p50 {p50:.2f} s, at most {most:.2f} s")  # noqa: T201


async def test_a_caller_is_answered_for_the_namespace_that_its_token_proves(
    cluster: Cluster, operator: FeedingOperator, session: aiohttp.ClientSession
) -> None:
    """And not at all without one, by one for somebody else's eyes, or by a made-up one."""
    other = f"{cluster.namespace}-other"
    await cluster.make_namespace(other)
    async with operator.running(cluster):
        name = await cluster.apply()
        await cluster.ready(name)
        await cluster.told(name, "NoSidecars", "Served")  # the first one to come serves what is published
        ours = Asking(session, operator, await a_token(cluster, "ours"))
        status, revision, body = await ours.ask()
        assert (status, revision is not None) == (OK, True)
        assert GROUP in body["files"]["groups-000.json"]
        theirs = Asking(session, operator, await a_token(cluster, "theirs", other))
        assert (await theirs.ask())[0] == NOT_MODIFIED
        for token in ("", "made.up.token", await a_token(cluster, "elsewhere", audience="vault")):
            assert (await Asking(session, operator, token).ask())[0] == UNAUTHORIZED


async def test_a_request_waits_for_news_and_no_longer(
    cluster: Cluster, operator: FeedingOperator, session: aiohttp.ClientSession
) -> None:
    """It is answered the moment there is another revision, or with 304 when its patience ends."""
    async with operator.running(cluster):
        name = await cluster.apply()
        await cluster.ready(name)
        asking = Asking(session, operator, await a_token(cluster, "a"))
        _, revision, _ = await asking.ask()
        assert revision is not None
        assert (await asking.ask(If_None_Match=etag(revision)))[0] == NOT_MODIFIED
        waiting = asyncio.create_task(asking.ask(If_None_Match=etag(revision), Prefer="wait=30"))
        await cluster.edit(name, {"cache": {"profile": "Warm"}})
        status, later, _ = await waiting
        assert (status, later is not None and later > revision) == (OK, True)


async def test_served_names_who_lags_and_who_cannot(
    cluster: Cluster, operator: FeedingOperator, session: aiohttp.ClientSession
) -> None:
    """By pod, with what it serves; and it is true again once they do."""
    async with operator.running(cluster):
        name = await cluster.apply()
        await cluster.ready(name)
        asking = Asking(session, operator, await a_token(cluster, "laggard"))
        _, revision, _ = await asking.ask()
        assert revision is not None

        async def while_it_says(reason: str, **headers: str) -> str:
            """What is told of the group while a sidecar asks so."""
            heard = {"If_None_Match": etag(revision or 0), "Prefer": "wait=60"}
            waiting = asyncio.create_task(asking.ask(**heard, **headers))
            await cluster.told(name, reason, "Served")
            waiting.cancel()
            conditions = (await cluster.get(name))["status"]["conditions"]
            return str(next(one["message"] for one in conditions if one["type"] == "Served"))

        await while_it_says("Served", **{SERVES: str(revision)})
        await cluster.edit(name, {"cache": {"staleIfErrorSeconds": 7}})
        message = await while_it_says("SidecarsBehind", **{SERVES: str(revision)})
        code, shown = await cluster_status(cluster)
        assert (code, f"{cluster.namespace}/laggard (revision {revision} of " in shown) == (1, True)
        assert f"{cluster.namespace}/laggard (revision {revision} of " in message
        _, revision, _ = await asking.ask(**{SERVES: str(revision)})
        current = {SERVES: str(revision)}
        message = await while_it_says("SidecarsReject", **current, **{REJECTS: f"{GROUP}=GroupUnreadable"})
        assert f"{cluster.namespace}/laggard (GroupUnreadable)" in message
        await while_it_says("Served", **current)
        assert (await cluster_status(cluster))[0] == 0


async def cluster_status(cluster: Cluster) -> tuple[int, str]:
    """What `pannier status --cluster` says of the namespace, and its exit code."""
    pannier = str(Path(sys.executable).parent / "pannier")
    where = ("-n", cluster.namespace, "--kubeconfig", str(cluster.api.admin.kubeconfig))
    command = [pannier, "status", "--cluster", *where]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


async def test_serving_goes_on_without_the_operator_and_never_goes_back(
    cluster: Cluster, operator: FeedingOperator, tmp_path: Path
) -> None:
    """The mounted catalog comes a minute later: an older one than was heard of changes nothing."""
    async with sidecars(cluster, operator, tmp_path, "a") as running:
        async with operator.running(cluster):
            name = await cluster.apply({"cache": {"profile": "Hot", "local": {"softTTLSeconds": 10}}})
            await serve(cluster, running, 10)
            await mount(cluster, running[0])
            await cluster.edit(name, {"cache": {"local": {"softTTLSeconds": 11}}})
            await serve(cluster, running, 11)
        status = running[0].status()
        assert (status["catalog"]["problems"], running[0].soft_ttl(GROUP)) == ([], 11)
        await mount(cluster, running[0])
        assert running[0].soft_ttl(GROUP) == 11
        async with operator.running(cluster):
            await cluster.edit(name, {"cache": {"local": {"softTTLSeconds": 12}}})
            await serve(cluster, running, 12)


async def test_a_replica_that_stands_by_says_so_and_takes_over(
    cluster: Cluster, operator: FeedingOperator, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """A Service leads to either; a sidecar tries again until it finds the one that leads."""
    (tmp_path / "second").mkdir()
    lease = {"lease_seconds": "4", "lease_renew_seconds": "2", "lease_retry_seconds": "1"}
    async with contextlib.AsyncExitStack() as leading, contextlib.AsyncExitStack() as others:
        second = others.enter_context(FeedingOperator(tmp_path / "second"))
        running = await others.enter_async_context(sidecars(cluster, second, tmp_path, "a"))
        await leading.enter_async_context(operator.running(cluster, **lease))
        await cluster.ready(
            await cluster.apply({"cache": {"profile": "Hot", "local": {"softTTLSeconds": 10}}})
        )
        async with second.running(cluster, **lease) as standing_by:
            token = await a_token(cluster, "b")
            assert (await Asking(session, second, token).ask())[0] == UNAVAILABLE
            assert not standing_by.leads
            await leading.aclose()
            await serve(cluster, running, 10)


async def test_a_replica_is_ready_once_it_can_be_asked(cluster: Cluster, operator: FeedingOperator) -> None:
    """A certificate may be mounted a minute after the start: until then no Service leads there."""
    texts = {name: file.read_text() for name, file in operator.files.items()}
    for file in operator.files.values():
        file.unlink()
    async with operator.running(cluster) as process:

        async def readiness() -> tuple[int, str]:
            return await asyncio.to_thread(process.ask, "/readyz")

        async def says(what: str) -> bool:
            return what in (await readiness())[1]

        await cluster.until(lambda: says("has no certificate yet"))
        for name, file in operator.files.items():
            file.write_text(texts[name])

        async def is_ready() -> bool:
            return (await readiness())[0] == OK

        await cluster.until(is_ready)


async def test_the_authority_is_published_beside_the_catalog_and_renewed(
    cluster: Cluster, operator: FeedingOperator
) -> None:
    """A sidecar finds in its mounted volume whom to trust; a renewed one is there by the next resync."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"

    async def is_published(text: str) -> bool:
        return bool((await cluster.call("GET", path))["data"].get(AUTHORITY_FILE) == text)

    async with operator.running(cluster):
        await cluster.ready(await cluster.apply())
        file = operator.files["ca.crt"]
        assert await is_published(file.read_text())
        file.write_text(file.read_text() * 2)
        await cluster.until(lambda: is_published(file.read_text()))
