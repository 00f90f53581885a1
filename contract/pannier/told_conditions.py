"""Conditions of an object that are about what is declared now; those of an older generation say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def current_conditions(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give them by type."""
    generation = document["metadata"].get("generation")
    told = (document.get("status") or {}).get("conditions") or ()
    return {one["type"]: one for one in told if one.get("observedGeneration") == generation}
