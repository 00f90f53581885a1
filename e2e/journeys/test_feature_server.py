"""A team deploys a feature server and reads what it computes beside what is stored."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from tests.certificates import Authority

from e2e.journeys.cluster import SYSTEM, Cluster
from e2e.journeys.conftest import IMAGES, Installed

READ = """
import sys, urllib.request
asked = urllib.request.Request("http://127.0.0.1:8470/v1/features/read", sys.argv[1].encode())
asked.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(asked, timeout=20).read().decode())
"""
STORED = {"group": "user_facts", "ids": ["seoul"]}
COMPUTED = {"group": "scores", "ids": ["seoul", "x"], "context": {"factor": 10}}


def test_feature_server(installed: Installed, team: str) -> None:
    """The group says what is missing until the server is there; rows are unknown while it is away."""
    cluster = installed.cluster
    cluster.config_of_apps(team)
    for manifest in ("user-facts.yaml", "scores.yaml"):
        cluster.apply(manifest, namespace=team)
    says(cluster, team, "ServiceMissing")
    install_server(cluster, team)
    cluster.group_is("OnDemandReady", "scores", team)
    cluster.group_is("Ready", "scores", team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.pannier(team, "put user_facts seoul visits=7 city=Seoul")
    stored, computed = read(cluster, team)
    assert stored[0]["features"]["city"] == "Seoul"
    assert computed[0]["features"] == {"score": 50}
    assert computed[1]["status"] == "missing"
    cluster.sh(f"kubectl scale deployment/team-scores --replicas 0 --namespace {team}")
    says(cluster, team, "NoEndpoints", seconds=120)
    stored, computed = read(cluster, team)
    assert stored[0]["status"] == "found"
    assert {row["status"] for row in computed} == {"unknown"}
    cluster.sh(f"kubectl scale deployment/team-scores --replicas 1 --namespace {team}")
    cluster.group_is("Ready", "scores", team, seconds=120)
    cluster.eventually("the sidecar computes again", lambda: read(cluster, team)[1][0]["status"] == "found")


def test_feature_server_over_https(installed: Installed, team: str, tmp_path: Path) -> None:
    """The platform names an authority once; sidecars and operator trust whom it certified."""
    cluster, authority = installed.cluster, Authority()
    pair = authority.server("127.0.0.1", f"team-scores.{team}.svc")
    for name, text in (
        ("ca.crt", authority.certificate),
        ("tls.crt", pair.certificate),
        ("tls.key", pair.key),
    ):
        (tmp_path / name).write_text(text)
    cluster.config_of_apps(team)
    cluster.sh(
        f"kubectl create secret tls team-scores --cert {tmp_path}/tls.crt --key {tmp_path}/tls.key"
        f" --namespace {team}"
    )
    install_server(cluster, team, "--set tls.secretName=team-scores")
    group = cluster.filled("scores.yaml").replace("port: 8080", "port: 8080, scheme: HTTPS")
    cluster.sh(f"kubectl apply --filename - --namespace {team}", text=group)
    says(cluster, team, "ServerUntrusted")
    named = f"configmap feature-server-authorities --namespace {SYSTEM}"
    cluster.sh(f"kubectl create {named} --from-file={tmp_path}/ca.crt")
    try:
        # or wait until the kubelet has it
        cluster.sh(f"kubectl rollout restart deployment/pannier-operator --namespace {SYSTEM}")
        cluster.sh(f"kubectl rollout status deployment/pannier-operator --namespace {SYSTEM} --timeout=120s")
        cluster.group_is("Ready", "scores", team, seconds=120)
        cluster.apply("user-facts.yaml", namespace=team)
        cluster.group_is("Ready", "user-facts", team)
        cluster.deploy(team)
        stored, computed = read(cluster, team)
        assert stored[0]["status"] == "missing"
        assert computed[0]["features"] == {"score": 50}
    finally:
        cluster.sh(f"kubectl delete {named}")


def test_service_of_another_namespace(installed: Installed, team: str) -> None:
    """Refused at apply, by name, where the platform does not allow it."""
    cluster = installed.cluster
    group = cluster.filled("scores.yaml").replace("name: team-scores", "name: redis, namespace: backing")
    said = cluster.eventually(  # the webhook has its certificate a moment after the first install
        "the webhook refuses",
        lambda: cluster.refused(
            f"kubectl apply --filename - --namespace {team} --dry-run=server", text=group
        ),
    )
    assert "ServiceNotAllowed" in said
    assert f"namespace {team} may not use Services of namespace backing" in said


def install_server(cluster: Cluster, team: str, more: str = "") -> None:
    """Install the chart with the group as its specs."""
    repository, tag = IMAGES["pannier"].rsplit(":", 1)
    specs = shlex.quote("specs.files.scores\\.yaml=e2e/journeys/manifests/scores.yaml")
    options = f"--namespace {team} --install --values - --set-file {specs} --wait --timeout 3m"
    cluster.sh(
        f"helm upgrade team-scores charts/feature-server {options} {more}".rstrip(),
        text=cluster.filled("feature-server.yaml", repository=repository, tag=tag),
    )


def says(cluster: Cluster, team: str, reason: str, *, seconds: float = 60.0) -> None:
    """Wait until the group gives this reason."""
    path = '{.status.conditions[?(@.type=="OnDemandReady")].reason}'
    look = f"kubectl get featuregroup scores --namespace {team} --output jsonpath={shlex.quote(path)}"
    cluster.eventually(reason, lambda: cluster.quiet(look) == reason, seconds=seconds)


def read(cluster: Cluster, team: str) -> list[list[dict[str, Any]]]:
    """One request of an app to its sidecar, for both groups; the rows of each."""
    body = shlex.quote(json.dumps({"reads": [STORED, COMPUTED]}))
    inside = f"kubectl exec --namespace {team} deployment/app --container app"
    answer = cluster.json(f"{inside} -- python3 -c {shlex.quote(READ)} {body}")
    return [result["rows"] for result in answer["results"]]
