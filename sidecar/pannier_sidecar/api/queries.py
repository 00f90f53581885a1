"""Query parameters to typed values. Unknown, repeated and malformed ones are refused by name, like fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from pannier.errors import Problem
from pannier_sidecar.api.bodies import suggest
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.read_requests import Moment, Read

READ_PARAMETERS: Final = ("int64",)
ROW_PARAMETERS: Final = (
    "explain",
    "features",
    "int64",
    "limit",
    "max_age_seconds",
    "since",
    "timeout_ms",
    "until",
)
ROW_KEY_PARAMETERS: Final = ("tie_breaker", "timestamp")
_MAX_DIGITS: Final = 18
_WHOLE: Final = f"a whole number of at most {_MAX_DIGITS} digits"


def parameters(request: web.BaseRequest, known: tuple[str, ...]) -> dict[str, str]:
    """Take the query of a request; names every parameter that is unknown or given twice."""
    if "?" not in request.raw_path:
        return {}
    _check_utf8(request.rel_url.raw_query_string)
    query, faults = request.query, []
    for name in dict.fromkeys(query):
        if name not in known:
            near = suggest(name, list(known))
            hint = f"; did you mean `{near}`?" if near else f"; known are {', '.join(known) or 'none'}"
            faults.append(Problem(f"?{name[:80]}", "UnknownParameter", f"unknown parameter{hint}"))
        elif len(query.getall(name)) > 1:
            faults.append(Problem(f"?{name}", "InvalidValue", "is given more than once"))
    if faults:
        raise RequestRefused(faults)
    return dict(query)


def _check_utf8(raw_query: str) -> None:
    """Refuse what would be read with replacement characters: a row of another key, perhaps."""
    try:
        unquote(raw_query, errors="strict")
    except UnicodeDecodeError as error:
        raise RequestRefused.because(
            "MalformedRequest", f"the query holds percent-encoded bytes that are no UTF-8: {error.reason}"
        ) from error


def wants_int64_strings(given: Mapping[str, str]) -> bool:
    """Whether Int64 values are to be strings, for clients that lose digits of large numbers."""
    form = given.get("int64", "number")
    if form not in {"number", "string"}:
        raise RequestRefused.because("InvalidValue", f"{form!r} is neither string nor number", "?int64")
    return form == "string"


def row_read(group: str, row_id: str, given: Mapping[str, str]) -> Read:
    """Make the read that a GET of one row asks for."""
    features = given.get("features")
    return Read(
        group=group,
        ids=(row_id,),
        features=tuple(features.split(",")) if features is not None else None,
        limit=whole(given, "limit"),
        since=moment(given, "since"),
        until=moment(given, "until"),
        max_age_seconds=whole(given, "max_age_seconds"),
    )


def whole(given: Mapping[str, str], name: str) -> int | None:
    """Take a parameter as a whole number."""
    text = given.get(name)
    if text is None:
        return None
    if not text.removeprefix("-").isdecimal() or len(text) > _MAX_DIGITS or not text.isascii():
        raise RequestRefused.because("WrongType", f"expected {_WHOLE}, got {text[:80]!r}", f"?{name}")
    return int(text)


def switch(given: Mapping[str, str], name: str) -> bool:
    """Take a parameter as true or false."""
    text = given.get(name, "false")
    if text not in {"true", "false", "1", "0", ""}:
        raise RequestRefused.because("WrongType", f"expected true or false, got {text[:80]!r}", f"?{name}")
    return text not in {"false", "0"}


def moment(given: Mapping[str, str], name: str) -> Moment | None:
    """Take a parameter as a point in time: digits are ticks of the group's unit, anything else is text."""
    text = given.get(name)
    if text is not None and text.isdecimal() and text.isascii():
        return whole(given, name)
    return text
