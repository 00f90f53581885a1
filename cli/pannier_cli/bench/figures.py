"""Percentiles, medians and ratios of measurements. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from pannier_cli.bench.wrk import WrkRun


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One server under one scenario."""

    requests: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    cpu_us_per_request: float
    cpu_us_per_row: float
    errors: int
    """Requests that failed; they are not part of the others' figures."""

    @classmethod
    def of(cls, run: WrkRun, *, cpu_seconds: float, rows: int) -> Measured:
        """Put what wrk saw and what the server used together."""
        per_request = cpu_seconds * 1_000_000 / run.requests if run.requests else math.nan
        return cls(
            requests=run.requests,
            requests_per_second=run.requests_per_second,
            p50_us=run.p50_us,
            p99_us=run.p99_us,
            cpu_us_per_request=per_request,
            cpu_us_per_row=per_request / rows,
            errors=run.errors,
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile of values in ascending order; NaN where there are none."""
    if not ordered:
        return math.nan
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def medians(rounds: Sequence[Measured]) -> Measured:
    """Take the median of each figure by itself; requests and errors are summed."""
    return Measured(
        requests=sum(measured.requests for measured in rounds),
        requests_per_second=median(measured.requests_per_second for measured in rounds),
        p50_us=median(measured.p50_us for measured in rounds),
        p99_us=median(measured.p99_us for measured in rounds),
        cpu_us_per_request=median(measured.cpu_us_per_request for measured in rounds),
        cpu_us_per_row=median(measured.cpu_us_per_row for measured in rounds),
        errors=sum(measured.errors for measured in rounds),
    )


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times better one server does than another."""

    requests_per_second: float
    cpu_per_request: float
    """The same in CPU time spent: it says more where something else kept the cores busy."""


def ratios(measured: Mapping[str, Measured], of: str) -> dict[str, Ratio]:
    """Compare ``of`` with each other server."""
    ours = measured[of]
    return {
        name: Ratio(
            requests_per_second=ours.requests_per_second / other.requests_per_second,
            cpu_per_request=other.cpu_us_per_request / ours.cpu_us_per_request,
        )
        for name, other in measured.items()
        if name != of
    }


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """The distribution of one kind of request, in milliseconds from when it was due."""

    count: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None

    @classmethod
    def of(cls, ordered_seconds: Sequence[float]) -> Latencies:
        """Condense latencies in ascending order."""
        if not ordered_seconds:
            return cls(count=0, p50_ms=None, p99_ms=None, p999_ms=None, max_ms=None)
        return cls(
            count=len(ordered_seconds),
            p50_ms=percentile(ordered_seconds, 50) * 1_000,
            p99_ms=percentile(ordered_seconds, 99) * 1_000,
            p999_ms=percentile(ordered_seconds, 99.9) * 1_000,
            max_ms=ordered_seconds[-1] * 1_000,
        )
