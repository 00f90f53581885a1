"""`helm test` of the chart: real Helm, a real API server and operator, and a stand-in for the kubelet.

Nothing runs pods here, so the stand-in does what a kubelet would do with the pod that Helm makes: run its
command, and report how it ended. What needs a network of pods is looked at instead: that the Service named
in the command leads to the operator's admin port, and that the NetworkPolicy lets the pod through.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.control_plane import ApiServer
from tests.helm import RELEASE, HelmRefused, Object, helm, pick
from tests.integration.chart_release import RESTRICTED, Release, a_release
from tests.integration.operator_cluster import OK, Cluster, OperatorProcess, a_cluster

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
HOME = "helm-test"
POD = f"/api/v1/namespaces/{HOME}/pods/{RELEASE}-operator-test"
VALUES: dict[str, Any] = {
    "operator": {"resyncSeconds": 5},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
}


@pytest.fixture
async def cluster(api_server: ApiServer, dynoxide_url: str) -> AsyncIterator[Cluster]:
    """A team's namespace, and that of the release, where only restricted pods may run."""
    labelled = {"metadata": {"name": HOME, "labels": RESTRICTED}}
    api_server.call("POST", "/api/v1/namespaces", labelled)
    async with a_cluster(api_server, dynoxide_url) as made:
        yield made


def run_as_kubelet(pod: Object, service: str, url: str) -> tuple[int, str]:
    """Run a pod's command, its Service being at ``url``; gives exit code and output."""
    (container,) = pod["spec"]["containers"]
    program, *flags = container["command"]
    assert program == "python3"
    arguments = [url if argument == service else argument for argument in container["args"]]
    assert arguments != container["args"], "it asks somebody else"
    done = subprocess.run(
        [sys.executable, *flags, *arguments],
        env={"PATH": os.defpath},  # no token is mounted, and no credentials are set
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def helm_test(cluster: Cluster, release: Release, url: str) -> tuple[str, str]:
    """Let Helm test the release; gives what Helm said and what the pod said. Raises `HelmRefused`."""
    reach = ("--kubeconfig", str(cluster.api.admin.kubeconfig), "--namespace", release.namespace)
    testing = asyncio.create_task(asyncio.to_thread(helm, "test", RELEASE, *reach, "--timeout", "60s"))
    await cluster.until(lambda: cluster.exists(POD))
    pod = await cluster.call("GET", POD)
    assert pod["status"]["phase"] == "Pending"
    service = f"http://{pick(release.objects, 'Service', '-operator')['metadata']['name']}.{HOME}.svc:8472"
    code, said = await asyncio.to_thread(run_as_kubelet, pod, service, url)
    ended = {"status": {"phase": "Failed" if code else "Succeeded"}}
    await cluster.call("PATCH", f"{POD}/status", ended, content="application/merge-patch+json")
    try:
        return await testing, said
    except HelmRefused as refused:
        refused.add_note(said)
        raise


async def test_helm_test_passes_and_fails_with_the_operator(cluster: Cluster, tmp_path: Path) -> None:
    """Green while it serves, and then the pod goes; red when it does not, and the pod stays."""
    with a_release(cluster.api, HOME, tmp_path, VALUES) as release:
        operator = release.operator(cluster.proxy.url, release.user())
        try:
            await asyncio.to_thread(operator.start)
            await until_it_is_ready(cluster, operator)
            told, said = await helm_test(cluster, release, operator.url)
            assert said == "/livez 200\n/readyz 200\n/metrics 200\n"
            assert "Phase:          Succeeded" in told
            assert not await cluster.exists(POD)
        finally:
            await asyncio.to_thread(operator.close)
        with pytest.raises(HelmRefused) as refused:
            await helm_test(cluster, release, operator.url)
        assert "Connection refused" in refused.value.__notes__[0]
        left = await cluster.call("GET", POD)
        assert left["status"]["phase"] == "Failed"
        await cluster.call("DELETE", f"{POD}?gracePeriodSeconds=0")


async def until_it_is_ready(cluster: Cluster, operator: OperatorProcess) -> None:
    """Wait for it as a Service would."""

    async def is_ready() -> bool:
        return (await asyncio.to_thread(operator.ask, "/readyz"))[0] == OK

    await cluster.until(is_ready)


async def test_its_pod_reaches_the_operator_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    """Through Service and NetworkPolicy; without a token, as an account that may do nothing."""
    with a_release(cluster.api, HOME, tmp_path, VALUES) as release:
        hooks = await asyncio.to_thread(
            helm, "get", "hooks", RELEASE, "--kubeconfig", str(cluster.api.admin.kubeconfig), "-n", HOME
        )
        pod = the_pod(hooks)
        assert pod["metadata"]["namespace"] == HOME
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod["spec"]
        account = f"system:serviceaccount:{HOME}:default"
        kinds = ("configmaps", "secrets", "pods", "featuregroups.pannier.dev", "leases.coordination.k8s.io")
        for kind in kinds:
            for verb in ("get", "list", "create", "patch", "update", "delete"):
                assert not release.may(verb, kind, namespace=HOME, account=account), (verb, kind)
        labels = pod["metadata"]["labels"]
        ingress, _ = pick(release.objects, "NetworkPolicy", "-operator")["spec"]["ingress"]
        assert any(selects(source.get("podSelector"), labels) for source in ingress["from"])
        assert is_led_to_the_operator(release, labels)


def the_pod(hooks: str) -> Object:
    """The one hook of the chart."""
    (pod,) = [found for found in yaml.safe_load_all(hooks) if found]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    return dict(pod)


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether a selector of labels takes a pod."""
    return selector is not None and selector["matchLabels"].items() <= labels.items()


def is_led_to_the_operator(release: Release, of_test: dict[str, str]) -> bool:
    """Whether the Service leads to the operator's admin port, and not to the pod that tests it."""
    service = pick(release.objects, "Service", "-operator")["spec"]
    template = pick(release.objects, "Deployment", "-operator")["spec"]["template"]
    (port,) = [port for port in service["ports"] if port["port"] == 8472]
    (container,) = template["spec"]["containers"]
    named = {known["name"]: known["containerPort"] for known in container["ports"]}
    (admin,) = [flag for flag in container["args"] if flag.startswith("--admin=")]
    operator, test = template["metadata"]["labels"].items(), of_test.items()
    wanted = service["selector"].items()
    return wanted <= operator and not wanted <= test and admin.endswith(f":{named[port['targetPort']]}")
