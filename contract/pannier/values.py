"""Feature values: JSON as apps send it -> canonical fragment -> what a store holds, and back.

A *fragment* is the canonical JSON of one value as bytes. It is made once per write or load and from there only
moved and spliced into answers. Stored values are DynamoDB-native, so partial updates are atomic and any DynamoDB
tool can read a table. null, absent, empty and a null element are four different values and stay so.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from pannier.catalog import CatalogFeature

AttributeValue = dict[str, Any]
"""A DynamoDB attribute value in its wire form: one tag (``S``, ``N``, ``B``, ...) and the value; bytes stay bytes."""
NULL_FRAGMENT = b"null"


class FeatureCodec(Protocol):
    """Conversions of one declared feature."""

    def parse(self, raw: msgspec.Raw | bytes, path: str) -> bytes:
        """JSON text of a value -> canonical fragment; raises `ValueRefused` naming ``path`` (and below it)."""
        ...

    def to_attribute(self, fragment: bytes) -> AttributeValue:
        """Canonical fragment -> stored value."""
        ...

    def from_attribute(self, stored: AttributeValue) -> bytes:
        """Stored value -> canonical fragment; raises `ValueRefused` where another writer stored another type."""
        ...
