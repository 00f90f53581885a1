"""What the injector counts, and its Prometheus text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

COUNTERS: Final = (
    (
        "pannier_injector_pods_total",
        ("result", "reason"),
        "Pods that asked for a sidecar: injected, skipped, refused (with the reason), unchanged.",
    ),
    (
        "pannier_injector_certificates_total",
        ("result",),
        "Changes of the certificate's files: loaded, refused (the last good pair stays).",
    ),
)
GAUGES: Final = {
    "pannier_injector_serving": "Whether there is a certificate, and the webhook listens.",
    "pannier_injector_certificate_expires_timestamp_seconds": "When the certificate in use ends; 0: none.",
}
Read = Callable[[], Mapping[str, float]]


class InjectorMetrics:
    """All of one process."""

    def __init__(self, read: Read) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        (pods, certificates) = (Counter(name, text, labels, registry=None) for name, labels, text in COUNTERS)
        self._pods, self._certificates = pods, certificates
        for instrument in (pods, certificates, _Gauges(read)):
            self._registry.register(instrument)
        ProcessCollector(registry=self._registry)

    def count_pod(self, result: str, reason: str) -> None:
        """Count one pod."""
        self._pods.labels(result, reason).inc()

    def count_certificate(self, result: str) -> None:
        """Count one change of the certificate's files."""
        self._certificates.labels(result).inc()

    def text(self) -> bytes:
        """What ``/metrics`` answers."""
        return generate_latest(self._registry)

    def __repr__(self) -> str:
        return "<InjectorMetrics>"


class _Gauges(Collector):
    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        values = self._read()
        for name, help_text in GAUGES.items():
            yield GaugeMetricFamily(name, help_text, value=values.get(name, 0.0))
