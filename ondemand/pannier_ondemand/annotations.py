"""What an annotation allows, looked at as values of features are: null and absent beside one type."""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

_NULL: Final = type(None)


def alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows beside None and UNSET."""
    return [kind for kind in _kinds(annotation) if kind not in (_NULL, msgspec.UnsetType)]


def takes_null(annotation: Any) -> bool:
    """Whether None is among what an annotation allows."""
    return annotation is Any or _NULL in _kinds(annotation)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
