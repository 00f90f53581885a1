"""The codec of one declared feature: its kind between JSON text and stored attributes, and its size limit."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pannier.catalog import CatalogFeature
from pannier.errors import Problem, SpecInvalid, ValueRefused
from pannier.values.attributes import AttributeValue, stored_bytes
from pannier.values.containers import SET_TAGS, ListKind, MapKind, SetKind
from pannier.values.json_text import decode
from pannier.values.kind import Kind
from pannier.values.scalars import SCALARS
from pannier.values.vector import VectorKind

NULL_FRAGMENT = b"null"


class FeatureCodec(Protocol):
    """Conversions of one declared feature."""

    def parse(self, raw: msgspec.Raw | bytes, path: str) -> bytes:
        """JSON text -> canonical fragment; raises `ValueRefused` naming the place from ``path`` on."""
        ...

    def to_attribute(self, fragment: bytes) -> AttributeValue:
        """Canonical fragment -> stored value."""
        ...

    def from_attribute(self, stored: AttributeValue) -> bytes:
        """Stored value -> canonical fragment; raises `ValueRefused` for what another writer put there."""
        ...


class KindCodec:
    """The one implementation of `FeatureCodec`."""

    __slots__ = ("_feature", "_kind")

    def __init__(self, feature: CatalogFeature, kind: Kind) -> None:
        self._feature = feature
        self._kind = kind

    def parse(self, raw: msgspec.Raw | bytes, path: str) -> bytes:
        """JSON text -> canonical fragment; raises `ValueRefused` naming the place from ``path`` on."""
        kind = self._kind
        try:
            value = decode(raw)
            if value is None:
                return NULL_FRAGMENT
            fragment = kind.fragment(value)
            # no stored form is more than twice as long as its JSON, so small values need no measuring
            if 2 * len(fragment) + 3 > self._feature.max_bytes:
                self._check_size(stored_bytes(kind.store_fragment(fragment)))
        except ValueRefused as refusal:
            raise ValueRefused(refusal.reason, refusal.message, path + refusal.path) from refusal
        return fragment

    def _check_size(self, size: int) -> None:
        limit = self._feature.max_bytes
        if size > limit:
            raise ValueRefused(
                "ValueTooLarge", f"takes {size} bytes as stored; this feature's maxBytes is {limit}"
            )

    def to_attribute(self, fragment: bytes) -> AttributeValue:
        """Canonical fragment -> stored value."""
        if fragment == NULL_FRAGMENT:
            return {"NULL": True}
        return self._kind.store_fragment(fragment)

    def from_attribute(self, stored: AttributeValue) -> bytes:
        """Stored value -> canonical fragment; raises `ValueRefused` for what another writer put there."""
        if "NULL" in stored:
            return NULL_FRAGMENT
        try:
            return self._kind.load_fragment(stored)
        except ValueRefused as refusal:
            path = self._feature.name + refusal.path
            raise ValueRefused(refusal.reason, refusal.message, path) from refusal

    def __repr__(self) -> str:
        return f"<KindCodec {self._feature.name} {self._kind!r}>"


def codec_for(feature: CatalogFeature) -> FeatureCodec:
    """The codec of a declared feature; raises `SpecInvalid` for a declaration that has no stored form."""
    return KindCodec(feature, _kind(feature))


def _kind(feature: CatalogFeature) -> Kind:
    if feature.type == "Vector":
        if not feature.dimensions or feature.dimensions < 1:
            raise _invalid(feature, "dimensions", "a Vector needs its number of dimensions, at least 1")
        return VectorKind(feature.dimensions)
    if feature.type not in {"List", "Set", "Map"}:
        return SCALARS[feature.type]
    if feature.element_type is None:
        raise _invalid(feature, "elementType", f"a {feature.type} needs the type of its elements")
    element = SCALARS[feature.element_type]
    if feature.type == "List":
        return ListKind(element)
    if feature.type == "Map":
        return MapKind(element)
    if feature.element_type not in SET_TAGS:
        raise _invalid(
            feature, "elementType", f"a Set holds one of {', '.join(SET_TAGS)}, not {element.name}"
        )
    return SetKind(element)


def _invalid(feature: CatalogFeature, field: str, message: str) -> SpecInvalid:
    return SpecInvalid([Problem(f"features[{feature.id}].{field}", "InvalidFeature", message)])
