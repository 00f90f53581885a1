"""The decorator: a typed function, taken apart into what it takes and gives. No spec is known yet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pannier.errors import Problem, SpecInvalid
from pannier_ondemand.input_types import SEQUENCES, InputParameter, input_parameter

F = TypeVar("F", bound=Callable[..., Any])
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
    inputs: tuple[InputParameter, ...]
    features: Mapping[str, Any]
    """Annotation of each field of the struct that the function returns."""


class FeatureServer:
    """The functions of one server by the group that they compute."""

    def __init__(self) -> None:
        self.computations: dict[str, Computation] = {}

    def computes(self, group: str) -> Callable[[F], F]:
        """Let a function compute a group; raises `SpecInvalid` for a signature that says too little.

        ``(id: str) -> T | None`` for a row, ``(ids: Sequence[str]) -> Mapping[str, T | Unknown | None]`` for
        a batch; T is a `msgspec.Struct`, a field per feature; ``context`` takes what the app gave. Any other
        parameter takes the input of its name, by its own type; in a batch, a sequence with one per id.
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
    is_batch = get_origin(hints.get(first.name)) in SEQUENCES
    if not is_batch and hints.get(first.name) is not str:
        message = f"the first parameter, {first.name}, has to be str (one row) or Sequence[str] (a batch)"
        raise _refused(group, "ParameterUnfit", message)
    struct = _struct(group, hints.get("return"), is_batch=is_batch)
    contexts = [other for other in others if other.name == "context"]
    return Computation(
        group=group,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        is_batch=is_batch,
        takes_context=bool(contexts),
        context_type=hints.get("context", Any),
        needs_context=any(_is_needed(context) for context in contexts),
        inputs=tuple(
            _input(group, other, hints.get(other.name), is_batch=is_batch)
            for other in others
            if other.name != "context"
        ),
        features={field.encode_name: field.type for field in msgspec.structs.fields(struct)},
    )


def _input(group: str, parameter: inspect.Parameter, annotation: Any, *, is_batch: bool) -> InputParameter:
    """Read a parameter beside the ids and the context: it takes an input."""
    name = parameter.name
    if parameter.kind not in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
        message = f"{name} cannot be given by its name; context and inputs are"
        raise _refused(group, "ParameterUnfit", message)
    try:
        return input_parameter(name, annotation, is_batch=is_batch, is_needed=_is_needed(parameter))
    except ValueError as error:
        raise _refused(group, "ParameterUnfit", f"{name}, which takes an input, {error}") from error
    except (NameError, TypeError) as error:
        raise _refused(group, "AnnotationUnreadable", f"a type cannot be found: {error}") from error


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


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
