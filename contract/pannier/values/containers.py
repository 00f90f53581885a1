"""List, Set and Map of scalars. A null element is a value of its own in List and Map; a Set holds none."""

# ruff: noqa: D102 - the methods are described once, on `Kind`

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pannier.errors import ValueRefused
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import member
from pannier.values.scalars import Kind

_NULL: AttributeValue = {"NULL": True}
SET_TAGS = {"String": "SS", "Int64": "NS", "Float64": "NS", "Timestamp": "NS", "Bytes": "BS"}
"""DynamoDB's set type of each element type that can be in one."""
_ELEMENT_TAGS = {"SS": "S", "NS": "N", "BS": "B"}


def _each(steps: Iterable[tuple[str, Any]], convert: Callable[[Any], Any]) -> list[Any]:
    """Convert elements, and name the one that is refused."""
    done = []
    for step, value in steps:
        try:
            done.append(None if value is None else convert(value))
        except ValueRefused as refusal:
            raise ValueRefused(refusal.reason, refusal.message, step + refusal.path) from refusal
    return done


def _indexed(values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"[{index}]", value) for index, value in enumerate(values))


class _Container(Kind):
    """What List, Set and Map share: an element kind, and conversion of one element where null stays null."""

    def __init__(self, element: Kind) -> None:
        self.element = element

    def _store_one(self, normal: Any) -> AttributeValue:
        return _NULL if normal is None else self.element.store(normal)

    def _load_one(self, stored: AttributeValue) -> Any:
        return None if "NULL" in stored else self.element.load(stored)

    def _json_one(self, normal: Any) -> Any:
        return None if normal is None else self.element.to_json(normal)

    def __repr__(self) -> str:
        return f"<{self.name} of {self.element.name}>"


class ListKind(_Container):
    """Elements in their order."""

    name, wanted = "List", "an array"

    def normal(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise self.refuse(value)
        convert = self.element.normal
        try:
            return [None if one is None else convert(one) for one in value]
        except ValueRefused:
            return _each(_indexed(value), convert)

    def to_json(self, normal: list[Any]) -> list[Any]:
        return [self._json_one(one) for one in normal]

    def store(self, normal: list[Any]) -> AttributeValue:
        return {"L": [self._store_one(one) for one in normal]}

    def load(self, stored: AttributeValue) -> list[Any]:
        if "L" not in stored:
            raise self.refuse_stored(stored)
        return _each(_indexed(stored["L"]), self._load_one)


class SetKind(_Container):
    """Different values, sorted by value: text by code point, numbers and times by size, bytes by byte."""

    name, wanted = "Set", "an array of different values"

    def normal(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise self.refuse(value)
        normals = _each(_indexed(value), self.element.normal)
        if None in normals:
            raise ValueRefused("NullInSet", "a Set holds no null", f"[{normals.index(None)}]")
        distinct = set(normals)
        if len(distinct) < len(normals):
            raise self._duplicate(normals)
        return sorted(distinct)

    @staticmethod
    def _duplicate(normals: list[Any]) -> ValueRefused:
        first: dict[Any, int] = {}
        for index, one in enumerate(normals):
            if first.setdefault(one, index) != index:
                return ValueRefused(
                    "DuplicateElement",
                    f"equals element {first[one]}; a Set holds each value once",
                    f"[{index}]",
                )
        raise AssertionError(normals)

    def to_json(self, normal: list[Any]) -> list[Any]:
        return [self.element.to_json(one) for one in normal]

    def store(self, normal: list[Any]) -> AttributeValue:
        if not normal:  # DynamoDB has no empty sets
            return {"L": []}
        tag = SET_TAGS[self.element.name]
        return {tag: [self.element.store(one)[_ELEMENT_TAGS[tag]] for one in normal]}

    def load(self, stored: AttributeValue) -> list[Any]:
        ((tag, values),) = stored.items()
        if tag in _ELEMENT_TAGS:
            values = [{_ELEMENT_TAGS[tag]: one} for one in values]
        elif tag != "L":  # other writers may have kept a set as a list
            raise self.refuse_stored(stored)
        return sorted(set(_each(_indexed(values), self.element.load)))


class MapKind(_Container):
    """Named elements, sorted by name because DynamoDB keeps no order."""

    name, wanted = "Map", "an object"

    def normal(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise self.refuse(value)
        keys = sorted(value)
        return dict(
            zip(keys, _each(((member(key), value[key]) for key in keys), self.element.normal), strict=True)
        )

    def to_json(self, normal: dict[str, Any]) -> dict[str, Any]:
        return {key: self._json_one(one) for key, one in normal.items()}

    def store(self, normal: dict[str, Any]) -> AttributeValue:
        return {"M": {key: self._store_one(one) for key, one in normal.items()}}

    def load(self, stored: AttributeValue) -> dict[str, Any]:
        values = stored.get("M")
        if values is None:
            raise self.refuse_stored(stored)
        keys = sorted(values)
        return dict(
            zip(keys, _each(((member(key), values[key]) for key in keys), self._load_one), strict=True)
        )
