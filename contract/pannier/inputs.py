"""Inputs of computed groups, as a graph: what lies between groups, and so is no rule of one object. Pure.

Sidecar, operator, webhook and `pannier validate` ask the one `input_graph`. A group is judged among those
that one namespace sees. What has no fault here can be read without looking: it ends, within `MAX_DEPTH`
steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pannier.catalog import CatalogGroup, CatalogInput
from pannier.errors import Problem

MAX_DEPTH: Final = 3
"""How many groups with inputs may stand in a row, each an input of the one before."""
UNKNOWN_GROUP: Final = "UnknownInputGroup"
_PATH: Final = "spec.onDemand.inputs"
Edges = Mapping[str, tuple[CatalogInput, ...]]


@dataclass(frozen=True, slots=True)
class InputGraph:
    """What inputs come to among the groups of one catalog, by groupName."""

    faults: Mapping[str, Problem]
    """Why the inputs of a group cannot be read; paths are below the group's manifest."""
    rows: Mapping[str, int]
    """How many rows of other groups one row takes, inputs of inputs counted; of sound groups with inputs."""


def inputs_of(group: CatalogGroup) -> tuple[CatalogInput, ...]:
    """Read the declared inputs; none where a later release says it in another way (nobody serves that)."""
    try:
        return msgspec.convert((group.on_demand or {}).get("inputs", ()), tuple[CatalogInput, ...])
    except msgspec.ValidationError:
        return ()


def input_graph(groups: Iterable[CatalogGroup]) -> InputGraph:
    """Judge all inputs at once, in time linear in their number."""
    known = {group.group_name: group for group in groups}
    edges = {name: inputs for name, group in known.items() if (inputs := inputs_of(group))}
    depths, rows = _depths(edges)
    faults: dict[str, Problem] = {}
    for name, inputs in edges.items():
        # first what no group to come can mend: an unknown one beside it must not hide a cycle
        if name not in depths:
            cycle = " -> ".join(_cycle(name, edges, depths))
            faults[name] = Problem(_PATH, "InputCycle", f"form a cycle: {cycle}")
        elif depths[name] > MAX_DEPTH:
            message = f"are {depths[name]} deep, inputs of inputs counted; at most {MAX_DEPTH} go"
            faults[name] = Problem(_PATH, "InputsTooDeep", message)
        elif (own := next(_own_faults(inputs, known), None)) is not None:
            faults[name] = own
    return InputGraph(faults, {name: count for name, count in rows.items() if name not in faults})


def _own_faults(inputs: tuple[CatalogInput, ...], known: Mapping[str, CatalogGroup]) -> Iterator[Problem]:
    for position, one in enumerate(inputs):
        path, group = f"{_PATH}[{position}]", known.get(one.group)
        if group is None:
            yield Problem(f"{path}.group", UNKNOWN_GROUP, f"{one.group!r} is no group that can be read here")
            continue
        features = {feature.name: feature for feature in group.features}
        for number, name in enumerate(one.features):
            if name not in features or features[name].state == "Removed":
                what = "was removed from" if name in features else "is not declared in"
                message = f"{name!r} {what} group {one.group!r}"
                yield Problem(f"{path}.features[{number}]", "UnknownInputFeature", message)
        if one.limit is not None and one.limit > (group.query.max_limit if group.is_timeline else 0):
            message = (
                f"is {one.limit}; {one.group!r} takes at most {group.query.max_limit} (maxLimit)"
                if group.is_timeline
                else f"{one.group!r} holds one record per id, so no limit applies"
            )
            yield Problem(f"{path}.limit", "InputLimit", message)
        if any(below.id_from == "Context" for below in inputs_of(group)):
            message = f"{one.group!r} takes ids from the context of a read, and inputs are read without one"
            yield Problem(f"{path}.group", "InputNeedsContext", message)


def _depths(edges: Edges) -> tuple[dict[str, int], dict[str, int]]:
    """Find how deep each group's inputs go and how many rows they are, from the bottom up.

    What takes part in a cycle, or leads to one, is never reached. Without recursion: a catalog may hold a
    chain of any length.
    """
    above: dict[str, list[str]] = {}
    for name, inputs in edges.items():
        for one in inputs:
            if one.group in edges:
                above.setdefault(one.group, []).append(name)
    waits = {name: sum(one.group in edges for one in inputs) for name, inputs in edges.items()}
    ready = [name for name, count in waits.items() if not count]
    depths: dict[str, int] = {}
    rows: dict[str, int] = {}
    for name in ready:  # grows while it is walked
        depths[name] = 1 + max(depths.get(one.group, 0) for one in edges[name])
        rows[name] = sum(1 + rows.get(one.group, 0) for one in edges[name])
        for user in above.get(name, ()):
            waits[user] -= 1
            if not waits[user]:
                ready.append(user)
    return depths, rows


def _cycle(name: str, edges: Edges, ended: Mapping[str, int]) -> list[str]:
    """Walk from a group that leads into a cycle, once around it."""
    path: dict[str, None] = {}
    while name not in path:
        path[name] = None
        name = next(one.group for one in edges[name] if one.group in edges and one.group not in ended)
    walked = list(path)
    return [*walked[walked.index(name) :], name]
