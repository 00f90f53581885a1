"""YAML nodes that remember their lines: values as JSON would have them, and the line a field path means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_MAX_NODES: Final = 100_000
_TIMESTAMP_TAG: Final = "tag:yaml.org,2002:timestamp"


class ManifestLoader(yaml.SafeLoader):
    """Reads YAML as kubectl does: what looks like a date is text, and ``1e3`` is a number."""


ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP_TAG]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
ManifestLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9]*(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class TooManyNodesError(yaml.YAMLError):
    """Aliases that contain each other or multiply: no manifest, an attack or an accident."""


def refuse_excess(node: yaml.Node) -> None:
    """Raise `TooManyNodesError` where a document unfolds to more than any FeatureGroup needs."""
    waiting, seen = [node], 0
    while waiting:
        seen += 1
        if seen > _MAX_NODES:
            raise TooManyNodesError(
                f"a document unfolds to more than {_MAX_NODES} values; are aliases nested?"
            )
        current = waiting.pop()
        if isinstance(current, yaml.SequenceNode):
            waiting += current.value
        elif isinstance(current, yaml.MappingNode):
            waiting += [value for _, value in current.value]


def object_of(loader: ManifestLoader, node: yaml.Node) -> Any:
    """Make the plain value of a composed document."""
    return loader.construct_document(node)


def line_of(node: yaml.Node, path: str) -> int:
    """Find the line of a dotted field path, or of the deepest part of it that is there."""
    line = node.start_mark.line
    for index, name in _STEP.findall(path):
        if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line
        elif name and (entry := _entry(node, name)) is not None:
            key, node = entry
            line = key.start_mark.line
        else:
            break
    return line + 1


def duplicate_keys(node: yaml.Node, path: str = "") -> Iterator[tuple[str, int, int]]:
    """Find keys given twice in one mapping, as (path, first line, second line).

    YAML keeps the last of them in silence. Asked before `object_of`, which unfolds merge keys into the nodes.
    """
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from duplicate_keys(item, f"{path}[{index}]")
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        below = f"{path}.{key.value}" if path else str(key.value)
        line = key.start_mark.line + 1
        if key.value in first:
            yield below, first[key.value], line
        first.setdefault(key.value, line)
        yield from duplicate_keys(value, below)


def _entry(node: yaml.Node, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    # the last one counts: entries that a merge key brought in stand before those that override them
    return next(((key, value) for key, value in reversed(node.value) if key.value == name), None)
