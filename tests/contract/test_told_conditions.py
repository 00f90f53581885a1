"""Which conditions of an object are about what is declared now."""

from __future__ import annotations

from pannier.told_conditions import current_conditions


def test_conditions_of_an_older_generation_are_left_out() -> None:
    """An edit that nobody has looked at is not known to be ready."""
    told = [
        {"type": "Ready", "status": "True", "observedGeneration": 2},
        {"type": "Served", "status": "True", "observedGeneration": 1},
        {"type": "InSync", "status": "True"},
    ]
    group = {"metadata": {"generation": 2}, "status": {"conditions": told}}
    assert current_conditions(group) == {"Ready": told[0]}


def test_an_object_without_a_status_has_none() -> None:
    """As it is before the operator's first look; the API server may give null for an empty list."""
    assert current_conditions({"metadata": {"generation": 1}}) == {}
    assert current_conditions({"metadata": {"generation": 1}, "status": {"conditions": None}}) == {}
