"""Which row of another group a row is computed from: the id of an input. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pannier.catalog import CatalogInput
from pannier.errors import Problem


def decoded(context: bytes) -> Mapping[str, Any]:
    """Read a context; empty where none was given."""
    found: Mapping[str, Any] = msgspec.json.decode(context) if context else {}
    return found


def input_id(one: CatalogInput, row_id: str, context: Mapping[str, Any]) -> str | None:
    """Give the id to read; None where the id has no such part, or the context no such text or number."""
    if one.id_from == "Id":
        return row_id
    if one.id_from == "IdPart":
        parts, position = row_id.split(one.separator), one.part or 0
        return parts[position] or None if position < len(parts) else None
    value = context.get(one.context_key or "")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value or None if isinstance(value, str) else None


def ids_fault(inputs: Sequence[CatalogInput], ids: Sequence[str], context: bytes) -> Problem | None:
    """Say why a read cannot name its inputs' rows; asked of what an app says, never of ids made here."""
    if not inputs:
        return None
    given = decoded(context)
    for one in inputs:
        if one.id_from == "Context" and input_id(one, "", given) is None:
            message = f"needs a text or a whole number {one.context_key!r}, for input {one.name!r}"
            return Problem("context", "InputContextMissing", message)
        for position, row_id in enumerate(ids if one.id_from == "IdPart" else ()):
            if input_id(one, row_id, given) is None:
                message = f"has no part {one.part} between {one.separator!r}, for input {one.name!r}"
                return Problem(f"ids[{position}]", "InputIdMissing", message)
    return None
