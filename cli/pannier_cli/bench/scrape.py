"""Counters and histograms out of the sidecar's ``/metrics``. Parsing is pure."""

from __future__ import annotations

import http.client
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pannier_cli.bench.children import HOST

_ROWS_READ: Final = re.compile(
    r'^pannier_rows_read_total\{group="(?P<group>[^"]*)",outcome="(?P<outcome>[^"]*)"\} (?P<n>\S+)$',
    re.MULTILINE,
)

Outcomes = Counter[tuple[str, str]]
"""(group, outcome) -> rows."""


def parse_outcomes(text: str) -> Outcomes:
    """Read the rows by group and outcome out of Prometheus text."""
    found = _ROWS_READ.finditer(text)
    return Counter({(match["group"], match["outcome"]): int(float(match["n"])) for match in found})


def outcomes(admin_port: int) -> Outcomes:
    """Scrape the rows of a sidecar by outcome."""
    return parse_outcomes(metrics(admin_port))


def metrics(admin_port: int) -> str:
    """Scrape a sidecar."""
    connection = http.client.HTTPConnection(HOST, admin_port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def parse_buckets(text: str, histogram: str) -> list[tuple[float, int]]:
    """Read the buckets of a histogram without labels: upper bounds, ascending, and how many lie below."""
    found = re.finditer(rf'^{histogram}_bucket{{le="(\S+)"}} (\S+)$', text, re.MULTILINE)
    return [(float(bound), int(float(count))) for bound, count in (match.groups() for match in found)]


def bucket_bound(buckets: Sequence[tuple[float, int]], percent: float) -> float:
    """The bound that at least so many percent of the observations lie below; NaN where there are none."""
    total = buckets[-1][1] if buckets else 0
    return next((bound for bound, below in buckets if total and below >= total * percent / 100), math.nan)


def shares(before: Outcomes, after: Outcomes) -> dict[str, dict[str, float]]:
    """Group -> outcome -> share of the rows read in between; outcomes that did not occur are left out."""
    by_group: dict[str, Mapping[str, int]] = {}
    for group in {group for group, _ in after}:
        read = {outcome: after[group, outcome] - before[group, outcome] for g, outcome in after if g == group}
        by_group[group] = {outcome: n for outcome, n in read.items() if n > 0}
    return {
        group: {outcome: n / sum(read.values()) for outcome, n in sorted(read.items())}
        for group, read in sorted(by_group.items())
        if read
    }
