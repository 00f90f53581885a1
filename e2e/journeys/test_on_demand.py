"""Stored, cached, computed and derived features in one request, and each of them failing by itself."""

from __future__ import annotations

import json
from typing import Any

from e2e.journeys.cluster import Cluster
from e2e.journeys.conftest import Installed

IDS = ["u1", "nobody"]
READS = [
    {"group": "user_facts", "ids": IDS},
    {"group": "visit_score", "ids": IDS, "context": {"weight": 2}},
    {"group": "name_length", "ids": IDS},
]


def read(cluster: Cluster, team: str) -> list[list[tuple[str, Any, str]]]:
    """Ask for all in one request; gives status, features, and whence or why not, by read and row."""
    body = json.dumps({"reads": READS, "explain": True})
    command = f"kubectl exec --stdin --namespace {team} deployment/app --container app -- python3 /app/ask.py"
    answer = json.loads(cluster.sh(command, text=body))
    return [
        [
            (row["status"], row.get("features"), row.get("source") or row.get("reason"))
            for row in result["rows"]
        ]
        for result in answer["results"]
    ]


def test_on_demand(installed: Installed, team: str) -> None:
    """The server is deployed with its chart; then its pods go, and what is stored is read on."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.apply("computed.yaml", namespace=team)
    cluster.group_is("OnDemandReady=False", "visit-score", team)
    assert "ServiceMissing" in cluster.sh(f"kubectl describe featuregroup visit-score --namespace {team}")
    repository, tag = cluster.images["pannier"].rsplit(":", 1)
    cluster.config_of_apps(team)
    specs = "e2e/journeys/manifests"
    files = f"--from-file={specs}/computed.yaml --from-file={specs}/user-facts.yaml"
    cluster.sh(f"kubectl create configmap visit-features --namespace {team} {files}")
    cluster.sh(
        f"helm install visit-features charts/feature-server --namespace {team} --values - --wait",
        text=cluster.filled("feature-server.yaml", repository=repository, tag=tag),
    )
    for name in ("user-facts", "visit-score", "name-length"):
        cluster.group_is("Ready", name, team)
    cluster.deploy(team)
    cluster.group_is("Served", "visit-score", team)
    cluster.pannier(team, "put user_facts u1 visits=7")

    facts, scores, lengths = read(cluster, team)
    assert [row[0] for row in facts] == ["found", "missing"]
    assert scores == [("found", {"score": 14.0}, "on_demand"), ("unknown", None, "TierUnavailable")]
    assert lengths == [("found", {"letters": 2}, "on_demand"), ("found", {"letters": 6}, "on_demand")]
    (again, _), _, _ = read(cluster, team)
    assert again[2] == "l1"

    cluster.sh(f"kubectl scale deployment/visit-features --replicas 0 --namespace {team}")
    cluster.group_is("OnDemandReady=False", "visit-score", team, seconds=120)  # looked at once a minute
    group = f"kubectl describe featuregroup visit-score --namespace {team}"
    cluster.eventually("it says why", lambda: "NoEndpoints" in cluster.quiet(group))
    facts, scores, lengths = read(cluster, team)
    assert [row[0] for row in facts] == ["found", "missing"]
    assert {row[0] for row in (*scores, *lengths)} == {"unknown"}
    cluster.sh(f"kubectl scale deployment/visit-features --replicas 1 --namespace {team}")
    cluster.group_is("OnDemandReady", "visit-score", team, seconds=120)
    cluster.eventually("computed again", lambda: read(cluster, team)[1][0][1] == {"score": 14.0})


def test_service_of_another_namespace(installed: Installed, team: str) -> None:
    """Refused at apply, unless the platform allows it: a Service is called with other teams' requests."""
    cluster = installed.cluster
    group = cluster.filled("computed.yaml").replace("name: visit-features", "name: redis, namespace: backing")
    said = cluster.refused(f"kubectl apply --filename - --namespace {team} --dry-run=server", text=group)
    assert "ServiceNotAllowed" in said
    assert f"namespace {team} may not use Services of namespace backing" in said
