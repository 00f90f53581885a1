"""A Job with a sidecar completes: a native sidecar ends with the containers that it is for."""

from __future__ import annotations

from e2e.journeys.conftest import Installed


def test_job(installed: Installed, team: str) -> None:
    """The sidecar is up before the job's container starts, and does not keep the pod after it."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.pannier(team, "put user_facts u1 visits=7 city=Seoul")
    cluster.apply("job.yaml", namespace=team, image=cluster.images["pannier"])
    cluster.sh(f"kubectl wait --for=condition=Complete job/nightly --namespace {team} --timeout=120s")
    assert "Seoul" in cluster.sh(f"kubectl logs job/nightly --container nightly --namespace {team}")
