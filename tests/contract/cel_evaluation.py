"""The API server's part in miniature: fill in the CRD's defaults, then ask its CEL rules."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import celpy
from celpy.adapter import json_to_cel

from pannier.crd import crd_manifest
from pannier.rules import RULES
from pannier.transitions import TRANSITIONS


@functools.cache
def crd_schema() -> dict[str, Any]:
    """The openAPIV3Schema of the generated CRD."""
    schema: dict[str, Any] = crd_manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def with_defaults(node: Any, schema: dict[str, Any]) -> Any:
    """Fill in schema defaults, below objects that are there."""
    if isinstance(node, dict):
        filled = {name: copy.deepcopy(node[name]) for name in node}
        for name, below in schema.get("properties", {}).items():
            if name not in filled and "default" in below:
                filled[name] = below["default"]
            if name in filled:
                filled[name] = with_defaults(filled[name], below)
        return filled
    if isinstance(node, list):
        return [with_defaults(item, schema["items"]) for item in node]
    return node


def broken_in_cel(manifest: dict[str, Any]) -> set[str]:
    """Messages of the rules that CEL finds broken."""
    whole = with_defaults(manifest, crd_schema())
    return {
        rule.message
        for rule in RULES
        for _, node in _nodes(whole, rule.at)
        if not _holds(rule.cel, {"self": node})
    }


def broken_transitions_in_cel(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    """Messages of the transition rules that CEL finds broken by an edit."""
    before, after = with_defaults(old, crd_schema()), with_defaults(new, crd_schema())
    broken = set()
    for rule in TRANSITIONS:
        previous = dict(_nodes(before, rule.at))
        for key, node in _nodes(after, rule.at):
            if key in previous and not _holds(rule.cel, {"self": node, "oldSelf": previous[key]}):
                broken.add(rule.message)
    return broken


def _nodes(whole: dict[str, Any], at: str) -> Iterator[tuple[object, Any]]:
    found: list[tuple[object, Any]] = [("", whole)]
    for step in at.split(".") if at else ():
        name = step.removesuffix("[]")
        found = [(key, node[name]) for key, node in found if name in node]
        if step.endswith("[]"):
            found = [(item.get("id", item.get("name")), item) for _, items in found for item in items]
    yield from found


def _last_index(items: list[Any], value: Any) -> celpy.celtypes.IntType:
    found = [index for index, item in enumerate(items) if item == value]
    return celpy.celtypes.IntType(found[-1] if found else -1)


def _first_index(items: list[Any], value: Any) -> celpy.celtypes.IntType:
    return celpy.celtypes.IntType(items.index(value) if value in items else -1)


_LISTS: Final[dict[str, Callable[..., Any]]] = {"indexOf": _first_index, "lastIndexOf": _last_index}
"""What Kubernetes adds to CEL, as far as rules use it: k8s.io/apiserver/pkg/cel/library/lists.go."""


@functools.cache
def _program(cel: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(cel), functions=_LISTS)


def _holds(cel: str, activation: dict[str, Any]) -> bool:
    values = {name: json_to_cel(value) for name, value in activation.items()}
    return bool(_program(cel).evaluate(values))
