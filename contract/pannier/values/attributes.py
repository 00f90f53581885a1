"""DynamoDB attribute values: what they weigh, and how one of unknown type travels as a fragment.

The size rules are those of DynamoDB's developer guide ("DynamoDB item sizes and formats"). Every store
measures by them, so that an item which one store takes is not refused by another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

AttributeValue = dict[str, Any]
"""An attribute value in wire form: one tag (``S``, ``N``, ``B``, ...) and its value; bytes stay bytes."""

ITEM_MAX_BYTES = 400 * 1024
"""What one item may weigh, names and keys included."""

_OPAQUE_MARK = b"\x00"
_CONTAINER_OVERHEAD = 3
_ELEMENT_OVERHEAD = 1
_pack = msgspec.msgpack.Encoder(order="deterministic").encode
_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode


def stored_bytes(attribute: AttributeValue) -> int:
    """Bytes that DynamoDB counts for one value, without its attribute name."""
    ((tag, value),) = attribute.items()
    return _WEIGH[tag](value)


def item_bytes(attributes: Mapping[str, AttributeValue]) -> int:
    """Bytes of named values: a whole item, to be held against `ITEM_MAX_BYTES`."""
    return sum(_text_bytes(name) + stored_bytes(value) for name, value in attributes.items())


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _number_bytes(text: str) -> int:
    """One byte per two digits, paired from the point on, one for the exponent, one for a minus sign."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits = (whole + fraction).rstrip("0")
    last = int(power or 0) + len(whole) - len(digits)
    digits = digits.lstrip("0")
    if not digits:
        return 1
    first = last + len(digits) - 1
    return first // 2 - last // 2 + 2 + mantissa.startswith("-")


def _list_bytes(elements: Sequence[AttributeValue]) -> int:
    return _CONTAINER_OVERHEAD + sum(_ELEMENT_OVERHEAD + stored_bytes(element) for element in elements)


def _map_bytes(members: Mapping[str, AttributeValue]) -> int:
    return _CONTAINER_OVERHEAD + _ELEMENT_OVERHEAD * len(members) + item_bytes(members)


def _one_byte(_: bool) -> int:  # noqa: FBT001 - the value weighed, not a switch
    return 1


_WEIGH: dict[str, Callable[[Any], int]] = {
    "S": _text_bytes,
    "N": _number_bytes,
    "B": len,
    "BOOL": _one_byte,
    "NULL": _one_byte,
    "L": _list_bytes,
    "M": _map_bytes,
    "SS": lambda texts: sum(map(_text_bytes, texts)),
    "NS": lambda numbers: sum(map(_number_bytes, numbers)),
    "BS": lambda contents: sum(map(len, contents)),
}


def opaque(attribute: AttributeValue) -> bytes:
    """A stored value of a feature this catalog does not know, as a fragment; NUL cannot begin any JSON."""
    return _OPAQUE_MARK + _pack(attribute)


def from_opaque(fragment: bytes) -> AttributeValue:
    """The stored value inside an opaque fragment."""
    return _unpack(memoryview(fragment)[1:])


def is_opaque(fragment: bytes) -> bool:
    """Whether a fragment is a stored value without a known type rather than JSON."""
    return fragment.startswith(_OPAQUE_MARK)
