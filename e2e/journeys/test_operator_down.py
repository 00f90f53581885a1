"""The operator is gone for a while: serving goes on, and new pods get sidecars that serve."""

from __future__ import annotations

from e2e.journeys.conftest import Installed


def test_operator_down(installed: Installed, team: str) -> None:
    """Pods roll without an operator; what is edited meanwhile is served once it is back."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.pannier(team, "put user_facts u1 visits=7")
    replicas = "kubectl scale deployment/pannier-operator --namespace pannier-system --replicas"
    cluster.sh(f"{replicas} 0")
    try:
        gone = "--selector app.kubernetes.io/component=operator --namespace pannier-system --for=delete"
        cluster.sh(f"kubectl wait pod {gone} --timeout=60s")
        before = cluster.pods(team)
        cluster.sh(f"kubectl rollout restart deployment/app --namespace {team}")
        cluster.sh(f"kubectl rollout status deployment/app --namespace {team} --timeout=120s")
        cluster.eventually("the new pod alone", lambda: not set(cluster.pods(team)) & set(before))
        assert cluster.asked(team, "get user_facts u1")["rows"][0]["features"]["visits"] == 7
        assert "written" in cluster.pannier(team, "put user_facts u1 visits=8")
        patch = '{"spec": {"cache": {"local": {"softTTLSeconds": 30}}}}'
        cluster.sh(f"kubectl patch featuregroup user-facts --namespace {team} --type merge --patch '{patch}'")
    finally:
        cluster.sh(f"{replicas} 2")
    cluster.sh("kubectl rollout status deployment/pannier-operator --namespace pannier-system --timeout=120s")
    cluster.group_is("Served", "user-facts", team, seconds=120)
    group = cluster.asked(team, "groups user_facts")
    assert group["policy"]["local"]["softTTLSeconds"] == 30
