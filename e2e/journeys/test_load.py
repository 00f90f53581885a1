"""Apps read on while TTLs are edited and pods roll: nothing fails, and no row is older than TTLs allow."""

from __future__ import annotations

import json

from e2e.journeys.conftest import Installed
from e2e.journeys.load import now, reading

LONG = {"softTTLSeconds": 5, "hardTTLSeconds": 10}
SHORT = {"softTTLSeconds": 1, "hardTTLSeconds": 2}
REPORT_SECONDS = 1.0
"""What a report may cover that was before a moment, and how far clocks of one node differ: not at all."""


def test_load(installed: Installed, team: str) -> None:
    """Rows are cached in L1 alone, so that its hard TTL bounds their age (design, section 6)."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)

    def edit(local: dict[str, int]) -> float:
        patch = json.dumps({"spec": {"cache": {"local": local, "remote": {"state": "Disabled"}}}})
        cluster.sh(f"kubectl patch featuregroup user-facts --namespace {team} --type merge --patch '{patch}'")
        cluster.group_is("Served", "user-facts", team)
        return now() + REPORT_SECONDS

    cluster.group_is("Ready", "user-facts", team)
    edit(LONG)
    with reading(cluster, team) as load:
        for local in (SHORT, LONG, SHORT):
            served_at = edit(local)
            cluster.sh(f"kubectl rollout restart deployment/app --namespace {team}")
            cluster.sh(f"kubectl rollout status deployment/app --namespace {team} --timeout=180s")
            load.goes_on(reads=300)
            oldest = load.oldest_seconds(since=served_at)
            print(f"oldest row under a hard TTL of {local['hardTTLSeconds']} s: {oldest:.2f} s")
            assert 0 < oldest <= local["hardTTLSeconds"]
        totals = load.totals()
        assert (totals["failed"], totals["unknown"], totals["missing"]) == (0, 0, 0), load.notes()
