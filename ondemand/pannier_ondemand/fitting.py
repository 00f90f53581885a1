"""Whether a function's types fit its FeatureGroup: decided at start, each refusal with a reason."""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from pannier.catalog import CatalogFeature, CatalogGroup
from pannier.errors import Problem
from pannier_ondemand.declaring import Computation

_SCALARS: Final[Mapping[str, type]] = {
    "String": str,
    "Int64": int,
    "Float64": float,
    "Bool": bool,
    "Bytes": bytes,
    "Timestamp": dt.datetime,
}
_CONTAINERS: Final[Mapping[str, tuple[Any, ...]]] = {
    "List": (list, tuple, Sequence),
    "Vector": (list, tuple, Sequence),
    "Set": (set, frozenset, AbstractSet),
    "Map": (dict, Mapping),
}
_ABSENT: Final = (type(None), msgspec.UnsetType)


def misfits(computation: Computation, group: CatalogGroup | None) -> Iterator[Problem]:
    """Every reason why the function cannot compute the group."""
    name = computation.group
    if group is None:
        yield Problem(name, "GroupUndeclared", "no FeatureGroup of the specs has this groupName")
        return
    if group.on_demand is None:
        yield Problem(name, "GroupStored", "is stored: only groups with storage.mode None are computed")
        return
    served = {feature.name: feature for feature in group.features if feature.state != "Removed"}
    for feature in sorted(computation.features.keys() - served.keys()):
        yield Problem(
            f"{name}.{feature}", "FeatureUndeclared", "is returned; the FeatureGroup does not declare it"
        )
    for feature, declared in served.items():
        if feature not in computation.features:
            message = "is declared; the function does not return it"
            yield Problem(f"{name}.{feature}", "FeatureNotReturned", message)
        elif not fits(computation.features[feature], declared):
            shown = (
                declared.type
                if declared.element_type is None
                else f"{declared.type} of {declared.element_type}"
            )
            message = (
                f"is {shown}; {_words(declared)} is returned for it, not {computation.features[feature]}"
            )
            yield Problem(f"{name}.{feature}", "FeatureTypeMismatch", message)


def fits(annotation: Any, feature: CatalogFeature) -> bool:
    """Whether values of a Python type are values of the feature; None and UNSET may be among them."""
    kinds = _alternatives(annotation)
    if feature.type == "Json":
        return True
    if feature.type in _SCALARS:
        return kinds == [_SCALARS[feature.type]]
    if len(kinds) != 1 or get_origin(kinds[0]) not in _CONTAINERS[feature.type]:
        return False
    element = "Float64" if feature.type == "Vector" else feature.element_type
    inner = [kind for kind in get_args(kinds[0]) if kind is not Ellipsis]
    if element == "Json":
        return True
    return _alternatives(inner[-1]) == [_SCALARS[element or ""]] and (
        feature.type != "Map" or inner[0] is str
    )


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    kinds = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return [kind for kind in kinds if kind not in _ABSENT]


def _words(feature: CatalogFeature) -> str:
    """The type an author should write."""
    if feature.type in _SCALARS:
        return _SCALARS[feature.type].__name__
    element = _SCALARS["Float64"] if feature.type == "Vector" else _SCALARS.get(feature.element_type or "")
    inner = element.__name__ if element else "Any"
    shape = {"Set": "set[{}]", "Map": "dict[str, {}]"}.get(feature.type, "list[{}]")
    return shape.format(inner)
