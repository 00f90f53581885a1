"""A row as the function gave it -> JSON of its features, checked by the codecs that sidecars use."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from pannier.catalog import CatalogFeature
from pannier.errors import ValueRefused
from pannier.values import FeatureCodec, codec_for
from pannier_ondemand.messages import Computed, Row, Unknown

_encode: Final = msgspec.json.Encoder().encode


class RowValues:
    """The features of one group, by name."""

    def __init__(self, features: Collection[CatalogFeature]) -> None:
        self._codecs: Mapping[str, FeatureCodec] = {
            feature.name: codec_for(feature) for feature in features if feature.state != "Removed"
        }

    def row(self, row_id: str, said: Computed, asked: Collection[str]) -> Row:
        """Make the row of an answer; a value that does not fit makes its own row unknown, no other."""
        if said is None:
            return Row(row_id, "missing")
        if isinstance(said, Unknown):
            return Row(row_id, "unknown", reason=said.reason, message=said.message)
        try:
            return Row(row_id, "found", dict(self._fragments(said, asked)))
        except ValueRefused as refused:
            message = f"the function returned {refused.path}, which {refused.message}"
            return Row(row_id, "unknown", reason=refused.reason, message=message)

    def _fragments(self, said: Any, asked: Collection[str]) -> list[tuple[str, msgspec.Raw]]:
        found = []
        for name, codec in self._codecs.items():
            value = getattr(said, _field(type(said), name), msgspec.UNSET)
            if value is msgspec.UNSET or (asked and name not in asked):
                continue
            if not _finite(value):  # would become null, which is a value too
                raise ValueRefused("NotFinite", "is no finite number", name)
            try:
                raw = _encode(value)
            except (TypeError, ValueError) as error:
                raise ValueRefused("WrongType", f"is no JSON: {error}", name) from error
            found.append((name, msgspec.Raw(codec.parse(raw, name))))
        return found

    def __repr__(self) -> str:
        return f"<RowValues {', '.join(self._codecs)}>"


def _field(struct: type, name: str) -> str:
    """The attribute that is encoded under a name."""
    fields = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))  # type: ignore[attr-defined]
    found: str = fields.get(name, name)
    return found


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple | AbstractSet) else True
