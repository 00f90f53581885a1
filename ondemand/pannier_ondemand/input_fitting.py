"""Whether the inputs that a function takes are those that its FeatureGroup declares: decided at start.

What lies between groups (cycles, depth, features that are not there) is judged by `pannier.inputs`, as
everywhere. Here the author's types are held against the groups that inputs come from, whose manifests
therefore have to be among the specs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from keyword import iskeyword

from pannier.catalog import CatalogGroup, CatalogInput
from pannier.errors import Problem
from pannier.inputs import UNKNOWN_GROUP, input_graph, inputs_of
from pannier_ondemand.declaring import Computation
from pannier_ondemand.feature_types import expected, fits
from pannier_ondemand.input_types import InputParameter


def input_misfits(computation: Computation, groups: Mapping[str, CatalogGroup]) -> Iterator[Problem]:
    """Every reason why the function cannot take the inputs of its group, which is one of these."""
    name = computation.group
    declared = {one.name: one for one in inputs_of(groups[name])}
    taken = {parameter.name: parameter for parameter in computation.inputs}
    for unknown in sorted(taken.keys() - declared.keys()):
        message = "is taken; onDemand.inputs of the FeatureGroup declares no input of this name"
        yield Problem(f"{name}.{unknown}", "InputUndeclared", message)
    for one in declared.values():
        place = f"{name}.{one.name}"
        if one.group not in groups:
            message = (
                f"comes from {one.group!r}, which no file declares: give its manifest too (more --specs)"
            )
            yield Problem(place, UNKNOWN_GROUP, message)
        if one.name not in taken:
            yield Problem(place, "InputNotTaken", _not_taken(one.name))
        elif one.group in groups:
            yield from _misfits(place, taken[one.name], one, groups[one.group])
    fault = input_graph(groups.values()).faults.get(name)
    if fault is not None and fault.reason != UNKNOWN_GROUP:
        yield Problem(f"{name} {fault.path}", fault.reason, fault.message)


def _not_taken(name: str) -> str:
    if name == "context" or iskeyword(name):
        return f"can be taken by no function, since no parameter for inputs can be called {name!r}: rename it"
    return "is declared, and no parameter of this name takes it: its rows would be read for nothing"


def _misfits(place: str, taken: InputParameter, one: CatalogInput, group: CatalogGroup) -> Iterator[Problem]:
    if taken.is_timeline != group.is_timeline:
        message = (
            f"is a timeline: list[Record[...]] takes the records of {one.group!r}"
            if group.is_timeline
            else f"is one row of {one.group!r}, no timeline: its features are taken without list and Record"
        )
        yield Problem(place, "InputShapeMismatch", message)
    features = {feature.name: feature for feature in group.features}
    for name, annotation in taken.features.items():
        if name not in one.features:
            message = "is taken; the input's features do not name it"
            yield Problem(f"{place}.{name}", "InputFeatureUndeclared", message)
        elif name in features and not fits(annotation, features[name]):
            message = f"is {expected(features[name])} takes it, not {annotation}"
            yield Problem(f"{place}.{name}", "InputTypeMismatch", message)
