"""The Prometheus text of `Metrics`: the only module that knows the Prometheus client.

`FAMILIES` lists every metric with labels and documentation; docs/reference/metrics.md is tested against it.
Samples are read from the counters at scrape time, so counting itself stays an integer addition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pannier_sidecar.metrics import CIRCUIT_STATES, OUTCOMES, GroupCounters, Histogram, Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """One metric: what it is called, what it is labelled by, what it means."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


FAMILIES: Final = (
    Family(
        "pannier_rows_read_total",
        "counter",
        ("group", "outcome"),
        "Rows answered, each in one outcome: found in l1, l2, l3 or on_demand; negative (missing, known from"
        " a cache); missing (L3 said so just now); unknown (no tier answered); stale (past the hard TTL,"
        " under stale-if-error).",
    ),
    Family(
        "pannier_rows_outdated_total",
        "counter",
        ("group",),
        "Rows whose event time was older than the max_age_seconds of the read.",
    ),
    Family(
        "pannier_deprecated_features_read_total",
        "counter",
        ("group",),
        "Deprecated features that reads named; at zero they can be removed.",
    ),
    Family(
        "pannier_refreshes_total",
        "counter",
        ("group", "kind"),
        "Background refreshes of L1 entries: early (by dice before the soft deadline) or soft (past it).",
    ),
    Family("pannier_l3_lookups_total", "counter", ("group",), "Keys looked up in L3."),
    Family("pannier_l3_missing_total", "counter", ("group",), "Keys looked up in L3 that it does not hold."),
    Family(
        "pannier_load_duration_seconds",
        "histogram",
        ("tier", "group"),
        "Time one load of a group's keys took in a tier.",
    ),
    Family(
        "pannier_served_age_seconds",
        "histogram",
        ("group",),
        "Age of served values: time since L3 said so.",
    ),
    Family("pannier_writes_total", "counter", ("group", "verdict"), "Writes by what became of them."),
    Family(
        "pannier_records_replaced_total",
        "counter",
        ("group",),
        "Timeline records that replaced another record of the same instant; a tie-breaker would keep both.",
    ),
    Family("pannier_backfill_events_total", "counter", ("event",), "What the background writer of L2 did."),
    Family("pannier_backfill_queue_entries", "gauge", (), "Entries waiting to be written to L2."),
    Family("pannier_backfill_unconfirmed_entries", "gauge", (), "Writes whose L2 step is not confirmed yet."),
    Family("pannier_l1_bytes", "gauge", ("group",), "Bytes that L1 holds."),
    Family("pannier_l1_entries", "gauge", ("group",), "Entries that L1 holds."),
    Family("pannier_l1_evictions_total", "counter", ("group",), "Entries that L1 dropped for lack of room."),
    Family("pannier_l1_limit_bytes", "gauge", (), "Upper bound of L1's bytes in this process."),
    Family(
        "pannier_tier_errors_total", "counter", ("tier", "reason"), "Calls to a tier that gave no answer."
    ),
    Family(
        "pannier_tier_circuit_state",
        "gauge",
        ("tier", "state"),
        "1 for the state the tier's circuit breaker is in, 0 for the others.",
    ),
    Family("pannier_catalog_revision", "gauge", (), "Revision of the catalog that is served; 0 = none yet."),
    Family("pannier_catalog_groups", "gauge", (), "Groups in the catalog that is served."),
    Family(
        "pannier_catalog_problems",
        "gauge",
        ("reason",),
        "Why something of the mounted catalog is not served; the last good version is served on.",
    ),
    Family(
        "pannier_problems_total",
        "counter",
        ("reason",),
        "Requests, and reads within one, that were answered with a problem.",
    ),
    Family("pannier_build_info", "gauge", ("version",), "Always 1; the version is the label."),
)


def reference_table() -> str:
    """The table of docs/reference/metrics.md."""
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, kind, labels, help_text in FAMILIES:
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {help_text} |")
    return "\n".join(lines) + "\n"


class Exposition:
    """Prometheus text on demand, from a registry of its own."""

    def __init__(self, metrics: Metrics, *, version: str, process: bool = True) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_MetricsCollector(metrics, version))
        if process:
            ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return f"<Exposition of {len(FAMILIES)} families>"


class _MetricsCollector(Collector):
    """Reads the counters at each scrape."""

    def __init__(self, metrics: Metrics, version: str) -> None:
        self._metrics = metrics
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """All families of `FAMILIES` in that order, also those without samples yet."""
        families = _Families()
        usage = self._metrics.l1_usage()
        for counters in self._metrics.groups():
            families.add_group(counters)
        for name, held in usage.items():
            families.add("pannier_l1_bytes", held.bytes, name)
            families.add("pannier_l1_entries", held.entries, name)
            families.add("pannier_l1_evictions_total", held.evictions, name)
        families.add_process(self._metrics)
        families.add("pannier_build_info", 1, self._version)
        yield from families.made()


class _Families:
    """One scrape in the making."""

    def __init__(self) -> None:
        self._counters: dict[str, CounterMetricFamily] = {}
        self._gauges: dict[str, GaugeMetricFamily] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}
        for name, kind, labels, help_text in FAMILIES:
            if kind == "counter":
                self._counters[name] = CounterMetricFamily(name, help_text, labels=labels)
            elif kind == "gauge":
                self._gauges[name] = GaugeMetricFamily(name, help_text, labels=labels)
            else:
                self._histograms[name] = HistogramMetricFamily(name, help_text, labels=labels)

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample of a counter or gauge."""
        (self._counters.get(name) or self._gauges[name]).add_metric(labels, value)

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        """One histogram, unless nothing was observed (most groups never touch most tiers)."""
        if any(histogram.counts):
            self._histograms[name].add_metric(labels, histogram.cumulative(), histogram.total)

    def add_group(self, counters: GroupCounters) -> None:
        """Everything counted of one group."""
        group = counters.name
        for outcome in OUTCOMES:
            self.add("pannier_rows_read_total", getattr(counters, outcome), group, outcome)
        self.add("pannier_rows_outdated_total", counters.outdated, group)
        self.add("pannier_deprecated_features_read_total", counters.deprecated, group)
        self.add("pannier_refreshes_total", counters.refresh_early, group, "early")
        self.add("pannier_refreshes_total", counters.refresh_soft, group, "soft")
        self.add("pannier_l3_lookups_total", counters.l3_lookups, group)
        self.add("pannier_l3_missing_total", counters.l3_missing, group)
        self.add("pannier_records_replaced_total", counters.replaced, group)
        for verdict, n in counters.writes.items():
            self.add("pannier_writes_total", n, group, verdict)
        for tier, histogram in counters.loads.items():
            self.add_histogram("pannier_load_duration_seconds", histogram, tier, group)
        self.add_histogram("pannier_served_age_seconds", counters.served_age, group)

    def add_process(self, metrics: Metrics) -> None:
        """Everything that is not of one group."""
        for (tier, reason), n in metrics.tier_errors.items():
            self.add("pannier_tier_errors_total", n, tier, reason)
        for (event,), n in metrics.backfills.items():
            self.add("pannier_backfill_events_total", n, event)
        for (reason,), n in metrics.problems.items():
            self.add("pannier_problems_total", n, reason)
        for reason, n in metrics.catalog_problems().items():
            self.add("pannier_catalog_problems", n, reason)
        for tier, now in metrics.circuits.items():
            for state in CIRCUIT_STATES:
                self.add("pannier_tier_circuit_state", state == now, tier, state)
        usage = metrics.backfill_usage()
        if usage is not None:
            self.add("pannier_backfill_queue_entries", usage.queued)
            self.add("pannier_backfill_unconfirmed_entries", usage.unconfirmed)
        self.add("pannier_l1_limit_bytes", metrics.l1_limit_bytes)
        self.add("pannier_catalog_revision", metrics.catalog_revision)
        self.add("pannier_catalog_groups", metrics.catalog_groups)

    def made(self) -> Iterator[Metric]:
        """The families, in the order of `FAMILIES`."""
        for name, *_ in FAMILIES:
            yield self._counters.get(name) or self._gauges.get(name) or self._histograms[name]
