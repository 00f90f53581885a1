"""The cases of ``rule_cases.yaml``: what Python, CEL and a real API server must agree on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tests.manifests import a_manifest

_CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)


class Case(NamedTuple):
    """A manifest and the only reason it is refused for; None = it is sound."""

    title: str
    manifest: dict[str, Any]
    reason: str | None
    path: str


class Edit(NamedTuple):
    """An edit and the only reason it is refused for; None = it is allowed."""

    title: str
    old: dict[str, Any]
    new: dict[str, Any]
    reason: str | None
    path: str


def _case(raw: dict[str, Any]) -> Case:
    manifest = a_manifest(raw.get("changes"), timeline=raw.get("timeline", False))
    return Case(raw["title"], manifest, raw.get("reason"), raw.get("path", ""))


def _edit(raw: dict[str, Any]) -> Edit:
    old, new = a_manifest(raw.get("old")), a_manifest(raw.get("new"))
    return Edit(raw["title"], old, new, raw.get("reason"), raw.get("path", ""))


ACCEPTED = tuple(map(_case, _CASES["accepted"]))
REJECTED = tuple(map(_case, _CASES["rejected"]))
EDITS = tuple(map(_edit, _CASES["edits"]))
