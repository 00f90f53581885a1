"""What `pannier status --cluster` makes of FeatureGroups."""

from __future__ import annotations

from typing import Any

import pytest

from pannier_cli.cluster_status import is_served, show, told


def group(conditions: dict[str, tuple[str, str, str]], generation: int = 3) -> dict[str, Any]:
    """A FeatureGroup with conditions about its third generation."""
    found = [
        {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 3}
        for kind, (status, reason, message) in conditions.items()
    ]
    return {
        "metadata": {"namespace": "shop", "name": "clicks", "generation": generation},
        "spec": {"groupName": "clicks"},
        "status": {"conditions": found, "config": {"revision": 7}},
    }


WELL = {"Ready": ("True", "Ready", ""), "Served": ("True", "Served", "")}
BEHIND = {**WELL, "Served": ("False", "SidecarsBehind", "shop/web-1 (revision 6 of 7)")}
SILENT = {**WELL, "Served": ("Unknown", "SidecarsSilent", "nothing is heard of shop/web-2")}


def test_a_group_that_lags_is_not_served() -> None:
    """One of which nothing is heard is not known to lag; an edit that nobody has looked at is not ready."""
    assert is_served(told(group(WELL)))
    assert is_served(told(group(SILENT)))
    assert not is_served(told(group(BEHIND)))
    assert not is_served(told(group(WELL, generation=4)))
    assert told(group(WELL, generation=4))["served"]["reason"] == "NotSeenYet"
    assert told(group(WELL))["revision"] == 7


def test_people_see_who_lags(capsys: pytest.CaptureFixture[str]) -> None:
    """A table, and a line for each group that is not served everywhere."""
    show([told(group(WELL)), told(group(BEHIND)), told(group(SILENT))])
    shown = capsys.readouterr().out
    assert "False (SidecarsBehind)" in shown
    assert "shop/clicks: shop/web-1 (revision 6 of 7)" in shown
    assert "nothing is heard of shop/web-2" in shown
    show([])
    assert "no FeatureGroup found" in capsys.readouterr().out
