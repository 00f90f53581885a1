"""JSON bodies to typed requests: msgspec decodes, and what it refuses becomes a problem that names the field.

The happy path is one call of a compiled decoder; all the wording happens after a refusal.
"""

from __future__ import annotations

import codecs
import difflib
import re
import types
import typing
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from pannier.errors import Problem
from pannier.values import explain_body
from pannier_sidecar.api.problems import RequestRefused

T = TypeVar("T")

_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_EXPECTED: Final = re.compile(r"Expected `(.+?)`, got `(.+?)`")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[[^\]]*\]")
_ENUM: Final = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_SHOWN_CHARACTERS: Final = 80
_NOT_JSON: Final = "MalformedJson"
_BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EXPLAINED_BYTES: Final = 1024 * 1024
"""Finding the place means reading the body again, slowly; nobody waits for that on larger ones."""


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a body; raises `RequestRefused` naming the field, what is wrong and what would be right."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestRefused([_of_shape(str(error), decoder.type)]) from error
    except msgspec.DecodeError as error:
        raise RequestRefused([_of_text(body, error)]) from error
    except UnicodeDecodeError as error:
        raise RequestRefused.because("MalformedJson", f"the body is not UTF-8: {error}") from error
    except RecursionError as error:
        raise RequestRefused.because("MalformedJson", "the body is nested too deeply") from error


def _of_text(body: bytes, error: msgspec.DecodeError) -> Problem:
    """Say why a body is no JSON; of what other readers take for JSON (NaN, half a character), also where."""
    if not body.strip():
        return Problem("", _NOT_JSON, "the body is not JSON: it is empty")
    if body.startswith(_BYTE_ORDER_MARKS):
        return Problem(
            "", _NOT_JSON, "the body is not JSON: it begins with a byte order mark; send UTF-8 without"
        )
    if len(body) <= _EXPLAINED_BYTES:
        found = explain_body(body, error)
        if found.reason in {"NotFinite", "LoneSurrogate"}:
            return Problem(found.path, _NOT_JSON, found.message)
    return Problem("", _NOT_JSON, f"the body is not JSON: {error}")


def _of_shape(message: str, root: Any) -> Problem:
    """Word msgspec's message as a problem."""
    match = _AT.match(message)
    what, path = (match["what"], (match["path"] or "").removeprefix(".")) if match else (message, "")
    if unknown := _UNKNOWN.fullmatch(what):
        name = unknown[1]
        sentence = f"unknown field `{short(name)}`{_suggestion(name, _fields_at(root, path))}"
        return Problem(_joined(path, short(name)), "UnknownField", sentence)
    if missing := _MISSING.fullmatch(what):
        return Problem(_joined(path, missing[1]), "MissingField", f"`{missing[1]}` is required")
    if expected := _EXPECTED.fullmatch(what):
        wanted = expected[1].replace("str", "string").replace(" | null", "")
        return Problem(path, "WrongType", f"expected {wanted}, got {expected[2].replace('str', 'string')}")
    if (enum := _ENUM.fullmatch(what)) and (choices := _choices(_kind_at(root, path))):
        return Problem(path, "InvalidValue", f"{short(enum[1])} is none of {', '.join(choices)}")
    return Problem(path, "InvalidValue", what[:1].lower() + what[1:])


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def short(text: str) -> str:
    """The start of a name that came from outside: an answer does not repeat a megabyte."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _suggestion(name: str, fields: list[str]) -> str:
    """Name the nearest of what would be right, or all of it."""
    near = suggest(name, fields)
    if near is not None:
        return f"; did you mean `{near}`?"
    return f"; known are {', '.join(fields)}" if fields else ""


def suggest(name: str, known: list[str]) -> str | None:
    """Give the nearest known name, if one is near enough to be a slip of the pen."""
    folded = {candidate.lower().replace("_", ""): candidate for candidate in known}
    nearest = difflib.get_close_matches(short(name).lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[nearest[0]] if nearest else None


def no_such_group(name: str, known: Iterable[str], path: str = "group") -> Problem:
    """Say that a group is not served here, and which was perhaps meant."""
    near = suggest(name, list(known))
    hint = f"; did you mean `{near}`?" if near else "; GET /v1/groups lists what is"
    return Problem(path, "UnknownGroup", f"no group {short(name)!r} is served here{hint}")


def _fields_at(root: Any, path: str) -> list[str]:
    """Names of the fields that the type knows at a path of the body."""
    kind = _struct_of(_kind_at(root, path))
    return [f.encode_name for f in msgspec.structs.fields(kind)] if kind is not None else []


def _kind_at(kind: Any, path: str) -> Any:
    """The type that a path of the body means."""
    for step in _STEP.finditer(f".{path}" if path and path[0] != "[" else path):
        kind = _field(kind, step[1]) if step[1] else _element(kind)
    return kind


def _choices(kind: Any) -> list[str]:
    """The words that a Literal takes, also where it is one of several types."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(word) for word in typing.get_args(kind)]
    return [word for part in typing.get_args(kind) for word in _choices(part)]


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        return next((s for part in typing.get_args(kind) if (s := _struct_of(part)) is not None), None)
    return None


def _field(kind: Any, name: str) -> Any:
    struct = _struct_of(kind)
    if struct is None:
        return None
    return next((f.type for f in msgspec.structs.fields(struct) if f.encode_name == name), None)


def _element(kind: Any) -> Any:
    return next(iter(typing.get_args(kind)), None)
