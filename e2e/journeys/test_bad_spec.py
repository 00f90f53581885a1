"""A spec that cannot be is refused with a sentence one can act on, and what is served goes on as it was."""

from __future__ import annotations

import pytest

from e2e.journeys.conftest import Installed

EDIT = "kubectl patch featuregroup user-facts --type merge --patch"


@pytest.mark.control_plane
def test_bad_spec_by_crd(installed: Installed, team: str) -> None:
    """A soft TTL above the hard one, a feature left out, a field that there is not: without any operator."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    soft = """'{"spec": {"cache": {"local": {"softTTLSeconds": 500}}}}'"""
    assert "hardTTLSeconds" in cluster.refused(f"{EDIT} {soft} --namespace {team}")
    fewer = """'{"spec": {"features": [{"id": 0, "name": "visits", "type": "Int64"}]}}'"""
    assert "append-only" in cluster.refused(f"{EDIT} {fewer} --namespace {team}")
    misspelled = cluster.filled("user-facts.yaml").replace("groupName", "groupname")
    message = cluster.refused(f"kubectl apply --filename - --namespace {team}", text=misspelled)
    assert 'unknown field "spec.groupname"' in message


def test_bad_spec_by_webhook(installed: Installed, team: str) -> None:
    """Two groups of one name; what is served goes on as it was."""
    cluster = installed.cluster
    cluster.apply("user-facts.yaml", namespace=team)
    cluster.group_is("Ready", "user-facts", team)
    cluster.deploy(team)
    cluster.pannier(team, "put user_facts u1 visits=7")
    twin = cluster.filled("user-facts.yaml").replace("name: user-facts", "name: other-facts")
    said = cluster.refused(f"kubectl apply --filename - --namespace {team}", text=twin)
    assert "GroupNameTaken" in said
    assert cluster.asked(team, "get user_facts u1")["rows"][0]["features"]["visits"] == 7
