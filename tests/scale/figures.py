"""What a run at scale came to, and whether that is good enough. Pure.

The goals are those of the project; the budget of calls is what `pannier operator` was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pannier_operator.aws.call_budget import BURST_SECONDS

P99_SECONDS = 5.0
RSS_MIB = 200.0
MOST_GROWTH = 0.05
"""Of resident memory, from the first third of the edits to their end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at the operator."""

    at: float
    rss_mib: float
    cpu_seconds: float
    control_calls: int
    """To DynamoDB's control plane, so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run."""

    groups: int
    namespaces: int
    dedicated: int
    ready_seconds: float
    """From the first group that was made to all of them Ready."""
    restart_seconds: float
    """From the end of the first process until its successor had looked at all of them."""
    restart_writes: int
    """Catalogs that the restart wrote."""
    edits_per_second: float
    seconds: float
    delays: Sequence[float] = field(repr=False)
    """From an edit to the catalog that has it."""
    missing: int
    """Edits that no catalog had at the end."""
    behind: int
    """Groups whose status was not Ready, or of an older generation, at the end."""
    catalogs: int
    """Written for the edits."""
    samples: Sequence[Sample] = field(repr=False)
    """From the start."""
    edits_from: int
    """The first sample of the time of the edits."""
    calls_per_second: float
    """The budget."""
    calls: Mapping[str, int]
    """To DynamoDB, by operation."""
    refusals: Sequence[str]
    """What the operator asked of the API server without having the right to."""

    def delay(self, share: float) -> float:
        """That part of the edits took no longer."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")

    @property
    def rss_mib(self) -> float:
        """The most there was at any time."""
        return max(sample.rss_mib for sample in self.samples)

    @property
    def growth(self) -> float:
        """Share by which resident memory grew between the first third of the edits and their end."""
        during = self.samples[self.edits_from :]
        return during[-1].rss_mib / during[len(during) // 3].rss_mib - 1

    @property
    def cpu(self) -> float:
        """Share of a core that the operator took during the edits."""
        first, last = self.samples[self.edits_from], self.samples[-1]
        return (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at)

    @property
    def overspent(self) -> float:
        """The most calls that any stretch of time had beyond the budget; none where it is not above 0."""
        return most_beyond([(s.at, s.control_calls) for s in self.samples], self.calls_per_second)

    def faults(self) -> Iterator[str]:
        """Say what is not as it has to be."""
        if self.delay(0.99) >= P99_SECONDS:
            yield f"p99 from an edit to its catalog is {self.delay(0.99):.2f} s, not under {P99_SECONDS:g} s"
        if self.rss_mib >= RSS_MIB:
            yield f"the operator took {self.rss_mib:.0f} MiB, not under {RSS_MIB:g}"
        if self.growth > MOST_GROWTH:
            yield f"its memory grew by {self.growth:.1%} during the edits"
        if self.overspent > 0:
            yield f"it made {self.overspent:.0f} calls to DynamoDB's control plane beyond its budget"
        if self.missing or self.behind:
            yield f"{self.missing} edits are in no catalog, {self.behind} groups are not Ready as edited"
        if self.restart_writes:
            yield f"a restart wrote {self.restart_writes} catalogs"
        if self.refusals:
            yield f"the API server refused {len(self.refusals)} requests: {sorted(set(self.refusals))[:5]}"

    def document(self) -> dict[str, Any]:
        """Say it to programs."""
        listed = asdict(self)
        for long in ("delays", "samples", "edits_from"):
            del listed[long]
        measured = {
            "p50_seconds": self.delay(0.5),
            "p99_seconds": self.delay(0.99),
            "max_seconds": self.delay(1.0),
            "rss_mib": self.rss_mib,
            "rss_growth": self.growth,
            "cpu": self.cpu,
        }
        return {**listed, **measured, "faults": list(self.faults())}

    def table(self) -> str:
        """Say it to people."""
        control = self.samples[-1].control_calls
        during = control - self.samples[self.edits_from].control_calls
        rows = {
            "groups": f"{self.groups:,} in {self.namespaces} namespaces, {self.dedicated} dedicated tables",
            "all of them Ready after": f"{self.ready_seconds:.0f} s",
            "restart: all looked at after": f"{self.restart_seconds:.0f} s,"
            f" {self.restart_writes} catalogs written",
            "edits": f"{len(self.delays):,} at {self.edits_per_second:g}/s,"
            f" {self.catalogs:,} catalogs written",
            "edit -> ConfigMap p50": f"{self.delay(0.5):.2f} s",
            "edit -> ConfigMap p99": f"{self.delay(0.99):.2f} s (goal < {P99_SECONDS:g} s)",
            "edit -> ConfigMap max": f"{self.delay(1.0):.2f} s",
            "operator RSS": f"{self.rss_mib:.0f} MiB at most (goal < {RSS_MIB:g}),"
            f" {self.growth:+.1%} in the edits",
            "operator CPU in the edits": f"{self.cpu:.0%} of a core",
            "AWS control-plane calls": f"{control:,}, {during:,} of them in the edits"
            f" (budget {self.calls_per_second:g}/s)",
            "AWS calls by operation": ", ".join(f"{name} {n:,}" for name, n in sorted(self.calls.items())),
            "refused by the API server": str(len(self.refusals)),
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def most_beyond(counted: Sequence[tuple[float, int]], per_second: float) -> float:
    """Compare counts at times with a token bucket: how far the worst stretch of time is beyond it."""
    allowed_at_once = per_second * BURST_SECONDS
    worst, highest = -allowed_at_once, float("-inf")
    for at, count in counted:
        spare = at * per_second - count
        highest = max(highest, spare)
        worst = max(worst, highest - spare - allowed_at_once)
    return worst
