"""A feature server over HTTPS: its team has a certificate, and the platform says once whose count."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import Authority

from e2e.journeys.cluster import SYSTEM
from e2e.journeys.conftest import Installed
from e2e.journeys.test_on_demand import read


def test_on_demand_https(installed: Installed, team: str, tmp_path: Path) -> None:
    """Nobody is trusted before; afterwards the operator is, and sidecars by what it publishes."""
    cluster, authority = installed.cluster, Authority()
    pair = authority.server("127.0.0.1", f"visit-features.{team}.svc")
    for name, text in (
        ("ca.crt", authority.certificate),
        ("tls.crt", pair.certificate),
        ("tls.key", pair.key),
    ):
        (tmp_path / name).write_text(text)
    here = f"--namespace {team}"
    cluster.config_of_apps(team)
    cluster.sh(
        f"kubectl create secret tls certified --cert {tmp_path}/tls.crt --key {tmp_path}/tls.key {here}"
    )
    specs = "e2e/journeys/manifests"
    files = f"--from-file={specs}/computed.yaml --from-file={specs}/user-facts.yaml"
    cluster.sh(f"kubectl create configmap visit-features {here} {files}")
    repository, tag = cluster.images["pannier"].rsplit(":", 1)
    options = f"{here} --set tls.secretName=certified --values - --wait"
    cluster.sh(
        f"helm install visit-features charts/feature-server {options}",
        text=cluster.filled("feature-server.yaml", repository=repository, tag=tag),
    )
    cluster.apply("user-facts.yaml", namespace=team)
    groups = cluster.filled("computed.yaml").replace("port: 8080", "port: 8080, scheme: HTTPS")
    cluster.sh(f"kubectl apply --filename - {here}", text=groups)
    group = f"kubectl describe featuregroup name-length {here}"
    cluster.eventually("nobody is trusted", lambda: "ServerUntrusted" in cluster.quiet(group))

    named = f"configmap feature-server-authorities --namespace {SYSTEM}"
    cluster.sh(f"kubectl create {named} --from-file={tmp_path}/ca.crt")
    try:
        operator = f"deployment/pannier-operator --namespace {SYSTEM}"
        cluster.sh(f"kubectl rollout restart {operator}")  # or wait until the kubelet has it
        cluster.sh(f"kubectl rollout status {operator} --timeout=120s")
        for name in ("user-facts", "visit-score", "name-length"):
            cluster.group_is("Ready", name, team, seconds=120)
        cluster.deploy(team)
        _, _, lengths = read(cluster, team)
        assert lengths[0] == ("found", {"letters": 2}, "on_demand")
    finally:
        cluster.sh(f"kubectl delete {named}")
