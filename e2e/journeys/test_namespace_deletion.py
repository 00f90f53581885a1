"""A team's namespace is deleted: it goes, with the tables of groups that said so, and no others."""

from __future__ import annotations

from e2e.journeys.conftest import Installed

KEPT = "user-facts.yaml"


def test_namespace_deletion(installed: Installed, team: str) -> None:
    """One group keeps its rows (the default), one takes them along."""
    cluster = installed.cluster
    with cluster.namespace("leaving") as leaving:
        cluster.apply(KEPT, namespace=leaving)
        gone = cluster.filled(KEPT).replace("user-facts", "user-drafts").replace("user_facts", "user_drafts")
        gone = gone.replace("spec:\n", "spec:\n  deletionPolicy: Delete\n", 1)
        gone = gone.replace("mode: Dedicated", "mode: Dedicated, dedicated: {deletionProtection: Disabled}")
        cluster.sh(f"kubectl apply --filename - --namespace {leaving}", text=gone)
        cluster.group_is("Ready", "user-facts", leaving)
        cluster.group_is("Ready", "user-drafts", leaving)
        cluster.deploy(team)
        tables = f"kubectl exec --namespace {team} deployment/app --container app -- python3 /app/tables.py"
        assert {"user_facts", "user_drafts"} <= {
            name.rpartition(".")[2] for name in cluster.sh(tables).split()
        }
        cluster.sh(f"kubectl delete namespace {leaving} --timeout=90s")
    left = {name for name in cluster.sh(tables).split() if "leaving" in name}
    assert {name.rpartition(".")[2] for name in left} == {"user_facts"}, left
