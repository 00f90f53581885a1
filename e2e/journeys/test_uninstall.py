"""Pannier is uninstalled: groups, tables and rows stay, apps read on, and a new installation takes over."""

from __future__ import annotations

import pytest

from e2e.journeys.conftest import Installed, install


@pytest.mark.control_plane
def test_uninstall_keeps_objects(installed: Installed, team: str) -> None:
    """The definition and every FeatureGroup stay; nothing of the release does."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.sh("helm uninstall pannier --namespace pannier-system")
    assert "user-facts" in cluster.sh(f"kubectl get featuregroups --namespace {team}")
    assert cluster.sh("kubectl get deployments --namespace pannier-system --output name") == ""
    install(cluster)


def test_uninstall(installed: Installed, team: str) -> None:
    """Helm uninstall, then helm install: the row that was written before is read all along."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.pannier(team, "put user_facts u1 visits=7")
    cluster.sh("helm uninstall pannier --namespace pannier-system --wait --timeout 2m")
    assert "user-facts" in cluster.sh(f"kubectl get featuregroups --namespace {team}")
    assert "pannier-catalog" in cluster.sh(f"kubectl get configmaps --namespace {team}")
    assert cluster.asked(team, "get user_facts u1")["rows"][0]["features"]["visits"] == 7
    assert "written" in cluster.pannier(team, "put user_facts u1 visits=8")
    install(cluster)
    patch = '{"spec": {"cache": {"local": {"softTTLSeconds": 30}}}}'
    cluster.sh(f"kubectl patch featuregroup user-facts --namespace {team} --type merge --patch '{patch}'")
    cluster.group_is("Ready", "user-facts", team)
    cluster.sh(f"kubectl rollout restart deployment/app --namespace {team}")
    cluster.sh(f"kubectl rollout status deployment/app --namespace {team} --timeout=120s")
    cluster.group_is("Served", "user-facts", team)
    assert cluster.asked(team, "get user_facts u1")["rows"][0]["features"]["visits"] == 8
