"""What the operator counts, and its Prometheus text: the only module that knows the Prometheus client.

Counters are added to as things happen; gauges are read when somebody scrapes. Label values are bounded: no
group and no namespace is a label.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pannier_operator.catalogs.group_index import Key
from pannier_operator.work_queue import Done

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
COUNTERS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "pannier_operator_reconciles_total",
        ("result",),
        "Passes over groups and shared tables: settled, waiting (for AWS, or a next step), retried.",
    ),
    ("pannier_operator_aws_calls_total", ("operation", "code"), "Calls to DynamoDB by what came of them."),
    ("pannier_operator_kube_calls_total", ("verb", "code"), "Requests to the API server by status."),
    (
        "pannier_operator_drift_corrected_total",
        ("action",),
        "Changes of tables that somebody else had changed.",
    ),
    (
        "pannier_operator_admissions_total",
        ("result", "reason"),
        "Requests to the webhook: allowed, refused (with the reason), unchecked (and allowed).",
    ),
    (
        "pannier_operator_catalog_requests_total",
        ("code",),
        "Sidecars' requests for their catalog: 200 news, 304 none came, 503 this replica does not lead.",
    ),
    (
        "pannier_operator_certificates_total",
        ("result",),
        "Changes of the webhook's certificate files: loaded, refused (the last good pair stays).",
    ),
)
"""Counter -> labels and help."""
DURATION: Final = "pannier_operator_reconcile_seconds"
DURATION_HELP: Final = "Duration of a pass over a group or shared table."
GAUGES: Final = {
    "pannier_operator_leader": "Whether this replica holds the Lease.",
    "pannier_operator_webhook_serving": "Whether the webhook has a certificate and listens.",
    "pannier_operator_missed_pods": "Pods that asked for a sidecar, could have one and have none.",
    "pannier_operator_evicted_pods": "How many of them were evicted, since the start.",
    "pannier_operator_groups": "FeatureGroups known.",
    "pannier_operator_queue_keys": "Groups and shared tables with a date to be reconciled.",
    "pannier_operator_queue_age_seconds": "How long the most overdue of them has waited.",
    "pannier_operator_watch_last_event_age_seconds": "How long ago the watch brought something.",
    "pannier_operator_watch_events_missed": "Events that only a list brought, since the start.",
    "pannier_operator_resync_period_seconds": "How long a resync of everything takes now.",
    "pannier_operator_aws_budget_ratio": "Control-plane calls to DynamoDB that may be made at once, of all.",
    "pannier_operator_terminating_age_seconds": "How long the group that is longest on its way out is that.",
    "pannier_operator_catalog_writes": "Catalogs written, since the start.",
    "pannier_operator_sidecars": "Sidecars that ask for their catalog.",
    "pannier_operator_sidecars_behind": "How many of them serve an older one.",
    "pannier_operator_groups_not_served": "Groups that are not known to be served by every live sidecar.",
}
"""Gauge -> help; the values come from a callback."""
CONDITION: Final = "pannier_operator_condition_groups"
CONDITION_HELP: Final = "FeatureGroups by status of each condition."
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Read = Callable[[], Mapping[str, float]]


def reference_table() -> str:
    """Make the table of docs/reference/operator.md."""
    rows = [(name, "counter", labels, text) for name, labels, text in COUNTERS]
    rows += [(DURATION, "histogram", (), DURATION_HELP)]
    rows += [(name, "gauge", (), text) for name, text in GAUGES.items()]
    rows += [(CONDITION, "gauge", ("type", "status"), CONDITION_HELP)]
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, kind, labels, text in rows:
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {text} |")
    return "\n".join(lines) + "\n"


class Metrics:
    """All counters of the process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per series, that nothing asks for
        self._registry = CollectorRegistry(auto_describe=False)
        counters = {name: Counter(name, text, labels, registry=None) for name, labels, text in COUNTERS}
        self._reconciles = counters["pannier_operator_reconciles_total"]
        self._aws_calls = counters["pannier_operator_aws_calls_total"]
        self._kube_calls = counters["pannier_operator_kube_calls_total"]
        self._drift = counters["pannier_operator_drift_corrected_total"]
        self._admissions = counters["pannier_operator_admissions_total"]
        self._certificates = counters["pannier_operator_certificates_total"]
        self._feed = counters["pannier_operator_catalog_requests_total"]
        self._seconds = Histogram(DURATION, DURATION_HELP, buckets=_SECONDS, registry=None)
        for instrument in (*counters.values(), self._seconds):
            self._registry.register(instrument)
        self._conditions: dict[Key, tuple[tuple[str, str], ...]] = {}
        ProcessCollector(registry=self._registry)

    def watch(self, read: Read) -> None:
        """Have the gauges read at each scrape."""
        self._registry.register(_Gauges(read, self._conditions))

    def count_pass(self, done: Done, seconds: float) -> None:
        """Count one pass over a group or shared table."""
        result = "retried" if done.failed else "settled" if done.again_seconds is None else "waiting"
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def count_aws_call(self, operation: str, code: str) -> None:
        """Count one call to DynamoDB."""
        self._aws_calls.labels(operation, code).inc()

    def count_request(self, verb: str, code: str) -> None:
        """Count one request to the API server."""
        self._kube_calls.labels(verb, code).inc()

    def count_drift(self, action: str) -> None:
        """Count one change of a table that was not as declared."""
        self._drift.labels(action).inc()

    def count_admission(self, result: str, reason: str) -> None:
        """Count one request to the webhook."""
        self._admissions.labels(result, reason).inc()

    def count_feed(self, code: str) -> None:
        """Count one request of a sidecar."""
        self._feed.labels(code).inc()

    def count_certificate(self, result: str) -> None:
        """Count one change of the webhook's certificate files."""
        self._certificates.labels(result).inc()

    def note_conditions(self, key: Key, conditions: Iterable[Mapping[str, Any]]) -> None:
        """Remember the conditions of a group."""
        self._conditions[key] = tuple((c["type"], c["status"]) for c in conditions)

    def forget(self, key: Key) -> None:
        """Count a group no longer."""
        self._conditions.pop(key, None)

    def text(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return f"<Metrics, conditions of {len(self._conditions)} groups>"


class _Gauges(Collector):
    def __init__(self, read: Read, conditions: Mapping[Key, tuple[tuple[str, str], ...]]) -> None:
        self._read = read
        self._conditions = conditions

    def collect(self) -> Iterator[Metric]:
        values = self._read()
        for name, help_text in GAUGES.items():
            yield GaugeMetricFamily(name, help_text, value=values.get(name, 0.0))
        family = GaugeMetricFamily(CONDITION, CONDITION_HELP, labels=["type", "status"])
        counts = Tally(pair for pairs in self._conditions.values() for pair in pairs)
        for (kind, status), count in sorted(counts.items()):
            family.add_metric([kind, status], count)
        yield family
