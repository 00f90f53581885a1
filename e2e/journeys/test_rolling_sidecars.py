"""Sidecars are replaced by rolling their pods, under load, and no request is dropped."""

from __future__ import annotations

from e2e.journeys.conftest import Installed
from e2e.journeys.load import reading


def test_rolling_sidecars(installed: Installed, team: str) -> None:
    """Sidecars get another setting by helm upgrade; an app's reads succeed from its first to its last."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    with reading(cluster, team) as load:
        before = cluster.pods(team)
        upgrade = (
            "helm upgrade pannier charts/pannier --namespace pannier-system --reset-then-reuse-values --wait"
        )
        cluster.sh(f"{upgrade} --set sidecar.logLevel=debug")
        cluster.sh(f"kubectl rollout restart deployment/app --namespace {team}")
        cluster.sh(f"kubectl rollout status deployment/app --namespace {team} --timeout=180s")
        load.ended(before)
        load.goes_on(reads=100)
        (level,) = {
            argument
            for pod in cluster.json(f"kubectl get pods --namespace {team} --selector app=app --output json")[
                "items"
            ]
            for container in pod["spec"]["initContainers"]
            for argument in container["args"]
            if argument.startswith("--log-level") and pod["metadata"]["name"] not in before
        }
        assert "debug" in level
        totals = load.totals()
        assert (totals["failed"], totals["unknown"], totals["missing"]) == (0, 0, 0), load.notes()
    cluster.sh(f"{upgrade} --set sidecar.logLevel=info")
