"""JSON text <-> Python values: quick where the text is good, exact about the place where it is not.

msgspec decodes; only when it refuses is the text read again by the lenient standard library, to find the
value at fault and name its path. Of members of one name the last counts, as in most JSON readers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import msgspec

from pannier.errors import Problem, ValueRefused

JSON_MAX_DEPTH = 32
"""How deep arrays and objects may nest: as deep as DynamoDB nests its own."""

_NUMBER_DIGITS_MAX = 300
_SHOWN_CHARACTERS = 40

encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


def decode(raw: msgspec.Raw | bytes) -> object:
    """The value of a JSON text; raises `ValueRefused` with the path inside the text."""
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _fault(bytes(raw), error) from error


def explain_body(body: bytes, error: Exception) -> Problem:
    """Say where and why a whole request body was refused as JSON (``writes[3].features.price``)."""
    fault = _fault(body, error)
    return Problem(fault.path.removeprefix("."), fault.reason, fault.message)


def shown(value: object) -> str:
    """What came, for a message: its JSON type and, if it is a scalar, the start of it. Always plain ASCII."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value)
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}..."
    kind = {bool: "", str: "the string ", int: "the number ", float: "the number "}.get(type(value), "")
    return f"{kind}{text}"


def member(key: str) -> str:
    """The path step to a member of an object: ``.name``, or ``["..."]`` where the key is no plain word."""
    if key.isascii() and key.isidentifier():
        return f".{key}"
    text = json.dumps(key)
    return f"[{text}]" if len(text) <= _SHOWN_CHARACTERS else f"[{text[:_SHOWN_CHARACTERS]}...]"


def check_depth(value: object) -> None:
    """Refuse what nests deeper than `JSON_MAX_DEPTH`."""
    level: list[object] = [value]
    for _ in range(JSON_MAX_DEPTH):
        level = [child for parent in level for _, child in _children(parent)]
    if not any(isinstance(child, (dict, list)) for child in level):
        return
    raise ValueRefused("TooDeep", f"nests deeper than {JSON_MAX_DEPTH} levels of arrays and objects")


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((member(key), child) for key, child in value.items())
    elif isinstance(value, list):
        yield from ((f"[{index}]", child) for index, child in enumerate(value))


def _fault(raw: bytes, error: Exception) -> ValueRefused:
    """The first thing in a refused text that no JSON value may hold."""
    if isinstance(error, RecursionError):
        return ValueRefused("TooDeep", f"nests deeper than {JSON_MAX_DEPTH} levels of arrays and objects")
    try:
        value = json.loads(raw.decode(), parse_int=_lenient_int)
        fault = _first_fault("", value)
    except UnicodeDecodeError as bad:
        return ValueRefused("InvalidJson", f"is not UTF-8 text: {bad.reason} at byte {bad.start}")
    except RecursionError:
        return ValueRefused("TooDeep", f"nests deeper than {JSON_MAX_DEPTH} levels of arrays and objects")
    except ValueError as bad:
        return ValueRefused("InvalidJson", f"is not JSON: {bad}")
    return fault or ValueRefused("InvalidJson", f"is not JSON: {error}")


def _lenient_int(text: str) -> float | int:
    return int(text) if len(text) <= _NUMBER_DIGITS_MAX else math.inf


def _first_fault(path: str, value: object) -> ValueRefused | None:
    if isinstance(value, str):
        return _text_fault(path, value)
    if isinstance(value, float) and math.isnan(value):
        return ValueRefused("NotFinite", "NaN is no JSON number; leave the feature out or send null", path)
    if isinstance(value, float) and math.isinf(value):
        return ValueRefused("NotFinite", "is infinite or too large for a 64-bit float", path)
    if isinstance(value, dict):
        for key in value:
            if fault := _text_fault(path + member(key), key):
                return fault
    for step, child in _children(value):
        if fault := _first_fault(path + step, child):
            return fault
    return None


def _text_fault(path: str, text: str) -> ValueRefused | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return ValueRefused("LoneSurrogate", "holds a lone surrogate, which is no Unicode text", path)
    return None
