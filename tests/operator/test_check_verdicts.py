"""What `pannier check` makes of what it saw: each line says what to do; unknown is neither well nor ill."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pannier.crd import crd_manifest
from pannier_operator.checks import verdicts
from pannier_operator.checks.verdicts import Line
from pannier_operator.errors import KubeFault

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def group(name: str = "clicks", generation: int = 3, **conditions: tuple[str, str, str]) -> dict[str, Any]:
    """A FeatureGroup with conditions about its third generation."""
    told = [
        {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 3}
        for kind, (status, reason, message) in conditions.items()
    ]
    metadata = {"namespace": "shop", "name": name, "generation": generation}
    return {"metadata": metadata, "status": {"conditions": told}}


def lease(holder: str = "operator-0", age: timedelta = timedelta(seconds=3)) -> dict[str, Any]:
    """A Lease that was renewed some time ago."""
    renewed = (NOW - age).isoformat().replace("+00:00", "Z")
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}}


def note(part: str) -> dict[str, str]:
    """What a degraded sidecar says."""
    return {"part": part, "reason": "TierUnavailable", "message": "the circuit is open"}


def status(*parts: str, redis: bool = True) -> dict[str, Any]:
    """What a sidecar says of itself."""
    return {"degraded": [note(part) for part in parts], "tiers": {"l2": {"enabled": redis}}}


def states(lines: list[Line]) -> Mapping[str, str]:
    """The state of each line by its name."""
    return {line.name: line.state for line in lines}


@pytest.mark.parametrize(
    ("line", "state", "words"),
    [
        (verdicts.kubernetes({"major": "1", "minor": "36", "gitVersion": "v1.36.3"}), "ok", "v1.36.3"),
        (verdicts.kubernetes({"major": "1", "minor": "28+", "gitVersion": "v1.28.9"}), "failed", "native"),
        (verdicts.definition(crd_manifest()), "ok", "every field"),
        (verdicts.definition(None), "failed", "not installed"),
        (verdicts.leader(lease(), NOW), "ok", "operator-0 leads"),
        (verdicts.leader(lease(age=timedelta(minutes=10)), NOW), "failed", "10 min ago"),
        (verdicts.leader(lease(holder=""), NOW), "failed", "nobody leads"),
        (verdicts.leader(None, NOW), "failed", "no Lease"),
        (verdicts.certificate(NOW + timedelta(days=50), NOW), "ok", "50 d"),
        (verdicts.certificate(NOW + timedelta(days=3), NOW), "warning", "3 d"),
        (verdicts.certificate(NOW - timedelta(hours=5), NOW), "failed", "5 h ago"),
        (verdicts.certificate(None, NOW), "failed", "none yet"),
        (
            verdicts.injector({"spec": {"initContainers": [{"name": "pannier-sidecar"}]}}, "webhook"),
            "ok",
            "by",
        ),
        (verdicts.injector({"spec": {"containers": []}}, "webhook"), "failed", "no sidecar"),
        (verdicts.missed([]), "ok", "every pod"),
        (verdicts.missed(["shop/web-1"]), "failed", "shop/web-1"),
        (verdicts.not_seen("CRD", KubeFault(403, "Forbidden", "no get on crd")), "unknown", "no get on crd"),
        (verdicts.not_seen("CRD", KubeFault(0, "NoAnswer", "refused")), "unknown", "refused"),
    ],
)
def test_each_line_says_how_it_is_and_what_helps(line: Line, state: str, words: str) -> None:
    """Whoever reads a bad one is told what to do."""
    assert line.state == state
    assert words in line.message
    assert bool(line.remedy) == (state != "ok")


def test_an_older_definition_names_what_it_lacks() -> None:
    """An upgraded operator with the CRD of before drops fields silently."""
    old = crd_manifest()
    (version,) = old["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["onDemand"]
    line = verdicts.definition(old)
    assert line.state == "failed"
    assert "onDemand" in line.message


def test_groups_tell_of_dynamodb_readiness_and_who_serves_them() -> None:
    """What the operator found, not what this machine could reach."""
    well = group(Ready=("True", "Ready", ""), TableReady=("True", "Ready", ""), Served=("True", "Served", ""))
    assert set(states(verdicts.groups([well])).values()) == {"ok"}
    assert states(verdicts.groups([]))["dynamodb"] == "ok"
    denied = group(
        "b", TableReady=("False", "AccessDenied", "CreateTable"), Ready=("False", "AccessDenied", "")
    )
    found = verdicts.groups([well, denied])
    assert states(found) == {"dynamodb": "failed", "groups": "failed", "catalogs": "ok"}
    assert "CreateTable" in found[0].message
    behind = group("c", Served=("False", "SidecarsBehind", "shop/web-1 lags"))
    silent = group("d", Served=("Unknown", "SidecarsSilent", "nothing is heard of shop/web-2"))
    lines = verdicts.groups([behind, silent])
    assert states(lines)["catalogs"] == "failed"
    assert "shop/web-1 lags" in lines[2].message
    assert states(verdicts.groups([silent]))["catalogs"] == "unknown"


def test_conditions_of_an_older_generation_say_nothing() -> None:
    """They are about what was declared before."""
    edited = group(generation=4, Ready=("False", "SchemaConflict", ""))
    assert states(verdicts.groups([edited]))["groups"] == "ok"


def test_sidecars_tell_of_redis_and_of_themselves() -> None:
    """Those that could be asked; none asked is unknown, none running is well."""
    assert states(verdicts.sidecars({}, 0)) == {"sidecars": "ok"}
    assert states(verdicts.sidecars({}, 3)) == {"sidecars": "unknown"}
    lines = verdicts.sidecars({"shop/a": status(), "shop/b": status("l2")}, 3)
    assert states(lines) == {"redis": "failed", "sidecars": "ok"}
    assert "shop/b" in lines[0].message
    lines = verdicts.sidecars({"shop/a": status("l3", redis=False)}, 1)
    assert states(lines) == {"redis": "ok", "sidecars": "failed"}
    assert "no sidecar has one" in lines[0].message


def test_many_faults_are_counted() -> None:
    """A line stays a line."""
    line = verdicts.missed([f"shop/web-{n}" for n in range(100)])
    assert line.message.endswith("and 95 more")
