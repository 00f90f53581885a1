"""The Prometheus text of `Metrics`: the only module that knows the Prometheus client.

`pannier_sidecar.metric_families` lists every metric with labels and documentation.
Samples are read from the counters at scrape time, so counting itself stays an integer addition.
"""

# Longer than 300 lines because it is a list: every metric with its words, and the one place that fills them.

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pannier_sidecar.instruments import Histogram
from pannier_sidecar.metric_families import FAMILIES
from pannier_sidecar.metrics import CIRCUIT_STATES, OUTCOMES, GroupCounters, Metrics
from pannier_sidecar.subscription_counts import SubscriptionCounts

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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
            families.add("pannier_l1_stores_total", held.stores, name)
            families.add("pannier_l1_evictions_total", held.evictions, name)
            families.add("pannier_l1_turned_away_total", held.turned_away, name)
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
        for lease_event, n in counters.leases.items():
            self.add("pannier_leases_total", n, group, lease_event)
        for event, n in counters.invalidations.items():
            self.add("pannier_invalidations_total", n, group, event)
        for tier, histogram in counters.loads.items():
            self.add_histogram("pannier_load_duration_seconds", histogram, tier, group)
        self.add_histogram("pannier_served_age_seconds", counters.served_age, group)
        for check, n in counters.observed.checks.items():
            self.add("pannier_consistency_checks_total", n, group, *check)
        self.add_histogram("pannier_consistency_stale_for_seconds", counters.stale_for, group)
        for shadow, n in counters.observed.shadow.items():
            self.add("pannier_shadow_total", n, group, *shadow)

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
        self.add_load(metrics)
        self._add_subscription(metrics.subscription)
        usage = metrics.backfill_usage()
        if usage is not None:
            self.add("pannier_backfill_queue_entries", usage.queued)
            self.add("pannier_backfill_unconfirmed_entries", usage.unconfirmed)
        self.add("pannier_l1_limit_bytes", metrics.l1_limit_bytes)
        self.add("pannier_catalog_revision", metrics.catalog_revision)
        self.add("pannier_catalog_groups", metrics.catalog_groups)
        if metrics.operator_is_heard is not None:
            self.add("pannier_catalog_operator_heard", metrics.operator_is_heard())

    def add_load(self, metrics: Metrics) -> None:
        """How much is under way, and what was done about it."""
        for (kind,), n in metrics.sheds.items():
            self.add("pannier_shed_total", n, kind)
        for (event,), n in metrics.hedges.items():
            self.add("pannier_hedges_total", n, event)
        for name, room in metrics.rooms().items():
            self.add("pannier_in_flight", room.in_flight, name)
            self.add("pannier_in_flight_limit", room.limit, name)
        self.add_histogram("pannier_loop_delay_seconds", metrics.loop_delay)
        self.add_histogram("pannier_loop_work_seconds", metrics.loop_work)

    def _add_subscription(self, counts: SubscriptionCounts) -> None:
        self.add_histogram("pannier_invalidation_delay_seconds", counts.delay)
        self.add("pannier_invalidation_messages_total", counts.published)
        self.add("pannier_invalidation_deliveries_total", counts.delivered)
        self.add("pannier_invalidation_losses_total", counts.losses)
        self.add("pannier_l1_epoch", counts.epoch)
        if counts.state != "absent":
            self.add("pannier_invalidation_listening", counts.state == "listening")

    def made(self) -> Iterator[Metric]:
        """The families, in the order of `FAMILIES`."""
        for name, *_ in FAMILIES:
            yield self._counters.get(name) or self._gauges.get(name) or self._histograms[name]
