"""A feature server over HTTPS, whose authority the platform names once for all sidecars and the operator."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import Authority

from e2e.journeys.cluster import SYSTEM
from e2e.journeys.conftest import Installed


def test_on_demand_https(installed: Installed, team: str, tmp_path: Path) -> None:
    """Not trusted before the authority is named; then computed, without a change to server or group."""
    cluster, authority = installed.cluster, Authority()
    pair = authority.server("127.0.0.1", f"visit-features.{team}.svc")
    for name, text in (("ca", authority.certificate), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_text(text)
    cluster.config_of_apps(team)
    files = f"--cert {tmp_path}/tls.crt --key {tmp_path}/tls.key"
    cluster.sh(f"kubectl create secret tls visit-features {files} --namespace {team}")
    specs = (
        "--from-file=e2e/journeys/manifests/computed.yaml --from-file=e2e/journeys/manifests/user-facts.yaml"
    )
    cluster.sh(f"kubectl create configmap visit-features {specs} --namespace {team}")
    repository, tag = cluster.images["pannier"].rsplit(":", 1)
    cluster.sh(
        f"helm install visit-features charts/feature-server --namespace {team} --values - --wait"
        " --set tls.secretName=visit-features",
        text=cluster.filled("feature-server.yaml", repository=repository, tag=tag),
    )
    group = (
        cluster.filled("computed.yaml")
        .partition("---\n")[2]
        .replace("port: 8080", "port: 8080, scheme: HTTPS")
    )
    cluster.sh(f"kubectl apply --filename - --namespace {team}", text=group)
    cluster.group_is("OnDemandReady=False", "name-length", team)
    told = f"kubectl describe featuregroup name-length --namespace {team}"
    cluster.eventually("it says why", lambda: "ServerUntrusted" in cluster.quiet(told))
    named = f"configmap feature-server-authorities --namespace {SYSTEM}"
    cluster.sh(f"kubectl create {named} --from-file=ca.crt={tmp_path}/ca")
    try:
        # or wait until the kubelet mounts it
        cluster.sh(f"kubectl rollout restart deployment/pannier-operator --namespace {SYSTEM}")
        cluster.sh(f"kubectl rollout status deployment/pannier-operator --namespace {SYSTEM} --timeout=120s")
        cluster.group_is("Ready", "name-length", team, seconds=120)
        cluster.deploy(team)
        row = cluster.eventually(
            "it is computed", lambda: cluster.asked(team, "get name_length u1")["rows"][0]
        )
        assert row["features"] == {"letters": 2}
    finally:
        cluster.sh(f"kubectl delete {named}")
