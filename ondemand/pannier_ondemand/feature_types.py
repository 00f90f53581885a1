"""Which Python types hold the values of a declared feature: what functions return, and what they take."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, get_args, get_origin

from pannier.catalog import CatalogFeature
from pannier_ondemand.annotations import alternatives

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


def fits(annotation: Any, feature: CatalogFeature) -> bool:
    """Whether values of a Python type are values of the feature; None and UNSET may be among them."""
    kinds = alternatives(annotation)
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
    return alternatives(inner[-1]) == [_SCALARS[element or ""]] and (feature.type != "Map" or inner[0] is str)


def expected(feature: CatalogFeature) -> str:
    """The feature's type, and the Python type that an author should write for it."""
    shown = feature.type if feature.element_type is None else f"{feature.type} of {feature.element_type}"
    return f"{shown}; {_words(feature)}"


def _words(feature: CatalogFeature) -> str:
    if feature.type in _SCALARS:
        return _SCALARS[feature.type].__name__
    element = _SCALARS["Float64"] if feature.type == "Vector" else _SCALARS.get(feature.element_type or "")
    inner = element.__name__ if element else "Any"
    shape = {"Set": "set[{}]", "Map": "dict[str, {}]"}.get(feature.type, "list[{}]")
    return shape.format(inner)
