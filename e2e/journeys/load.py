"""Readers under way in an app's pods, and what they told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from e2e.journeys.cluster import Cluster


class Load:
    """What all readers of a namespace saw, also those of pods that are gone."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def reports(self, *, since: float = 0.0) -> list[dict[str, Any]]:
        """Every report, oldest first; ``since`` in seconds of the epoch, by the reader's clock."""
        text = self._cluster.quiet(f"kubectl logs deployment/recorder --namespace {self._namespace}")
        told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [report for report in told if report["at"] >= since]

    def totals(self) -> dict[str, int]:
        """Sum what every pod counted until its last report."""
        latest = {report["pod"]: report for report in self.reports()}
        return {
            name: sum(report[name] for report in latest.values())
            for name in ("reads", "failed", "unknown", "missing")
        }

    def goes_on(self, *, reads: int = 50, seconds: float = 60.0) -> None:
        """Wait until so many more rows have been read."""
        before = self.totals()["reads"]
        self._cluster.eventually(
            "reading goes on", lambda: self.totals()["reads"] >= before + reads, seconds=seconds
        )

    def oldest_seconds(self, *, since: float) -> float:
        """Age of the oldest row answered since a moment; a report covers what came before it, too."""
        return max((report["oldest_seconds"] for report in self.reports(since=since)), default=0.0)

    def notes(self) -> Sequence[str]:
        """Tell what did not go well, by pod."""
        return sorted({f"{report['pod']}: {note}" for report in self.reports() for note in report["notes"]})

    def ended(self, pods: Sequence[str]) -> None:
        """Wait for the last report of pods that are on their way out."""
        self._cluster.eventually(
            "their last reports are there",
            lambda: {report["pod"] for report in self.reports() if report["last"]} >= set(pods),
        )

    def __repr__(self) -> str:
        return f"<Load in {self._namespace}>"


@contextmanager
def reading(cluster: Cluster, namespace: str, *, replicas: int = 2) -> Iterator[Load]:
    """Have an app read ``user_facts`` of ``u1`` through its sidecars; the row is written here."""
    cluster.config_of_apps(namespace)
    cluster.apply("recorder.yaml", namespace=namespace, image=cluster.images["pannier"])
    cluster.sh(f"kubectl rollout status deployment/recorder --namespace {namespace} --timeout=120s")
    cluster.deploy(namespace, "idle.py")
    cluster.pannier(namespace, "put user_facts u1 visits=7 city=Seoul")
    cluster.deploy(namespace, "reader.py", replicas=replicas)
    load = Load(cluster, namespace)
    load.goes_on()
    yield load
    print(f"readers: {load.totals()}")


def now() -> float:
    """The clock of reports."""
    return time.time()
