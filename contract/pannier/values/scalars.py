"""The scalar kinds: String, Int64, Float64, Bool, Bytes, Timestamp, Json."""

# ruff: noqa: D102 - the methods are described once, on `Kind`

from __future__ import annotations

import binascii
import math
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from pannier.errors import ValueRefused
from pannier.times import EARLIEST_US, LATEST_US, format_rfc3339, parse_rfc3339
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import JSON_MAX_DEPTH, check_depth, decode, encode, shown
from pannier.values.kind import Kind

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
FLOAT64_SMALLEST, FLOAT64_LARGEST = 1e-130, 9.99e125
"""DynamoDB's range of numbers; 0 lies outside of it and is fine."""


class StringKind(Kind):
    """Unicode text; lone surrogates never get past the JSON decoder."""

    name, wanted = "String", "a string"

    def normal(self, value: Any) -> str:
        if type(value) is not str:
            raise self.refuse(value)
        return value

    def store(self, normal: str) -> AttributeValue:
        return {"S": normal}

    def load(self, stored: AttributeValue) -> str:
        text = stored.get("S")
        if text is None:
            raise self.refuse_stored(stored)
        return str(text)


class Int64Kind(Kind):
    """64-bit integers, exact; true is none, and neither is 1.0."""

    name, wanted = "Int64", "an integer without point or exponent"

    def normal(self, value: Any) -> int:
        if type(value) is not int:
            raise self.refuse(value)
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueRefused(
                "Int64OutOfRange", f"{shown(value)} does not fit 64 bits ({INT64_MIN} to {INT64_MAX})"
            )
        return value

    def store(self, normal: int) -> AttributeValue:
        return {"N": str(normal)}

    def load(self, stored: AttributeValue) -> int:
        text = stored.get("N")
        if text is None:
            raise self.refuse_stored(stored)
        return self.normal(whole_number(text))


class Float64Kind(Kind):
    """Doubles within DynamoDB's range of numbers; an integer is taken for the double it is."""

    name, wanted = "Float64", "a number"

    def normal(self, value: Any) -> float:
        if type(value) is not float and type(value) is not int:
            raise self.refuse(value)
        try:
            number = value + 0.0  # turns -0.0 into 0.0, and an int into a float
        except OverflowError:
            number = math.inf
        if not FLOAT64_SMALLEST <= abs(number) <= FLOAT64_LARGEST and number != 0:
            raise ValueRefused(
                "Float64OutOfRange",
                f"{shown(value)} is outside what stores hold: 0, or {FLOAT64_SMALLEST} to {FLOAT64_LARGEST} "
                "of either sign",
            )
        return float(number)

    def store(self, normal: float) -> AttributeValue:
        return {"N": repr(normal)}

    def load(self, stored: AttributeValue) -> float:
        text = stored.get("N")
        if text is None:
            raise self.refuse_stored(stored)
        return float(text) + 0.0


class BoolKind(Kind):
    """True or false."""

    name, wanted = "Bool", "true or false"

    def normal(self, value: Any) -> bool:
        if type(value) is not bool:
            raise self.refuse(value)
        return value

    def store(self, normal: bool) -> AttributeValue:  # noqa: FBT001 - the value itself, not a switch
        return {"BOOL": normal}

    def load(self, stored: AttributeValue) -> bool:
        flag = stored.get("BOOL")
        if flag is None:
            raise self.refuse_stored(stored)
        return bool(flag)


class BytesKind(Kind):
    """Bytes; in JSON standard base64, padded, in the one canonical spelling."""

    name, wanted = "Bytes", "a string of standard base64"

    def normal(self, value: Any) -> bytes:
        if type(value) is not str:
            raise self.refuse(value)
        try:
            content = binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
        except (ValueError, UnicodeEncodeError) as error:
            raise self._not_base64(value) from error
        if binascii.b2a_base64(content, newline=False) != value.encode("ascii"):
            raise self._not_base64(value)
        return content

    def from_json(self, value: str) -> bytes:
        return binascii.a2b_base64(value)

    def _not_base64(self, value: str) -> ValueRefused:
        return ValueRefused(
            "InvalidBase64",
            f"wants standard base64 (+ and /, padded with =, no line breaks), got {shown(value)}",
        )

    def store(self, normal: bytes) -> AttributeValue:
        return {"B": normal}

    def load(self, stored: AttributeValue) -> bytes:
        content = stored.get("B")
        if content is None:
            raise self.refuse_stored(stored)
        return bytes(content)


class TimestampKind(Kind):
    """Points in time to the microsecond, years 1 to 9999; normal form: microseconds since the epoch."""

    name, wanted = "Timestamp", "an RFC 3339 string with an offset, such as 2013-01-01T05:00:00Z"
    plain = False

    def normal(self, value: Any) -> int:
        if type(value) is not str:
            raise self.refuse(value)
        epoch_us, exact = parse_rfc3339(value)
        if not exact:
            raise ValueRefused(
                "InvalidTimestamp", f"{shown(value)} is finer than a microsecond; round it first"
            )
        return epoch_us

    def to_json(self, normal: int) -> str:
        return format_rfc3339(normal)

    def from_json(self, value: str) -> int:
        return parse_rfc3339(value)[0]

    def store(self, normal: int) -> AttributeValue:
        return {"N": str(normal)}

    def load(self, stored: AttributeValue) -> int:
        if "S" in stored:  # another writer's spelling, without loss
            return self.normal(stored["S"])
        text = stored.get("N")
        if text is None:
            raise self.refuse_stored(stored)
        epoch_us = whole_number(text)
        if not EARLIEST_US <= epoch_us <= LATEST_US:
            raise ValueRefused(
                "InvalidTimestamp", f"{text} microseconds since 1970 lie outside the years 1 to 9999"
            )
        return epoch_us


class JsonKind(Kind):
    """Any JSON value, members kept in the order they came; stored as its compact text."""

    name, wanted = "Json", "any JSON value"

    def fragment(self, value: Any) -> bytes:
        text = encode(value)
        if text.count(b"[") + text.count(b"{") > JSON_MAX_DEPTH:
            check_depth(value)
        return encode(_without_negative_zero(value)) if b"-0.0" in text else text

    def store_fragment(self, fragment: bytes) -> AttributeValue:
        return {"S": fragment.decode()}

    def load_fragment(self, stored: AttributeValue) -> bytes:
        text = stored.get("S")
        if text is None:
            raise self.refuse_stored(stored)
        return self.fragment(decode(text.encode()))

    def normal(self, value: Any) -> msgspec.Raw:
        return msgspec.Raw(self.fragment(value))

    def from_json(self, value: Any) -> msgspec.Raw:
        return msgspec.Raw(encode(value))

    def store(self, normal: msgspec.Raw) -> AttributeValue:
        return {"S": bytes(normal).decode()}

    def load(self, stored: AttributeValue) -> msgspec.Raw:
        return msgspec.Raw(self.load_fragment(stored))


def _without_negative_zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_negative_zero(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_without_negative_zero(child) for child in value]
    return value + 0.0 if isinstance(value, float) else value


def whole_number(text: str) -> int:
    """An integer from a stored number, which other writers may spell ``1.0`` or ``1E2``."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)
        if number == number.to_integral_value():
            return int(number)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueRefused("WrongStoredType", f"{shown(text)} is no number") from error
    raise ValueRefused("WrongStoredType", f"the stored number {text} has a fraction; an integer is wanted")


SCALARS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        StringKind(),
        Int64Kind(),
        Float64Kind(),
        BoolKind(),
        BytesKind(),
        TimestampKind(),
        JsonKind(),
    )
}
