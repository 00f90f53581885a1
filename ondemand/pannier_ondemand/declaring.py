"""The decorator: a typed function, taken apart into what it takes and gives. No spec is known yet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pannier.errors import Problem, SpecInvalid

F = TypeVar("F", bound=Callable[..., Any])
_BATCHES: Final = (list, tuple, Sequence)
_MAPPINGS: Final = (dict, Mapping)


class Computation(msgspec.Struct, frozen=True):
    """One decorated function."""

    group: str
    function: Callable[..., Any]
    is_async: bool
    is_batch: bool
    takes_context: bool
    context_type: Any
    needs_context: bool
    features: Mapping[str, Any]
    """Annotation of each field of the struct that the function returns."""


class FeatureServer:
    """The functions of one server by the group that they compute."""

    def __init__(self) -> None:
        self.computations: dict[str, Computation] = {}

    def computes(self, group: str) -> Callable[[F], F]:
        """Let a function compute a group; raises `SpecInvalid` for a signature that says too little.

        ``(id: str) -> T | None`` for a row, ``(ids: Sequence[str]) -> Mapping[str, T | Unknown | None]`` for
        a batch; T is a `msgspec.Struct`, a field per feature; ``context`` takes what the app gave.
        """

        def take(function: F) -> F:
            if group in self.computations:
                raise _refused(group, "GroupComputedTwice", "another function computes it already")
            self.computations[group] = _computation(group, function)
            return function

        return take

    def __repr__(self) -> str:
        return f"<FeatureServer of {', '.join(self.computations) or 'nothing'}>"


def _refused(group: str, reason: str, message: str) -> SpecInvalid:
    return SpecInvalid([Problem(group, reason, message)])


def _computation(group: str, function: Callable[..., Any]) -> Computation:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise _refused(group, "AnnotationUnreadable", f"a type cannot be found: {error}") from error
    first, *others = inspect.signature(function).parameters.values()
    is_batch = get_origin(hints.get(first.name)) in _BATCHES
    if not is_batch and hints.get(first.name) is not str:
        message = f"the first parameter, {first.name}, has to be str (one row) or Sequence[str] (a batch)"
        raise _refused(group, "ParameterUnfit", message)
    wrong = [other.name for other in others if other.name != "context"]
    if wrong:
        message = f"takes {', '.join(wrong)}; beside the ids a function may take context only"
        raise _refused(group, "ParameterUnfit", message)
    struct = _struct(group, hints.get("return"), is_batch=is_batch)
    return Computation(
        group=group,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        is_batch=is_batch,
        takes_context=bool(others),
        context_type=hints.get("context", Any),
        needs_context=bool(others) and others[0].default is inspect.Parameter.empty,
        features={field.encode_name: field.type for field in msgspec.structs.fields(struct)},
    )


def _struct(group: str, returned: Any, *, is_batch: bool) -> type[msgspec.Struct]:
    """Find the struct of features in what a function returns."""
    if is_batch:
        kinds = get_args(returned)
        if get_origin(returned) not in _MAPPINGS or kinds[0] is not str:
            raise _refused(group, "ReturnUnfit", "a batch has to return Mapping[str, T | None]")
        returned = kinds[1]
    structs = [kind for kind in get_args(returned) or (returned,) if isinstance(kind, type(msgspec.Struct))]
    if len(structs) != 1:
        raise _refused(
            group, "ReturnUnfit", "has to return one msgspec.Struct with a field per feature, or None"
        )
    found: type[msgspec.Struct] = structs[0]
    return found
