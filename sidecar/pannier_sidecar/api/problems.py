"""RFC 9457 problems: the one table from a reason to its HTTP status and title, and the one encoding.

A `pannier.errors.Problem` says where, why and what would be right; here one or more of them become the body
of an answer, or the ``error`` in place of one read of several. A reason the table does not name is a fault
of the input: 422.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from pannier.errors import PannierError, Problem
from pannier_sidecar.errors import TierError

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:pannier:problem:"
INVALID_REQUEST: Final = "InvalidRequest"
"""The reason of a problem whose faults differ in status."""

_STATUS: Final[dict[str, int]] = {
    "MalformedJson": HTTPStatus.BAD_REQUEST,
    "MalformedRequest": HTTPStatus.BAD_REQUEST,
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "UnknownGroup": HTTPStatus.NOT_FOUND,
    "UnknownRoute": HTTPStatus.NOT_FOUND,
    "MethodNotAllowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "RequestTimeout": HTTPStatus.REQUEST_TIMEOUT,
    "BodyTooLarge": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "ContentEncodingUnsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "InternalError": HTTPStatus.INTERNAL_SERVER_ERROR,
    "NotReady": HTTPStatus.SERVICE_UNAVAILABLE,
    "ShuttingDown": HTTPStatus.SERVICE_UNAVAILABLE,
    "Overloaded": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierFailed": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierThrottled": HTTPStatus.SERVICE_UNAVAILABLE,
    "InputUnknown": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierGarbled": HTTPStatus.SERVICE_UNAVAILABLE,
    "OnDemandFailed": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierOverloaded": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierMisconfigured": HTTPStatus.SERVICE_UNAVAILABLE,
    "TierTimeout": HTTPStatus.GATEWAY_TIMEOUT,
}
_TITLE: Final[dict[str, str]] = {
    "MalformedJson": "The body is not JSON",
    "AccessDenied": "This sidecar may not do that with the group",
    "UnknownGroup": "No such feature group here",
    "UnknownFeature": "No such feature in the group",
    "UnknownField": "No such field in a request",
    "WrongType": "A value has the wrong type",
    "UnknownRoute": "No such resource",
    "InternalError": "A fault of the sidecar",
    "NotReady": "No catalog is loaded yet",
    "Overloaded": "Too much is under way in this sidecar",
    "TierUnavailable": "A store cannot be reached",
    "TierTimeout": "A store did not answer in time",
    "TierThrottled": "A store asked to slow down",
    "TierOverloaded": "Too many calls to a store are under way",
    "TierMisconfigured": "A store is not set up for this sidecar",
    INVALID_REQUEST: "The request has several faults",
}
MAX_ERRORS: Final = 20
"""More faults than a person reads at once are counted, not listed."""
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_encode: Final = msgspec.json.Encoder().encode


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One entry of ``errors``."""

    path: str
    reason: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an ``application/problem+json`` answer."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    errors: tuple[Fault, ...] = ()
    instance: str | None = None
    """``urn:pannier:error:<id>``, the same id as in the log; only for faults of the sidecar."""


class RequestRefused(PannierError):
    """A request that cannot be answered as asked; carries every fault found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))

    @classmethod
    def because(cls, reason: str, message: str, path: str = "") -> RequestRefused:
        """Refuse for a single fault."""
        return cls((Problem(path, reason, message),))

    @property
    def reason(self) -> str:
        """The headline."""
        return reason_of(self.problems)


def status_of(reason: str) -> int:
    """HTTP status of a reason."""
    return int(_STATUS.get(reason, HTTPStatus.UNPROCESSABLE_ENTITY))


def title_of(reason: str) -> str:
    """Short sentence for people, the same for every occurrence of a reason."""
    return _TITLE.get(reason) or _WORD.sub(" ", reason).capitalize()


def reason_of(problems: Sequence[Problem]) -> str:
    """One reason for several faults: the first, if all come to its status."""
    if len({status_of(problem.reason) for problem in problems}) == 1:
        return problems[0].reason
    return INVALID_REQUEST


def details(problems: Sequence[Problem], *, instance: str | None = None) -> ProblemDetails:
    """Make the problem document of one or more faults."""
    reason = reason_of(problems)
    shown, left_out = problems[:MAX_ERRORS], len(problems) - MAX_ERRORS
    more = f"; and {left_out} more" if left_out > 0 else ""
    return ProblemDetails(
        type=TYPE_PREFIX + reason,
        title=title_of(reason),
        status=status_of(reason),
        detail="; ".join(map(str, shown)) + more,
        reason=reason,
        errors=tuple(Fault(p.path, p.reason, p.message) for p in shown),
        instance=instance,
    )


def embedded(problems: Sequence[Problem]) -> bytes:
    """Encode the problem document that stands as ``error`` in place of one read of several."""
    return encode(details(problems))


def encode(document: ProblemDetails) -> bytes:
    """Encode a problem document as JSON; a lone surrogate quoted from the request is escaped."""
    try:
        return _encode(document)
    except UnicodeEncodeError:
        return _encode(
            msgspec.structs.replace(
                document,
                detail=_printable(document.detail),
                errors=tuple(
                    Fault(_printable(f.path), f.reason, _printable(f.message)) for f in document.errors
                ),
            )
        )


def of_tier_error(error: TierError) -> Problem:
    """Say which tier gave no answer, and why."""
    return Problem("", error.reason, f"{error.tier}: {error.message}")


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
