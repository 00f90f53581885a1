"""Vectors of float32: packed little-endian in storage, the fewest digits that give the same one in JSON."""

# ruff: noqa: D102 - the methods are described once, on `Kind`

from __future__ import annotations

import math
import struct
from typing import Any

from pannier.errors import ValueRefused
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import shown
from pannier.values.scalars import Kind

FLOAT32_LIMIT = 3.4028235677973366e38
"""Where rounding to float32 would give infinity."""
_BYTES_EACH = 4
_FLOAT32_NORMAL = 1.1754943508222875e-38
_EXACT_DIGITS = 6
_ENOUGH_DIGITS = 9


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
        return self._shortest(self._packed.unpack(self._packed.pack(*value)))

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
        return self._shortest(numbers)

    def _wrong_dimensions(self, count: float) -> ValueRefused:
        return ValueRefused("WrongDimensions", f"has {count:g} numbers; this Vector has {self.dimensions}")

    def _shortest(self, numbers: tuple[float, ...]) -> list[float]:
        """Per float32 the nearest decimal of the fewest digits that still reads as the same float32."""
        tries = [float(f"{one:.{_EXACT_DIGITS}g}") for one in numbers]
        again = self._packed.unpack(self._packed.pack(*tries))
        return [
            try_ + 0.0 if same == one and (abs(one) >= _FLOAT32_NORMAL or not one) else _search(one)
            for one, try_, same in zip(numbers, tries, again, strict=True)
        ]


def _search(number: float) -> float:
    """Denormals hold fewer than six digits, most others seven to nine."""
    first = 1 if abs(number) < _FLOAT32_NORMAL else _EXACT_DIGITS + 1
    for digits in range(first, _ENOUGH_DIGITS):
        candidate = float(f"{number:.{digits}g}")
        if abs(candidate) < FLOAT32_LIMIT and struct.unpack("<f", struct.pack("<f", candidate))[0] == number:
            return candidate
    return float(f"{number:.{_ENOUGH_DIGITS}g}")
