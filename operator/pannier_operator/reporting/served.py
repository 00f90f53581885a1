"""What sidecars say they serve, and which pods say nothing -> the finding of Served. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pannier_operator.planning.findings import Finding

_NAMED: Final = 5
"""How many pods a message names: the first ones by name, so that it changes as seldom as can be."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one sidecar says of itself."""

    revision: int
    """Of the catalog that it serves; 0 = none."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Groups that it does not serve as the catalog has them -> why."""


@dataclass(frozen=True, slots=True)
class Consumers:
    """The sidecars of one namespace that a group is published to."""

    namespace: str
    revision: int
    """The first that holds the group as it is published now."""
    sidecars: Mapping[str, Report]
    silent: Sequence[str] = ()
    """Pods that have a sidecar of which nothing is heard."""


def served(group_name: str, consumers: Sequence[Consumers]) -> Finding:
    """Say whether every live sidecar serves the group as it is published."""
    behind, rejecting, silent, live = [], [], [], 0
    for one in consumers:
        live += len(one.sidecars)
        silent += [f"{one.namespace}/{pod}" for pod in one.silent]
        for name, report in one.sidecars.items():
            where = f"{one.namespace}/{name}"
            if report.revision < one.revision:
                behind.append(f"{where} (revision {report.revision} of {one.revision})")
            elif group_name in report.rejected:
                rejecting.append(f"{where} ({report.rejected[group_name]})")
    if behind:
        return Finding("False", "SidecarsBehind", f"an older version is served by {_some(behind)}")
    if rejecting:
        message = f"the last version that they can use, or none, is served by {_some(rejecting)}"
        return Finding("False", "SidecarsReject", message)
    if silent:
        return Finding("Unknown", "SidecarsSilent", f"nothing is heard of the sidecar of {_some(silent)}")
    if not live:
        return Finding("True", "NoSidecars", "no live sidecar consumes it")
    return Finding("True", "Served", "every live sidecar serves what is published")


def _some(pods: Sequence[str]) -> str:
    named = sorted(pods)[:_NAMED]
    more = len(pods) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
