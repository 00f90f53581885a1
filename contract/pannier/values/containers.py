"""List, Set and Map of scalars. A null element is a value of its own in List and Map; a Set holds none."""

# ruff: noqa: D102 - the methods are described once, on `Kind`

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pannier.errors import ValueRefused
from pannier.values.attributes import AttributeValue
from pannier.values.json_text import member
from pannier.values.kind import Kind

_NULL: AttributeValue = {"NULL": True}
SET_TAGS = {"String": "SS", "Int64": "NS", "Float64": "NS", "Timestamp": "NS", "Bytes": "BS"}
"""DynamoDB's set type of each element type that can be in one."""
_ELEMENT_TAGS = {"SS": "S", "NS": "N", "BS": "B"}


MAP_KEY_MAX_BYTES = 65_535
"""DynamoDB's limit for attribute names inside a map."""


def _all(values: Sequence[Any], convert: Callable[[Any], Any], step: Callable[[int], str]) -> list[Any]:
    """Convert elements; only when one is refused is it looked for, to name its place."""
    try:
        return [None if value is None else convert(value) for value in values]
    except ValueRefused:
        for index, value in enumerate(values):
            try:
                None if value is None else convert(value)
            except ValueRefused as refusal:
                path = step(index) + refusal.path
                raise ValueRefused(refusal.reason, refusal.message, path) from refusal
        raise


def _index(index: int) -> str:
    return f"[{index}]"


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

    def _from_json_one(self, value: Any) -> Any:
        return None if value is None else self.element.from_json(value)

    def __repr__(self) -> str:
        return f"<{self.name} of {self.element.name}>"


class ListKind(_Container):
    """Elements in their order."""

    name, wanted = "List", "an array"

    def normal(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise self.refuse(value)
        return _all(value, self.element.normal, _index)

    def to_json(self, normal: list[Any]) -> list[Any]:
        return normal if self.element.plain else [self._json_one(one) for one in normal]

    def from_json(self, value: list[Any]) -> list[Any]:
        return [self._from_json_one(one) for one in value]

    def store(self, normal: list[Any]) -> AttributeValue:
        return {"L": [self._store_one(one) for one in normal]}

    def load(self, stored: AttributeValue) -> list[Any]:
        elements = stored.get("L")
        if elements is None:
            raise self.refuse_stored(stored)
        return _all(elements, self._load_one, _index)


class SetKind(_Container):
    """Different values, sorted by value: text by code point, numbers and times by size, bytes by byte."""

    name, wanted = "Set", "an array of different values"

    def normal(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise self.refuse(value)
        normals = _all(value, self.element.normal, _index)
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
        return normal if self.element.plain else [self.element.to_json(one) for one in normal]

    def from_json(self, value: list[Any]) -> list[Any]:
        return [self.element.from_json(one) for one in value]

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
        return sorted(set(_all(values, self.element.load, _index)))


class MapKind(_Container):
    """Named elements, sorted by name because DynamoDB keeps no order."""

    name, wanted = "Map", "an object"

    def normal(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise self.refuse(value)
        keys = sorted(value)
        for key in keys:
            _check_key(key)
        return self._converted(keys, value, self.element.normal)

    def to_json(self, normal: dict[str, Any]) -> dict[str, Any]:
        if self.element.plain:
            return normal
        return {key: self._json_one(one) for key, one in normal.items()}

    def from_json(self, value: dict[str, Any]) -> dict[str, Any]:
        return {key: self._from_json_one(one) for key, one in value.items()}

    def store(self, normal: dict[str, Any]) -> AttributeValue:
        return {"M": {key: self._store_one(one) for key, one in normal.items()}}

    def load(self, stored: AttributeValue) -> dict[str, Any]:
        values = stored.get("M")
        if values is None:
            raise self.refuse_stored(stored)
        return self._converted(sorted(values), values, self._load_one)

    @staticmethod
    def _converted(keys: list[str], values: dict[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
        converted = _all([values[key] for key in keys], convert, lambda index: member(keys[index]))
        return dict(zip(keys, converted, strict=True))


def _check_key(key: str) -> None:
    if not key:
        raise ValueRefused("InvalidMapKey", "a Map has no empty keys", member(key))
    if len(key) * 4 > MAP_KEY_MAX_BYTES and len(key.encode()) > MAP_KEY_MAX_BYTES:
        raise ValueRefused(
            "InvalidMapKey", f"a key of a Map takes at most {MAP_KEY_MAX_BYTES} bytes", member(key)
        )
