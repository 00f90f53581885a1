"""A feature's declared default as the canonical fragment that is served, or why it is no value of its type.

The one rule about a FeatureGroup that CEL cannot say: the schema of ``default`` is open, so the API server
lets any JSON pass and the operator reports it in the condition SchemaAccepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec

from pannier.catalog import CatalogFeature
from pannier.errors import Problem, ValueRefused
from pannier.spec import FeatureGroup, FeatureSpec
from pannier.values import codec_for

MAX_DEFAULT_BYTES: Final = 2048
"""Bounds the catalog: a group of 128 features has to fit one ConfigMap."""


def catalog_feature(feature: FeatureSpec, path: str) -> CatalogFeature:
    """Make the served form of a feature; raises `ValueRefused` naming ``path``.default."""
    bare = CatalogFeature(
        id=feature.id,
        name=feature.name,
        type=feature.type,
        element_type=feature.element_type,
        dimensions=feature.dimensions,
        state=feature.state,
        max_bytes=feature.max_bytes,
        description=feature.description,
    )
    if not feature.has_default:
        return bare
    path = f"{path}.default"
    fragment = codec_for(bare).parse(_json_bytes(feature.default, path), path)
    if len(fragment) > MAX_DEFAULT_BYTES:
        message = f"is {len(fragment)} bytes of JSON; a default takes at most {MAX_DEFAULT_BYTES}"
        raise ValueRefused("DefaultTooLarge", message, path)
    return msgspec.structs.replace(bare, default=fragment.decode())


def default_problems(group: FeatureGroup) -> Iterator[Problem]:
    """Find defaults that are no value of their feature's type."""
    for index, feature in enumerate(group.spec.features):
        try:
            catalog_feature(feature, f"spec.features[{index}]")
        except ValueRefused as refusal:
            yield Problem(refusal.path, refusal.reason, refusal.message)


def _json_bytes(value: object, path: str) -> bytes:
    """Encode what YAML or JSON decoded; exact for integers of any size, which the codec then judges."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise ValueRefused("NotJson", f"cannot be written as JSON ({error})", path) from error
