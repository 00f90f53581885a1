"""What a failed call comes to: transient, terminal, or rate limited until when. Pure.

By operation, code and text: one ValidationException is a wrong setting, another a limit with a date, a third
means that all is as wanted already. Unknown codes are taken for terminal if DynamoDB refused, for
transient if it did not answer: neither is ever given up, terminal ones only wait for the resync.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pannier_operator.errors import AwsFault, FaultKind
from pannier_operator.planning.findings import moment

TTL_PAUSE_UNKNOWN: Final = timedelta(hours=1)
"""When AWS refuses a change of the TTL it does not say when the last one was; an hour is the most."""
_SERVER_FAULT: Final = 500
_DATE: Final = re.compile(r"can be made at\D*(\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?|\d{9,10})")


class Answer(NamedTuple):
    """What DynamoDB said instead of an answer."""

    operation: str
    code: str
    text: str
    http_status: int


class _Case(NamedTuple):
    kind: FaultKind
    reason: str


_TRANSIENT: Final = _Case("Transient", "AwsUnavailable")
_THROTTLED: Final = _Case("Transient", "Throttled")
_BUSY: Final = _Case("Transient", "Waiting")
_REFUSED: Final = _Case("Terminal", "AwsRefused")
_BY_CODE: Final = {
    "AccessDeniedException": _Case("Terminal", "AccessDenied"),
    "AccessDenied": _Case("Terminal", "AccessDenied"),
    "UnrecognizedClientException": _Case("Terminal", "CredentialsInvalid"),
    "InvalidSignatureException": _Case("Terminal", "CredentialsInvalid"),
    "MissingAuthenticationTokenException": _Case("Terminal", "CredentialsInvalid"),
    "ExpiredTokenException": _Case("Transient", "CredentialsInvalid"),
    "ConditionalCheckFailedException": _Case("Conflict", "Waiting"),
    "UnknownOperationException": _Case("Unsupported", "AwsRefused"),
    "ResourceNotFoundException": _Case("NotFound", "Waiting"),
    "TableNotFoundException": _Case("NotFound", "Waiting"),
    "ResourceInUseException": _BUSY,
    "TableInUseException": _BUSY,
    "ContinuousBackupsUnavailableException": _BUSY,
    "LimitExceededException": _THROTTLED,
    "ProvisionedThroughputExceededException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "SlowDown": _THROTTLED,
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "TransactionConflictException": _THROTTLED,
    "InternalServerError": _TRANSIENT,
    "ServiceUnavailable": _TRANSIENT,
    "RequestTimeout": _TRANSIENT,
}
_ALREADY: Final = ("already enabled", "already disabled", "will not change", "equals the current value")
_PROTECTED: Final = "protected against deletion"
_TTL_TOO_SOON: Final = "modified multiple times within a fixed interval"


def classify(answer: Answer, now: datetime) -> AwsFault:
    """Classify what DynamoDB answered."""
    until = _date_in(answer.text, now)
    if until is not None:
        return _fault(answer, _Case("RateLimited", "RateLimitedUntil"), until)
    if answer.code == "ValidationException":
        return _validation(answer, now)
    default = _TRANSIENT if answer.http_status >= _SERVER_FAULT else _REFUSED
    return _fault(answer, _BY_CODE.get(answer.code, default))


def unanswered(operation: str, why: str) -> AwsFault:
    """Classify a call that DynamoDB did not answer: it may have acted, so look before trying again."""
    return AwsFault(
        kind="Transient",
        operation=operation,
        code="NoAnswer",
        reason="AwsUnavailable",
        message=f"{operation} brought no answer ({why})",
    )


def no_credentials(operation: str, why: str) -> AwsFault:
    """Classify a call that could not be signed."""
    return AwsFault(
        kind="Transient",
        operation=operation,
        code="NoCredentials",
        reason="CredentialsInvalid",
        message=f"{operation} cannot be signed: {why}",
    )


def no_region(operation: str) -> AwsFault:
    """Classify a call that has nowhere to go."""
    return AwsFault(
        kind="Terminal",
        operation=operation,
        code="NoRegion",
        reason="RegionMissing",
        message=f"{operation} has no AWS region to go to: neither the group nor the operator names one",
    )


def _validation(answer: Answer, now: datetime) -> AwsFault:
    text = answer.text.lower()
    if any(sign in text for sign in _ALREADY):
        return _fault(answer, _Case("AlreadySo", "NoEffect"))
    if _PROTECTED in text:
        return _fault(answer, _Case("Terminal", "DeletionBlocked"))
    if _TTL_TOO_SOON in text:
        return _fault(answer, _Case("RateLimited", "RateLimitedUntil"), now + TTL_PAUSE_UNKNOWN)
    return _fault(answer, _REFUSED)


def _fault(answer: Answer, case: _Case, until: datetime | None = None) -> AwsFault:
    date = f"; again at {moment(until)}" if until else ""
    said = answer.text or "no reason given"
    return AwsFault(
        kind=case.kind,
        operation=answer.operation,
        code=answer.code,
        reason=case.reason,
        message=f"{answer.operation} was refused with {answer.code}: {said}{date}",
        until=until,
    )


def _date_in(text: str, now: datetime) -> datetime | None:
    """Find the date from which AWS would take the call."""
    found = _DATE.search(text)
    if found is None:
        return None
    read: Callable[[str], datetime] = _epoch if found[1].isdigit() else datetime.fromisoformat
    try:
        date = read(found[1].rstrip("."))
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return date if date > now else None


def _epoch(text: str) -> datetime:
    return datetime.fromtimestamp(int(text), UTC)
