"""What pydantic found wrong with a FeatureGroup -> `Problem`s: where, what, and what would be right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pannier.errors import Problem
from pannier.spec_base import PATTERN_MEANING

Location = Sequence[str | int]
_SHOWN_CHARACTERS = 60
_UNITS: Final = ("bytes", "milliseconds", "seconds")
"""What the name of a field with a number ends in: its unit."""


def dotted(location: Location) -> str:
    """``("spec", "features", 2, "type")`` -> ``spec.features[2].type``."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def structural_problems(invalid: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Say every structural fault in the words of the resource.

    A list with bad items is also reported as too short, because pydantic counts the good ones: left out.
    """
    errors = invalid.errors(include_url=False)
    lists_with_bad_items = {error["loc"][:i] for error in errors for i in range(len(error["loc"]))}
    for error in errors:
        if error["type"] != "too_short" or error["loc"] not in lists_with_bad_items:
            yield _as_problem(error, root)


def _as_problem(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    reason, say = _SENTENCES.get(error["type"], ("InvalidValue", _plain))
    return Problem(dotted(error["loc"]), reason, say(error, root))


def null_problem(location: Location) -> Problem:
    """A field that is there without a value: Kubernetes refuses that as well."""
    return Problem(dotted(location), "InvalidType", "is null; give it a value or leave the field out")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was most likely meant, whatever the case it is written in."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def _unknown_field(error: ErrorDetails, root: type[BaseModel]) -> str:
    name = str(error["loc"][-1])
    known = _fields_at(root, error["loc"][:-1])
    if name.casefold() in {"ttl", "ttlseconds"} and "softTTLSeconds" in known:
        return (
            "a bare TTL is not known here; say which one: softTTLSeconds (refresh), hardTTLSeconds (never"
            " serve after) or negativeTTLSeconds (remember that there is no row)"
        )
    near = nearest(name, known)
    advice = f"did you mean {near}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"there is no such field; {advice}"


def _choice(error: ErrorDetails, _: type[BaseModel]) -> str:
    text = error.get("ctx", {})["expected"].replace("'", "")
    choices = text.replace(" or ", ", ").split(", ")
    if len(choices) == 1:
        return f"is {_shown(error['input'])}; it must be {text}"
    near = nearest(str(error["input"]), choices)
    hint = f"; did you mean {near}?" if near else ""
    return f"{_shown(error['input'])} is not one of {text}{hint}"


def _pattern(error: ErrorDetails, _: type[BaseModel]) -> str:
    pattern = error["ctx"]["pattern"]
    return f"{_shown(error['input'])} does not fit; it takes {PATTERN_MEANING[pattern]}"


def _bound(words: str, limit: str) -> Callable[[ErrorDetails, type[BaseModel]], str]:
    def say(error: ErrorDetails, _: type[BaseModel]) -> str:
        return f"{_shown(error['input'])} is out of bounds; it {words} {error['ctx'][limit]}"

    return say


def _length(words: str, limit: str, unit: str) -> Callable[[ErrorDetails, type[BaseModel]], str]:
    def say(error: ErrorDetails, _: type[BaseModel]) -> str:
        return f"has {len(error['input'])} {unit}; it takes {words} {error['ctx'][limit]}"

    return say


def _type(wanted: str) -> Callable[[ErrorDetails, type[BaseModel]], str]:
    def say(error: ErrorDetails, _: type[BaseModel]) -> str:
        return f"{_shown(error['input'])} is {_kind(error['input'])}; it takes {wanted}"

    return say


def _text(error: ErrorDetails, _: type[BaseModel]) -> str:
    value = error["input"]
    what = f"{_shown(value)} is {_kind(value)}"
    if isinstance(value, bool):  # what was written is gone: YAML reads on, off, yes and no as well
        what = f"is a truth value, as YAML reads true, false, on, off, yes and no ({_shown(value)})"
    hint = "; quote it" if isinstance(value, bool | int | float) else ""
    return f"{what}; it takes text{hint}"


def _whole_number(error: ErrorDetails, _: type[BaseModel]) -> str:
    value, name = error["input"], str(error["loc"][-1])
    unit = next((f" of {unit}" for unit in _UNITS if name.casefold().endswith(unit)), "")
    return f"{_shown(value)} is {_kind(value)}; it takes a whole number{unit}"


def _missing(_: ErrorDetails, __: type[BaseModel]) -> str:
    return "is required"


def _plain(error: ErrorDetails, _: type[BaseModel]) -> str:
    return f"{_shown(error['input'])}: {error['msg']}"


_SENTENCES: Final[Mapping[str, tuple[str, Callable[[ErrorDetails, type[BaseModel]], str]]]] = {
    "extra_forbidden": ("UnknownField", _unknown_field),
    "missing": ("MissingField", _missing),
    "literal_error": ("InvalidChoice", _choice),
    "string_pattern_mismatch": ("InvalidText", _pattern),
    "string_too_short": ("InvalidText", _length("at least", "min_length", "characters")),
    "string_too_long": ("InvalidText", _length("at most", "max_length", "characters")),
    "too_short": ("InvalidLength", _length("at least", "min_length", "entries")),
    "too_long": ("InvalidLength", _length("at most", "max_length", "entries")),
    "greater_than_equal": ("OutOfBounds", _bound("takes at least", "ge")),
    "less_than_equal": ("OutOfBounds", _bound("takes at most", "le")),
    "string_type": ("InvalidType", _text),
    "string_unicode": ("InvalidType", _type("Unicode text")),
    "int_type": ("InvalidType", _whole_number),
    "model_type": ("InvalidType", _type("an object")),
    "model_attributes_type": ("InvalidType", _type("an object")),
    "dict_type": ("InvalidType", _type("an object")),
    "tuple_type": ("InvalidType", _type("a list")),
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _kind(value: object) -> str:
    """Name a JSON type the way people do."""
    kinds = {bool: "a truth value", int: "a number", float: "a number with a fraction", str: "text"}
    kinds |= {dict: "an object", list: "a list"}
    return kinds.get(type(value), "something else")


def _fields_at(root: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields of the model that stands at ``location``."""
    model: type[BaseModel] = root
    for step in location:
        field = next((f for f in model.model_fields.values() if f.alias == step), None)
        found = _model_in(field.annotation) if field else model if isinstance(step, int) else None
        if found is None:
            return []
        model = found
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the model inside an annotation such as ``Annotated[tuple[Model, ...], ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Annotated, Union, types.UnionType, tuple}:
        return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
    return None
