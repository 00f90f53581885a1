"""From the previous release to this one and back; objects, tables and sidecars stay: scenario 19."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.control_plane import CRD, ApiServer
from tests.integration.live_catalogs import FeedingOperator, mount
from tests.integration.operator_cluster import Cluster, OperatorProcess, a_cluster, an_operator_of
from tests.integration.previous_release import PreviousOperator, PreviousRelease, PreviousSidecar

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("aws_credentials"),
]
MUTATIONS = (
    "CreateTable",
    "DeleteTable",
    "UpdateTable",
    "UpdateTimeToLive",
    "UpdateContinuousBackups",
    "TagResource",
    "UntagResource",
)
KEPT = {"retention": {"seconds": 86_400}, "deletionPolicy": "Retain"}
DELETED = {
    "/metadata.name": "clicks",
    "groupName": "clicks",
    "deletionPolicy": "Delete",
    "storage": {"mode": "Dedicated", "dedicated": {"deletionProtection": "Disabled"}},
}


@pytest.fixture
async def cluster(own_api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace, on an API server whose CRD may be replaced."""
    async with a_cluster(own_api_server, dynoxide_url) as made:
        yield made


@pytest.fixture
def previous(tmp_path: Path) -> PreviousRelease:
    """The release before."""
    (tmp_path / "previous").mkdir()
    return PreviousRelease(tmp_path / "previous")


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[FeedingOperator]:
    """The operator of this release."""
    with FeedingOperator(tmp_path) as made:
        yield made


async def define(cluster: Cluster, crd: str) -> None:
    """Put a CustomResourceDefinition in the place of the one that is there."""
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await asyncio.to_thread(cluster.api.kubectl, *apply, text=crd)


def the_previous_operator(
    cluster: Cluster, release: PreviousRelease
) -> AbstractAsyncContextManager[OperatorProcess]:
    """It leads until the end of the block."""
    return an_operator_of(cluster, functools.partial(PreviousOperator, release), {})


def mutations(cluster: Cluster) -> dict[str, int]:
    """Calls that change tables, as DynamoDB has seen them."""
    return {operation: cluster.proxy.calls[operation] for operation in MUTATIONS}


async def marks(cluster: Cluster) -> dict[str, Any]:
    """Finalizers, annotations and labels of every group."""
    found = (await cluster.call("GET", cluster.path()))["items"]
    kept = ("finalizers", "annotations", "labels")
    return {one["metadata"]["name"]: {part: one["metadata"].get(part) for part in kept} for one in found}


async def served_by(cluster: Cluster, sidecar: PreviousSidecar, soft_ttl: int) -> None:
    """Mount the catalog as it is now, and wait until the sidecar of before serves by it."""
    await mount(cluster, sidecar)

    async def serves() -> bool:
        return await asyncio.to_thread(sidecar.soft_ttl, "user_facts") == soft_ttl

    await cluster.until(serves)
    assert sidecar.status()["catalog"]["problems"] == []


async def test_up_and_down_again_changes_no_table_and_leaves_nothing_behind(
    cluster: Cluster, previous: PreviousRelease, feeding: FeedingOperator, tmp_path: Path
) -> None:
    """CRD first, then operator; sidecars of before read the new catalog; and back, in the other order."""
    assert previous.folder in previous.where("pannier_operator").parents
    await define(cluster, previous.crd)
    sidecar = PreviousSidecar(tmp_path / "pod", feeding, "no token is asked for")
    sidecar.release = previous
    try:
        async with the_previous_operator(cluster, previous):
            kept, deleted = await cluster.apply(KEPT), await cluster.apply(DELETED)
            for name in (kept, deleted):
                await cluster.ready(name)
            await asyncio.to_thread(sidecar.start)
            await served_by(cluster, sidecar, 15)
        tables, before = mutations(cluster), await marks(cluster)
        assert tables["CreateTable"] == 2

        await define(cluster, CRD.read_text(encoding="utf-8"))
        async with feeding.running(cluster):
            for name in (kept, deleted):
                await cluster.told(name, "NoSidecars", "Served")  # which the previous release never said
            await cluster.edit(kept, {"cache": {"profile": "Hot", "local": {"softTTLSeconds": 21}}})
            await cluster.ready(kept)
            await served_by(cluster, sidecar, 21)
            assert (mutations(cluster), await marks(cluster)) == (tables, before)

        await define(cluster, previous.crd)
        async with the_previous_operator(cluster, previous):
            await cluster.edit(kept, {"cache": {"profile": "Hot", "local": {"softTTLSeconds": 22}}})
            await cluster.ready(kept)
            await served_by(cluster, sidecar, 22)
            assert (mutations(cluster), await marks(cluster)) == (tables, before)
            for name in (kept, deleted):
                await cluster.delete(name)
                await cluster.gone(name)
        assert mutations(cluster)["DeleteTable"] == 1
    except BaseException as error:
        error.add_note(f"{sidecar!r} said:\n{sidecar.output}")
        raise
    finally:
        await asyncio.to_thread(sidecar.close)
