"""What a feature server counts, and the one module of the kit that knows the Prometheus client."""

from __future__ import annotations

from collections import Counter as Tally
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from pannier_ondemand.messages import Result

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        registry = self._registry
        self.calls = Counter(
            "pannier_ondemand_calls",
            "Calls by the reason of their refusal; empty = answered.",
            ["reason"],
            registry=registry,
        )
        self.in_flight = Gauge("pannier_ondemand_in_flight", "Calls under way.", registry=registry)
        self._rows = Counter(
            "pannier_ondemand_rows", "Rows answered.", ["group", "status"], registry=registry
        )
        self._refused = Counter(
            "pannier_ondemand_reads_refused",
            "Reads that were not answered, by reason.",
            ["group", "reason"],
            registry=registry,
        )
        self._seconds = Histogram(
            "pannier_ondemand_read_seconds",
            "Duration of a read.",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )

    def read(self, group: str, result: Result, seconds: float) -> None:
        """Count one read; ``group`` is empty where it is none of this server's."""
        self._seconds.labels(group).observe(seconds)
        if result.error is not msgspec.UNSET:
            self._refused.labels(group, result.error.reason).inc()
        if result.rows is not msgspec.UNSET:
            for status, rows in Tally(row.status for row in result.rows).items():
                self._rows.labels(group, status).inc(rows)

    def text(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return "<Metrics of a feature server>"
