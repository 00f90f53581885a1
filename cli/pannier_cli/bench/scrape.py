"""Counters out of the sidecar's ``/metrics``: which tier answered how many rows. Parsing is pure."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from collections.abc import Mapping
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
    """Scrape a sidecar."""
    connection = http.client.HTTPConnection(HOST, admin_port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return parse_outcomes(connection.getresponse().read().decode())
    finally:
        connection.close()


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
