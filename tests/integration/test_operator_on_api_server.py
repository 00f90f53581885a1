"""The operator on a real API server and a DynamoDB emulator: what teams see with kubectl, and what survives.

Numbers are those of the scenarios in the operator's checklist. Operators have the rights that their reference
lists; whatever they are refused fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.control_plane import ApiServer
from tests.fault_proxy import refused
from tests.integration.operator_cluster import MERGE, Cluster, a_cluster, an_operator
from tests.integration.operator_tables import MUTATING

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
UNPROTECTED = {"dedicated": {"deletionProtection": "Disabled"}}


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A namespace of the test's own."""
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


def mutations(cluster: Cluster) -> dict[str, int]:
    """Mutating calls to DynamoDB so far."""
    return {operation: n for operation, n in cluster.proxy.calls.items() if operation in MUTATING}


async def test_01_an_applied_group_becomes_ready(cluster: Cluster) -> None:
    """Kubectl apply, kubectl wait: table, TTL and catalog are there, for consumers too."""
    await cluster.make_namespace(f"{cluster.namespace}-ads")
    async with an_operator(cluster):
        grant = [{"namespace": f"{cluster.namespace}-ads", "access": "Read"}]
        group = await cluster.ready(await cluster.apply({"consumers": grant}))
        status = group["status"]
        assert status["table"]["ownership"] == "Created"
        assert status["table"]["ttl"]["status"] == "ENABLED"
        assert status["config"]["namespaces"] == 2
        assert status["schema"]["nextId"] == 2
        assert "finalizers" not in group["metadata"]
        assert (await cluster.catalog())["user_facts"].access == "ReadWrite"
        assert (await cluster.catalog(f"{cluster.namespace}-ads"))["user_facts"].access == "Read"
        assert mutations(cluster) == {"CreateTable": 1, "PutItem": 1, "UpdateTimeToLive": 1}


async def test_02_a_second_pass_and_a_restart_write_nothing(cluster: Cluster) -> None:
    """The idempotence law: no call changes AWS or Kubernetes, counted at the proxy and in the audit log."""
    async with an_operator(cluster):
        await cluster.ready(await cluster.apply())
        before, versions = mutations(cluster), await cluster.versions()
        writes = cluster.api.writes(cluster.user)
        assert writes
        looks = cluster.proxy.calls["DescribeTable"]

        async def looked_again() -> bool:
            return cluster.proxy.calls["DescribeTable"] >= looks + 3

        await cluster.until(looked_again)
    async with an_operator(cluster):
        looks = cluster.proxy.calls["DescribeTable"]
        await cluster.until(looked_again)
    assert mutations(cluster) == before
    assert await cluster.versions() == versions
    assert cluster.api.writes(cluster.user) == writes


async def test_04_an_appended_feature_is_claimed_and_published(cluster: Cluster) -> None:
    """Hash and revision change, the claim follows, nothing else is touched."""
    async with an_operator(cluster):
        name = await cluster.apply()
        before = (await cluster.ready(name))["status"]
        features = [
            {"id": 0, "name": "city", "type": "String"},
            {"id": 1, "name": "visits", "type": "Int64"},
            {"id": 2, "name": "score", "type": "Float64"},
        ]
        await cluster.edit(name, {"features": features})
        after = (await cluster.ready(name))["status"]
        assert after["schema"]["hash"] != before["schema"]["hash"]
        assert after["config"]["revision"] > before["config"]["revision"]
        assert len((await cluster.catalog())["user_facts"].features) == 3
        assert mutations(cluster) == {"CreateTable": 1, "PutItem": 2, "UpdateTimeToLive": 1}


async def test_05_an_edited_ttl_reaches_the_catalog_and_never_aws(cluster: Cluster) -> None:
    """A cache edit is published without a call to DynamoDB, also while that is down; a no-op edit is not."""
    async with an_operator(cluster):
        name = await cluster.apply()
        before = (await cluster.ready(name))["status"]["config"]
        for operation in ("DescribeTable", "GetItem", "DescribeTimeToLive"):
            cluster.proxy.on(operation, refused("InternalServerError", status=500))
        await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 7}}})
        after = (await cluster.ready(name))["status"]["config"]
        assert after["revision"] > before["revision"]
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 7
        versions = await cluster.versions()
        await cluster.edit(name, {"description": "new words"})
        assert (await cluster.ready(name))["status"]["config"] == after
        kept = {key: version for key, version in (await cluster.versions()).items() if "configmaps" in key}
        assert kept.items() <= versions.items()
        assert mutations(cluster)["UpdateTimeToLive"] == 1


async def test_08_denied_access_is_told_and_heals(cluster: Cluster) -> None:
    """Stalled with the reason while the role lacks a right, Ready when it has it, without an edit."""
    cluster.proxy.on("CreateTable", refused("AccessDeniedException", "not authorized: dynamodb:CreateTable"))
    async with an_operator(cluster):
        name = await cluster.apply()
        await cluster.told(name, "AccessDenied")
        assert (await cluster.condition(name, "Stalled"))[0] == "True"
        cluster.proxy.heal()
        await cluster.ready(name)
        assert await cluster.condition(name, "Stalled") == ("", "")


async def test_09_a_retained_table_is_found_again(cluster: Cluster) -> None:
    """Deleted with Retain the resource goes at once, the table stays; applied again it is the same table."""
    async with an_operator(cluster):
        name = await cluster.apply()
        table = (await cluster.ready(name))["status"]["table"]
        await cluster.delete(name)
        await cluster.gone(name)

        async def is_withdrawn() -> bool:
            return await cluster.catalog() == {}

        await cluster.until(is_withdrawn)
        await cluster.apply()
        again = (await cluster.ready(name))["status"]["table"]
        assert again["id"] == table["id"]
        assert mutations(cluster)["CreateTable"] == 1


async def test_10_a_deleted_table_takes_two_deliberate_edits(cluster: Cluster) -> None:
    """Blocked while protection is on; after the edit the finalizer goes only when the table is gone."""
    async with an_operator(cluster):
        name = await cluster.apply({"deletionPolicy": "Delete"})
        group = await cluster.ready(name)
        assert group["metadata"]["finalizers"] == ["pannier.dev/rows"]
        await cluster.delete(name)
        await cluster.told(name, "DeletionBlocked")
        assert (await cluster.condition(name, "Served"))[1] == "Deleting"
        assert "DeleteTable" not in mutations(cluster)
        await cluster.edit(name, {"storage": UNPROTECTED})
        await cluster.gone(name)
        assert mutations(cluster)["DeleteTable"] == 1


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 8, 12])
async def test_10_killed_at_any_step_it_ends_the_same(cluster: Cluster, calls: int) -> None:
    """Kill -9 after so many calls, of creation and of deletion: the next one makes the same of it."""
    settings: dict[str, Any] = {"deletionPolicy": "Delete", "storage": {"mode": "Dedicated", **UNPROTECTED}}
    name = await cluster.apply(settings)
    await killed_after(cluster, calls)
    async with an_operator(cluster):
        await cluster.ready(name)
    assert mutations(cluster)["CreateTable"] == 1
    await cluster.delete(name)
    await killed_after(cluster, calls)
    async with an_operator(cluster):
        await cluster.gone(name)
    assert mutations(cluster)["DeleteTable"] == 1


async def killed_after(cluster: Cluster, calls: int) -> None:
    """Run an operator until it has made so many calls to DynamoDB, or for a while, then kill it.

    It has a Lease of its own: it is dead for certain, so nobody needs to wait until that is out.
    """
    goal = sum(cluster.proxy.calls.values()) + calls
    async with an_operator(cluster, lease_name=f"{cluster.namespace}-{goal}") as operator:
        for _ in range(100):
            if sum(cluster.proxy.calls.values()) >= goal:
                break
            await asyncio.sleep(0.05)
        operator.kill()


async def test_12_a_foreign_table_is_left_alone_until_adoption_is_declared(cluster: Cluster) -> None:
    """A table of that name without our tags: told, untouched; taken over only when the spec says so."""
    async with an_operator(cluster):
        name = await cluster.apply({"deletionPolicy": "Retain"})
        await cluster.ready(name)
        before = mutations(cluster)
        other = await cluster.apply(
            {
                "/metadata.name": "other",
                "groupName": "other",
                "storage": {"mode": "Dedicated", "tableName": f"pannier.{cluster.namespace}.user_facts"},
            }
        )
        await cluster.told(other, "TableOwnedByOther")
        assert mutations(cluster) == before


async def test_13_a_name_in_a_shared_table_has_one_owner(cluster: Cluster, tmp_path: Path) -> None:
    """The second is told whose it is; the first one's next life has it back."""
    tables = tmp_path / "tables.yaml"
    tables.write_text(f"- name: shared-{cluster.namespace}\n")
    shared = {"storage": {"mode": "Shared", "tableName": f"shared-{cluster.namespace}"}}
    async with an_operator(cluster, shared_tables=str(tables)):
        first = await cluster.apply(shared)
        ready = await cluster.ready(first)
        assert ready["status"]["table"]["ownership"] == "Claimed"
        second = await cluster.apply({**shared, "/metadata.name": "second"})
        await cluster.told(second, "GroupNameTaken")
        await cluster.delete(first)
        await cluster.gone(first)
        await cluster.edit(second, {"description": "look again"})
        await cluster.told(second, "GroupNameTaken")
        await cluster.delete(second)
        await cluster.apply(shared)
        await cluster.ready(first)


async def test_14_a_standby_takes_over_and_the_old_leader_writes_no_more(cluster: Cluster) -> None:
    """SIGSTOP: another leads. SIGCONT: the old one finds out before it writes, and ends."""
    quick = {"lease_seconds": "6", "lease_renew_seconds": "4", "lease_retry_seconds": "1"}
    async with an_operator(cluster, **quick) as first:
        name = await cluster.apply()
        await cluster.ready(name)
        async with an_operator(cluster, **quick) as second:
            assert first.leads
            assert not second.leads
            first.pause()
            await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 7}}})
            await cluster.ready(name)
            assert second.leads
            versions = await cluster.versions()
            first.resume()

            async def has_ended() -> bool:
                try:
                    return not first.leads
                except OSError:
                    return True

            await cluster.until(has_ended)
            assert await cluster.versions() == versions
            assert mutations(cluster)["CreateTable"] == 1


async def test_a_catalog_that_somebody_edits_is_put_right(cluster: Cluster) -> None:
    """Kubectl edit of the ConfigMap lasts until the next check."""
    async with an_operator(cluster):
        await cluster.ready(await cluster.apply())
        path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"
        before = await cluster.call("GET", path)
        await cluster.call("PUT", path, {**before, "data": {"manifest.json": "{}"}})

        async def is_right() -> bool:
            files: dict[str, str] = (await cluster.call("GET", path))["data"]
            return set(files) == set(before["data"])

        await cluster.until(is_right)
        assert "user_facts" in await cluster.catalog()


async def test_a_catalog_that_could_not_be_written_is_tried_again(cluster: Cluster) -> None:
    """Somebody else's ConfigMap has its name: told; once that is gone it needs no edit and no resync."""
    folder = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    await cluster.call("POST", folder, {"metadata": {"name": "pannier-catalog"}})
    async with an_operator(cluster, resync_seconds="3000"):
        name = await cluster.apply()
        await cluster.told(name, "PublishFailed", "ConfigPublished")
        await cluster.call("DELETE", f"{folder}/pannier-catalog")
        await cluster.ready(name)
        assert "user_facts" in await cluster.catalog()


async def test_an_edit_keeps_what_others_wrote_on_a_catalog_and_heeds_what_they_did(
    cluster: Cluster,
) -> None:
    """It was changed since the operator saw it: nothing is overwritten unseen, and the edit is served."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/pannier-catalog"
    async with an_operator(cluster, resync_seconds="3600"):
        name = await cluster.apply()
        await cluster.ready(name)
        data = {"notes": "ours", "groups-000.json": "{"}
        theirs = {"metadata": {"labels": {"team": "shop"}}, "data": data}
        await cluster.call("PATCH", path, theirs, content=MERGE)
        for ttl_seconds in (7, 8):
            await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": ttl_seconds}}})
            await cluster.ready(name)
            assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == ttl_seconds
        found = await cluster.call("GET", path)
        assert found["metadata"]["labels"]["team"] == "shop"
        assert "notes" not in found["data"], "the files are the operator's"
        await cluster.call("DELETE", path)
        await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 9}}})
        await cluster.ready(name)
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 9


async def test_paused_and_observed_groups_are_left_alone(cluster: Cluster) -> None:
    """Paused: nothing is looked at. Observe: drift is told and not corrected. What is published stays."""
    async with an_operator(cluster):
        name = await cluster.apply()
        await cluster.ready(name)
        await cluster.edit(name, {"managementPolicy": "Paused"})
        await cluster.told(name, "Paused")
        await cluster.edit(name, {"cache": {"local": {"hardTTLSeconds": 7}}})
        await cluster.told(name, "Paused")
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 60
        before = mutations(cluster)
        await cluster.edit(
            name,
            {"managementPolicy": "Observe", "storage": {"dedicated": {"tableClass": "InfrequentAccess"}}},
        )
        await cluster.told(name, "Drifted", "InSync")
        assert mutations(cluster) == before
        await cluster.edit(name, {"managementPolicy": "Full"})
        await cluster.ready(name)
        await cluster.told(name, "AsDeclared", "InSync")
        assert (await cluster.catalog())["user_facts"].policy.local.hard_ttl_seconds == 7
