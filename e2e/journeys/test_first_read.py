"""From an empty cluster to the first feature read by an app, in under five minutes."""

from __future__ import annotations

import time

from e2e.journeys.conftest import Installed

MOST_SECONDS = 300.0


def test_first_read(installed: Installed, team: str) -> None:
    """Helm install, kubectl apply, a labelled pod, a write and a read through its sidecar."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    assert "written" in cluster.pannier(team, "put user_facts u1 visits=7 city=Seoul")
    assert "Seoul" in cluster.pannier(team, "get user_facts u1")
    took = time.monotonic() - installed.began
    print(f"from helm install to the first read: {took:.0f} s")
    assert took < MOST_SECONDS


def test_first_group_of_a_namespace(installed: Installed, team: str) -> None:
    """Pods that were there before it serve it without waiting for what a kubelet mounts a minute later."""
    cluster = installed.cluster
    cluster.deploy(team)
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.group_is("Served", "user-facts", team, seconds=30)
    assert "written" in cluster.pannier(team, "put user_facts u1 visits=7")


def test_installation_is_looked_over(installed: Installed, team: str) -> None:
    """`pannier check` finds nothing to mend, and `helm test` passes."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.group_is("Served", "user-facts", team)
    assert "a pod that asks is given a sidecar" in cluster.sh("pannier check")
    cluster.sh("helm test pannier --namespace pannier-system --timeout 2m")
