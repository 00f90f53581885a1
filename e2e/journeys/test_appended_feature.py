"""A feature is appended while pods of before and after it serve side by side."""

from __future__ import annotations

import json

from e2e.journeys.conftest import Installed

SCORE = {"op": "add", "path": "/spec/features/-", "value": {"id": 2, "name": "score", "type": "Float64"}}


def test_appended_feature(installed: Installed, team: str) -> None:
    """The older pod learns the feature, what it wrote reads without it, and both read what either writes."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    (before,) = cluster.pods(team)
    cluster.pannier(team, "put user_facts u1 visits=7 city=Seoul", pod=before)
    patch = f"--type json --patch '{json.dumps([SCORE])}'"
    cluster.sh(f"kubectl patch featuregroup user-facts --namespace {team} {patch}")
    cluster.sh(f"kubectl scale deployment/app --replicas 2 --namespace {team}")
    cluster.sh(f"kubectl rollout status deployment/app --namespace {team} --timeout=120s")
    cluster.group_is("Served", "user-facts", team)
    (after,) = set(cluster.pods(team)) - {before}
    cluster.pannier(team, "put user_facts u2 visits=1 score=0.5", pod=after)
    for pod in (before, after):
        rows = cluster.asked(team, "get user_facts u1 u2", pod=pod)["rows"]
        assert [row["features"].get("score") for row in rows] == [None, 0.5], (pod, rows)
        assert rows[0]["features"]["city"] == "Seoul"
