"""The Redis pod is deleted while apps read."""

from __future__ import annotations

from e2e.journeys.conftest import Installed
from e2e.journeys.load import reading


def test_redis_deleted(installed: Installed, team: str) -> None:
    """No request fails and no row is unknown or missing: L1 and DynamoDB answer meanwhile."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    with reading(cluster, team) as load:
        cluster.sh("kubectl delete pod --selector app=redis --namespace backing")
        load.goes_on(reads=200)
        cluster.sh("kubectl rollout status deployment/redis --namespace backing --timeout=60s")
        load.goes_on(reads=200)
        totals = load.totals()
        assert (totals["failed"], totals["unknown"], totals["missing"]) == (0, 0, 0), load.notes()
