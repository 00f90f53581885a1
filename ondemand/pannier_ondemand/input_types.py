"""A parameter that takes an input: its annotation, taken apart. No spec is known yet.

``Home`` takes the features of a row, ``list[Record[Click]]`` the records of a timeline, either with ``|
None`` for a row that is missing; in a batch there is a sequence of these, one per id. Whether that is what
the FeatureGroup declares is `pannier_ondemand.input_fitting`'s; rows become arguments in
`pannier_ondemand.input_rows`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from pannier_ondemand.annotations import alternatives, takes_null

T = TypeVar("T")
SEQUENCES: Final = (list, tuple, Sequence)


class Record(msgspec.Struct, Generic[T], frozen=True):
    """One record of a timeline that is an input."""

    timestamp: int
    """In the unit of the timeline's sort key."""
    features: T


class InputParameter(msgspec.Struct, frozen=True):
    """What a function takes for one input."""

    name: str
    features: Mapping[str, Any]
    """Annotation of each feature that is taken."""
    decode: Callable[[msgspec.Raw | bytes], Any]
    """Makes the author's type of a JSON object; raises `msgspec.ValidationError`."""
    null_if_absent: tuple[str, ...]
    """Features that are None where a row does not have them: those that may be, and have no default."""
    is_timeline: bool
    takes_missing: bool
    is_needed: bool
    """Whether a read without this input is refused; else the parameter's default stands in."""


class _Field(msgspec.Struct, frozen=True):
    annotation: Any
    is_required: bool


def input_parameter(name: str, annotation: Any, *, is_batch: bool, is_needed: bool) -> InputParameter:
    """Take an annotation apart; raises ValueError with what is wrong about it."""
    if is_batch:
        if get_origin(annotation) not in SEQUENCES:
            raise ValueError("has to be a Sequence: in a batch, inputs come one per id")
        annotation = get_args(annotation)[0]
    takes_missing, kinds = takes_null(annotation), alternatives(annotation)
    is_timeline = len(kinds) == 1 and get_origin(kinds[0]) in SEQUENCES
    if is_timeline:
        kinds = [get_args(kind)[0] for kind in get_args(kinds[0])[:1] if get_origin(kind) is Record]
    fields = _fields(kinds[0]) if len(kinds) == 1 else None
    if fields is None:
        raise ValueError(
            "has to be a msgspec.Struct, dataclass or TypedDict with a field per feature, or for a timeline "
            "list[Record[...]] of one; None may be beside it"
        )
    return InputParameter(
        name=name,
        features={field: one.annotation for field, one in fields.items()},
        decode=_decoder(kinds[0]),
        null_if_absent=tuple(
            field for field, one in fields.items() if one.is_required and takes_null(one.annotation)
        ),
        is_timeline=is_timeline,
        takes_missing=takes_missing,
        is_needed=is_needed,
    )


def _decoder(kind: Any) -> Callable[[msgspec.Raw | bytes], Any]:
    try:
        return msgspec.json.Decoder(kind).decode
    except TypeError as error:
        raise ValueError(f"cannot be made of JSON: {error}") from error


def _fields(kind: Any) -> Mapping[str, _Field] | None:
    """Find the fields of an author's type by the names that they have in JSON; None where it is no such type.

    Raises ValueError for a type that wants JSON in another form than the rows of inputs have.
    """
    if isinstance(kind, type(msgspec.Struct)):
        config = kind.__struct_config__
        if config.array_like or config.tag is not None or config.forbid_unknown_fields:
            raise ValueError("may be neither array_like nor tagged, nor forbid unknown fields")
        return {
            field.encode_name: _Field(field.type, field.required) for field in msgspec.structs.fields(kind)
        }
    if not isinstance(kind, type):
        return None
    if is_typeddict(kind):
        required = kind.__required_keys__  # type: ignore[attr-defined]  # every TypedDict has them
        return {name: _Field(hint, name in required) for name, hint in get_type_hints(kind).items()}
    if not dataclasses.is_dataclass(kind):
        return None
    hints, missing = get_type_hints(kind), dataclasses.MISSING
    return {
        field.name: _Field(hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
        if field.init
    }
