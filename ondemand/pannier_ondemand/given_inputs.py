"""Inputs as a test gives them -> rows as a sidecar sends them, checked by the codecs that sidecars use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from pannier.catalog import CatalogGroup, CatalogInput
from pannier.errors import ValueRefused
from pannier.inputs import inputs_of
from pannier.values import codec_for
from pannier_ondemand.input_types import Record
from pannier_ondemand.messages import InputRecord, InputRow

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def given_inputs(
    group: str, groups: Mapping[str, CatalogGroup], ids: Sequence[str], inputs: Mapping[str, Sequence[Any]]
) -> dict[str, list[InputRow]]:
    """Make the rows of each input; raises AssertionError for what no sidecar would send."""
    declared = {one.name: one for one in inputs_of(groups[group])}
    found = {}
    for name, values in inputs.items():
        if name not in declared or len(values) != len(ids):
            raise AssertionError(f"{name}: an input that {group} declares takes one value for each id")
        one = declared[name]
        of = groups[one.group]
        found[name] = [_row(row_id, value, one, of) for row_id, value in zip(ids, values, strict=True)]
    return found


def _row(row_id: str, value: Any, one: CatalogInput, of: CatalogGroup) -> InputRow:
    if value is None:
        return InputRow(row_id, "missing")
    if not of.is_timeline:
        return InputRow(row_id, "found", _features(value, one, of))
    if not all(isinstance(record, Record) for record in value):
        raise AssertionError(f"{one.name}: {of.group_name} is a timeline, of which Records are given")
    records = [InputRecord(record.timestamp, _features(record.features, one, of)) for record in value]
    return InputRow(row_id, "found", records=tuple(records))


def _features(value: Any, one: CatalogInput, of: CatalogGroup) -> msgspec.Raw:
    given = _OBJECT.decode(_encode(value))
    return msgspec.Raw(_encode(dict(_fragments(given, one, of))))


def _fragments(
    given: Mapping[str, msgspec.Raw], one: CatalogInput, of: CatalogGroup
) -> Iterator[tuple[str, msgspec.Raw]]:
    features = {feature.name: feature for feature in of.features if feature.name in one.features}
    for name, raw in given.items():
        if name not in features:
            raise AssertionError(f"{one.name}: {name!r} is none of the features that this input brings")
        try:
            yield name, msgspec.Raw(codec_for(features[name]).parse(raw, name))
        except ValueRefused as refused:
            raise AssertionError(f"{one.name}: {refused.path} {refused.message}") from refused
