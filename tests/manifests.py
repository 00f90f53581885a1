"""Manifests for tests: what a sound YAML file decodes to, with single fields changed by their dotted path."""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any

from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group

ABSENT = "(absent)"
"""As a value of `a_manifest`: the field is left out."""

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_RECORD: dict[str, Any] = {
    "apiVersion": "pannier.dev/v1alpha1",
    "kind": "FeatureGroup",
    "metadata": {"name": "user-facts", "namespace": "shop"},
    "spec": {
        "groupName": "user_facts",
        "key": {"entity": "user"},
        "features": [
            {"id": 0, "name": "city", "type": "String"},
            {"id": 1, "name": "visits", "type": "Int64"},
        ],
        "storage": {"mode": "Dedicated"},
    },
}


def a_manifest(changes: dict[str, Any] | None = None, *, timeline: bool = False) -> dict[str, Any]:
    """Make a sound manifest, then set each ``changes`` path (``key.maxIdBytes``, below spec) to its value."""
    manifest = copy.deepcopy(_RECORD)
    if timeline:
        manifest["spec"]["key"]["sortKey"] = {"type": "Timestamp"}
    for path, value in (changes or {}).items():
        _set(manifest if path.startswith("/") else manifest["spec"], path.lstrip("/"), value)
    return manifest


def a_feature_group(changes: dict[str, Any] | None = None, *, timeline: bool = False) -> FeatureGroup:
    """Make the FeatureGroup of `a_manifest`."""
    return parse_feature_group(a_manifest(changes, timeline=timeline))


def _set(node: Any, path: str, value: Any) -> None:
    steps = [int(index) if index else name for index, name in _STEP.findall(path)]
    for step, following in itertools.pairwise(steps):
        if isinstance(step, str) and step not in node:
            node[step] = [] if isinstance(following, int) else {}
        node = node[step]
    last = steps[-1]
    if value == ABSENT:
        del node[last]
    elif isinstance(last, int) and last == len(node):
        node.append(value)
    else:
        node[last] = value
