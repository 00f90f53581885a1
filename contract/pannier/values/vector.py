"""Vectors of float32: packed little-endian in storage, the fewest digits that give the same one in JSON."""

# ruff: noqa: D102 - the methods are described once, on `Kind`

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from pannier.errors import ValueRefused
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import shown
from pannier.values.kind import Kind

FLOAT32_LIMIT = 3.4028235677973366e38
"""Where rounding to float32 would give infinity."""
_BYTES_EACH = 4
_FLOAT32_NORMAL = 1.1754943508222875e-38
_EXACT_DIGITS = 6
"""A normal float32 gives back any decimal of so many digits; denormals hold fewer."""
_ENOUGH_DIGITS = 9
"""Digits that tell any two float32 apart."""


class VectorKind(Kind):
    """A fixed number of float32; normal form: doubles, each the shortest decimal of its float32."""

    name = "Vector"

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.wanted = f"an array of {dimensions} numbers"  # type: ignore[misc] # one sentence per instance
        self._packed = struct.Struct(f"<{dimensions}f")

    def normal(self, value: Any) -> list[float]:
        if type(value) is not list:
            raise self.refuse(value)
        if len(value) != self.dimensions:
            raise self._wrong_dimensions(len(value))
        for index, one in enumerate(value):
            if type(one) is not float and type(one) is not int:
                raise ValueRefused("WrongType", f"wants a number, got {shown(one)}", f"[{index}]")
            if not -FLOAT32_LIMIT < one < FLOAT32_LIMIT:
                raise ValueRefused(
                    "Float32OutOfRange",
                    f"{shown(one)} does not fit a 32-bit float (up to 3.4e38)",
                    f"[{index}]",
                )
        return _shortest(self._packed.unpack(self._packed.pack(*value)))

    def store(self, normal: list[float]) -> AttributeValue:
        return {"B": self._packed.pack(*normal)}

    def load(self, stored: AttributeValue) -> list[float]:
        packed = stored.get("B")
        if packed is None:
            raise self.refuse_stored(stored)
        if len(packed) != self._packed.size:
            raise self._wrong_dimensions(len(packed) / _BYTES_EACH)
        numbers = self._packed.unpack(packed)
        for index, one in enumerate(numbers):
            if not math.isfinite(one):
                raise ValueRefused("NotFinite", "the stored number is not finite", f"[{index}]")
        return _shortest(numbers)

    def _wrong_dimensions(self, count: float) -> ValueRefused:
        return ValueRefused("WrongDimensions", f"has {count:g} numbers; this Vector has {self.dimensions}")


def _shortest(numbers: Sequence[float]) -> list[float]:
    """Per float32 the nearest decimal of the fewest digits that still reads as the same float32."""
    shown = [0.0] * len(numbers)
    pending = [index for index, one in enumerate(numbers) if one]
    digits = 1 if any(0 < abs(one) < _FLOAT32_NORMAL for one in numbers) else _EXACT_DIGITS
    while pending:
        wanted = [numbers[index] for index in pending]
        tries = _rounded(wanted, digits)
        same = _as_float32(tries) if digits < _ENOUGH_DIGITS else wanted
        for index, one, candidate, again in zip(pending, wanted, tries, same, strict=True):
            if again == one:
                shown[index] = candidate
        pending = [index for index, one, again in zip(pending, wanted, same, strict=True) if again != one]
        digits += 1
    return shown


def _rounded(numbers: list[float], digits: int) -> list[float]:
    """All numbers to so many digits, in one formatting call."""
    return [float(text) for text in (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()]


def _as_float32(numbers: list[float]) -> tuple[float, ...]:
    """What float32 makes of them; one that it cannot hold becomes infinite."""
    held = [one if abs(one) < FLOAT32_LIMIT else math.inf for one in numbers]
    return struct.unpack(f"<{len(held)}f", struct.pack(f"<{len(held)}f", *held))
