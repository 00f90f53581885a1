"""`pannier check` against a real API server: an installation that is whole, and what it says as parts go."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.control_plane import ApiServer
from tests.integration.chart_release import a_release
from tests.integration.injected_pods import Pods
from tests.integration.operator_cluster import Cluster, a_cluster
from tests.permissions import grant_operator

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
PANNIER = str(Path(sys.executable).parent / "pannier")
HOME = "checked"


@pytest.fixture
async def cluster(own_api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace, and one for the release, in a cluster without anybody else's groups."""
    await asyncio.to_thread(own_api_server.call, "POST", "/api/v1/namespaces", {"metadata": {"name": HOME}})
    async with a_cluster(own_api_server, dynoxide_url) as made:
        yield made


async def check(kubeconfig: Path, *arguments: str) -> tuple[int, str]:
    """Run it; gives its exit code and output."""
    command = [PANNIER, "check", "--kubeconfig", str(kubeconfig), "-n", HOME, *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


async def states(kubeconfig: Path, *arguments: str) -> dict[str, Any]:
    """Its lines by name."""
    _, output = await check(kubeconfig, "--json", *arguments)
    return {line["name"]: line["state"] for line in json.loads(output)}


async def test_it_finds_what_is_there_and_what_has_gone(cluster: Cluster, tmp_path: Path) -> None:
    """First nothing but a CRD, then a release with its operator, then the operator stopped."""
    admin = cluster.api.admin.kubeconfig
    before = await states(admin)
    assert (before["kubernetes"], before["CRD"], before["operator"]) == ("ok", "ok", "failed")
    Pods(cluster.api, cluster.namespace).made("missed")  # while nobody adds sidecars
    by_policy = {"injection": {"mode": "Policy"}, "catalogFeed": {"enabled": False}}
    values = {"operator": {"namespaces": [cluster.namespace]}, **by_policy}
    with a_release(cluster.api, HOME, tmp_path, values) as release:
        user = cluster.user
        await asyncio.to_thread(grant_operator, cluster.api, user, [cluster.namespace], HOME)
        operator = release.operator(cluster.proxy.url, user)
        await asyncio.to_thread(operator.start)
        try:
            await cluster.ready(await cluster.apply())
            found = await states(admin)
            assert (found["operator"], found["dynamodb"], found["groups"]) == ("ok", "ok", "ok")
            assert found["injection"] == "ok"  # a pod that asked, tried and not stored
            code, output = await check(admin)
            assert code == 1
            assert f"{cluster.namespace}/missed" in output
            assert "Delete them" in output
        finally:
            await asyncio.to_thread(operator.close)


async def test_what_may_not_be_seen_is_unknown(cluster: Cluster) -> None:
    """A user without rights learns which are lacking, line by line, and nothing is claimed."""
    nobody = cluster.api.user("nobody")
    found = await states(nobody.kubeconfig)
    assert found["kubernetes"] == "ok"
    assert {found[name] for name in ("CRD", "operator", "certificate", "groups", "pods")} == {"unknown"}
    code, output = await check(nobody.kubeconfig)
    assert code == 1
    assert "Give your user the right" in output


async def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    """In a sentence, with the exit code of something that cannot be reached."""
    code, output = await check(tmp_path / "none")
    assert code == 3
    assert "there is no such file" in output
    assert "Traceback" not in output
