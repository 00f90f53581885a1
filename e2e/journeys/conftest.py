"""One installation for all journeys, a namespace for each."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.journeys.cluster import SYSTEM, Cluster

IMAGES = {
    "pannier": os.environ.get("E2E_IMAGE", "localhost/pannier-operator:latest"),
    "redis": os.environ.get("E2E_REDIS_IMAGE", "localhost/pannier-e2e-redis:latest"),
    "dynamodb": os.environ.get("E2E_DYNAMODB_IMAGE", "localhost/pannier-e2e-dynoxide:latest"),
}

NO_NODE = bool(os.environ.get("E2E_CONTROL_PLANE_ONLY"))


@dataclass(frozen=True)
class Installed:
    """Pannier as it was installed."""

    cluster: Cluster
    began: float
    """When the first command was typed, by the monotonic clock."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what ends the installation after everything that uses it."""
    items.sort(key=lambda item: "uninstall" in item.nodeid)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, with what a platform has."""
    found = Cluster(IMAGES)
    if NO_NODE:
        return found
    found.apply("backing.yaml", redis=IMAGES["redis"], dynamodb=IMAGES["dynamodb"])
    found.sh("kubectl rollout status deployment/redis deployment/dynamodb --namespace backing --timeout=120s")
    return found


def install(cluster: Cluster) -> None:
    """Install Pannier with Helm, and wait until its pods are ready."""
    repository, tag = IMAGES["pannier"].rsplit(":", 1)
    wait = "" if NO_NODE else "--wait --timeout 4m"
    options = f"--namespace {SYSTEM} --install --create-namespace --values - {wait}"
    cluster.sh(
        f"helm upgrade pannier charts/pannier {options}",
        text=cluster.filled("values.yaml", repository=repository, tag=tag),
    )


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Installed:
    """Pannier, installed with Helm."""
    began = time.monotonic()
    install(cluster)
    return Installed(cluster, began)


@pytest.fixture
def team(installed: Installed, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the journey's own."""
    named = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))
    with installed.cluster.namespace(named[:40].strip("-")) as name:
        yield name
