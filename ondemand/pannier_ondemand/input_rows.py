"""Rows of inputs as a sidecar sent them -> arguments of the function, id by id.

A row that is missing arrives as None where the author's type takes None. Where it does not, nothing can be
computed, and the id's row is unknown: only the function may say that a row is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pannier_ondemand.input_types import InputParameter, Record
from pannier_ondemand.messages import AskedRead, InputRow, ReadRefused, Unknown

Arguments = Mapping[str, Any]
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def arguments(
    inputs: Sequence[InputParameter], read: AskedRead
) -> tuple[dict[str, Arguments], dict[str, Unknown]]:
    """Give the arguments of every id, in the order asked, and the ids that cannot be computed.

    Raises `ReadRefused` where an input is not given at all, or not once per id.
    """
    given = [(parameter, rows) for parameter in inputs if (rows := _rows(parameter, read)) is not None]
    sound: dict[str, Arguments] = {}
    unknown: dict[str, Unknown] = {}
    for position, row_id in enumerate(read.ids):
        try:
            sound[row_id] = {
                parameter.name: _argument(parameter, rows[position]) for parameter, rows in given
            }
        except Unknown as said:
            unknown[row_id] = said
    return sound, unknown


def _rows(parameter: InputParameter, read: AskedRead) -> Sequence[InputRow] | None:
    """Find the rows of one input; None where the parameter's default stands in."""
    rows = read.inputs.get(parameter.name)
    if rows is None:
        if parameter.is_needed:
            detail = f"{read.group} is computed from input {parameter.name!r}; the read did not bring it"
            raise ReadRefused("InputNotGiven", detail)
        return None
    if len(rows) != len(read.ids):
        detail = f"input {parameter.name!r} of {read.group} has {len(rows)} rows for {len(read.ids)} ids"
        raise ReadRefused("InputMisaligned", detail)
    return rows


def _argument(parameter: InputParameter, row: InputRow) -> Any:
    """Make what the function takes of one row; raises `Unknown` where that cannot be."""
    name = parameter.name
    if row.status == "unknown":
        raise Unknown(f"input {name!r} is unknown", reason="InputUnknown")
    if row.status == "missing":
        if parameter.takes_missing:
            return None
        message = f"input {name!r} is missing, and the function takes no None for it"
        raise Unknown(message, reason="InputMissing")
    try:
        if row.features is not msgspec.UNSET and not parameter.is_timeline:
            return _features(parameter, row.features)
        if row.records is not msgspec.UNSET and parameter.is_timeline:
            return [Record(record.timestamp, _features(parameter, record.features)) for record in row.records]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unknown(f"input {name!r} does not fit: {_told(error)}", reason="InputUnfit") from error
    what = "records of a timeline" if parameter.is_timeline else "features of one row"
    raise Unknown(f"input {name!r} does not fit: it has no {what}", reason="InputUnfit")


def _features(parameter: InputParameter, given: msgspec.Raw) -> Any:
    """Decode the features; those that are absent count as None where that is allowed."""
    try:
        return parameter.decode(given)
    except msgspec.ValidationError:
        if not parameter.null_if_absent:
            raise
    filled = dict.fromkeys(parameter.null_if_absent) | _OBJECT.decode(given)
    return parameter.decode(_encode(filled))


def _told(error: Exception) -> str:
    """What may be told: of an exception of the author's own type, no more than its kind."""
    cause = error.__cause__
    return str(error) if cause is None else f"its type raised {type(cause).__name__}"
