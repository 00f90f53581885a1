"""What was seen of an installation -> a line each: is it well, and what would help where it is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from pannier.told_conditions import current_conditions
from pannier_operator.crd_check import missing_fields
from pannier_operator.errors import KubeFault
from pannier_operator.planning.findings import parse_moment

State = Literal["ok", "warning", "failed", "unknown"]
SOON: Final = timedelta(days=14)
"""A certificate that ends within this was not renewed when it should have been."""
_OLDEST: Final = (1, 29)
"""Native sidecars are on by default from here on."""
_SHOWN: Final = 5
_AWS: Final = frozenset(
    {"AccessDenied", "CredentialsInvalid", "RegionMissing", "AwsUnavailable", "Throttled", "AwsRefused"}
)
"""Reasons of TableReady that are about AWS and not about the group."""


class Line(NamedTuple):
    """One line of the report."""

    name: str
    state: State
    message: str
    remedy: str = ""


def not_seen(name: str, fault: KubeFault) -> Line:
    """Say that something could not be looked at: neither well nor ill."""
    forbidden = 403
    remedy = "Give your user the right that is named, or ask somebody who has it."
    if fault.status != forbidden:
        remedy = "See why the API server did not answer, and run the check again."
    return Line(name, "unknown", str(fault), remedy)


def kubernetes(version: Mapping[str, Any]) -> Line:
    """Judge the API server's version."""
    said = version.get("gitVersion", "?")
    digits = tuple(
        int("".join(filter(str.isdigit, version.get(part, ""))) or 0) for part in ("major", "minor")
    )
    if digits < _OLDEST:
        needed = ".".join(map(str, _OLDEST))
        return Line(
            "kubernetes", "failed", f"{said} has no native sidecars", f"Upgrade to {needed} or later."
        )
    return Line("kubernetes", "ok", said)


def definition(crd: Mapping[str, Any] | None) -> Line:
    """Judge the CustomResourceDefinition against this release's."""
    name, remedy = "CRD", "kubectl apply --server-side -f <(pannier crd), or helm upgrade with crds.install."
    if crd is None:
        return Line(name, "failed", "featuregroups.pannier.dev is not installed", remedy)
    missing = missing_fields(crd)
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        return Line(name, "failed", f"it is older than this release: it lacks {shown}", remedy)
    return Line(name, "ok", "featuregroups.pannier.dev has every field of this release")


def leader(lease: Mapping[str, Any] | None, now: datetime) -> Line:
    """Judge the operator by its Lease."""
    name = "operator"
    if lease is None:
        return Line(
            name,
            "failed",
            "there is no Lease: no operator has ever led here",
            "See --namespace and --release.",
        )
    spec = lease.get("spec") or {}
    renewed, holder = parse_moment(spec.get("renewTime")), spec.get("holderIdentity")
    if renewed is None or not holder:
        return Line(name, "failed", "nobody leads", "kubectl logs of the operator's pods say why.")
    age = now - renewed
    if age > 2 * timedelta(seconds=spec.get("leaseDurationSeconds", 15)):
        message = f"{holder} last led {_about(age)} ago"
        return Line(
            name,
            "failed",
            message,
            "Are its pods running? See them and their logs.",
        )
    return Line(name, "ok", f"{holder} leads")


def injector(dry_run: Mapping[str, Any], mode: str) -> Line:
    """Judge by a pod that asked for a sidecar and was not stored."""
    name = "injection"
    containers = (dry_run.get("spec") or {}).get("initContainers") or ()
    if any(one.get("name") == "pannier-sidecar" for one in containers):
        return Line(name, "ok", f"a pod that asks is given a sidecar, by {mode}")
    remedy = "Is the injector running, and does the API server reach it (port 8473)? See its pods and policy."
    return Line(name, "failed", f"a pod that asks is given no sidecar, though there is {mode}", remedy)


def certificate(ends_at: datetime | None, now: datetime) -> Line:
    """Judge the certificate of webhooks and catalog endpoint."""
    name = "certificate"
    if ends_at is None:
        return Line(name, "failed", "there is none yet", "The operator that leads makes it: see its logs.")
    if ends_at <= now:
        return Line(
            name, "failed", f"it ended {_about(now - ends_at)} ago", "See the operator's logs: who renews it?"
        )
    left = _about(ends_at - now)
    if ends_at - now < SOON:
        return Line(
            name, "warning", f"it ends in {left}", "It should have been renewed: see the operator's logs."
        )
    return Line(name, "ok", f"good for {left}")


def groups(found: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Judge what the operator says of groups: DynamoDB, readiness, and who serves them."""
    told = [(_name(one), current_conditions(one)) for one in found]
    lines = [_dynamodb(told)]
    unready = [f"{name} ({c['Ready']['reason']})" for name, c in told if _is(c, "Ready", "False")]
    lines.append(
        _listed(
            "groups",
            unready,
            f"{_count(told, 'group')}, none of them unwell",
            "kubectl describe fg tells why.",
        )
    )
    behind = [f"{name}: {c['Served']['message']}" for name, c in told if _is(c, "Served", "False")]
    silent = [f"{name}: {c['Served']['message']}" for name, c in told if _is(c, "Served", "Unknown")]
    remedy = "See the logs of the sidecars that are named."
    if not behind and silent:
        return [
            *lines,
            Line("catalogs", "unknown", _some(silent), "See reason and advice of condition Served."),
        ]
    return [*lines, _listed("catalogs", behind, "every group is served as it is published", remedy)]


def _dynamodb(told: Sequence[tuple[str, Mapping[str, Any]]]) -> Line:
    faults = [
        f"{name} ({c['TableReady']['reason']}: {c['TableReady'].get('message', '')})"
        for name, c in told
        if c.get("TableReady", {}).get("reason") in _AWS
    ]
    if not told:
        return Line("dynamodb", "ok", "no group needs it yet")
    return _listed(
        "dynamodb",
        faults,
        "the operator reaches it for every group",
        "See docs/iam.md and AWS's health page.",
    )


def sidecars(statuses: Mapping[str, Mapping[str, Any]], running: int) -> list[Line]:
    """Judge what sidecars say of themselves: their tiers, Redis first."""
    if not running:
        return [Line("sidecars", "ok", "no running pod has one yet")]
    if not statuses:
        remedy = "Give your user `get` on pods/proxy to have some of them asked."
        return [Line("sidecars", "unknown", f"{running} run, and none could be asked", remedy)]
    notes = [
        f"{pod}: {note['part']}: {note['message']} ({note['reason']})"
        for pod, status in sorted(statuses.items())
        for note in status.get("degraded", ())
    ]
    redis = [note for note in notes if ": l2: " in note]
    asked = f"{len(statuses)} of {running} asked"
    has_redis = any((status.get("tiers") or {}).get("l2", {}).get("enabled") for status in statuses.values())
    well = f"reached by all sidecars ({asked})" if has_redis else f"no sidecar has one ({asked})"
    rest = [note for note in notes if note not in redis]
    return [
        _listed("redis", redis, well, "Is it up, and may pods reach it? See --redis-url of the sidecars."),
        _listed("sidecars", rest, f"none is degraded ({asked})", "See their logs, and /v1/status of each."),
    ]


def missed(pods: Sequence[str]) -> Line:
    """Judge pods that asked for a sidecar and have none."""
    return _listed(
        "missed pods",
        sorted(pods),
        "every pod that asks for a sidecar has one",
        "Delete them; their successors get one. See Event SidecarMissed of each.",
    )


def _listed(name: str, faults: Sequence[str], well: str, remedy: str) -> Line:
    return Line(name, "failed", _some(faults), remedy) if faults else Line(name, "ok", well)


def _count(found: Sequence[object], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _some(faults: Sequence[str]) -> str:
    more = len(faults) - _SHOWN
    return "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _name(group: Mapping[str, Any]) -> str:
    return f"{group['metadata']['namespace']}/{group['metadata']['name']}"


def _is(conditions: Mapping[str, Mapping[str, Any]], kind: str, status: str) -> bool:
    return conditions.get(kind, {}).get("status") == status


def _about(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
