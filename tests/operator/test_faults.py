"""What refusals of DynamoDB come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pannier_operator.aws.faults import Answer, classify, no_credentials, unanswered
from pannier_operator.planning.findings import REASONS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TTL_TOO_SOON = "Time to live has been modified multiple times within a fixed interval"


def refusal(code: str, text: str = "", *, operation: str = "update_table", status: int = 400) -> Answer:
    return Answer(operation, code, text, status)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (refusal("LimitExceededException", "Too many operations"), "Transient", "Throttled"),
        (refusal("ThrottlingException"), "Transient", "Throttled"),
        (refusal("ResourceInUseException", "Table is being updated"), "Transient", "Waiting"),
        (refusal("InternalServerError", status=500), "Transient", "AwsUnavailable"),
        (refusal("SomethingNew", status=503), "Transient", "AwsUnavailable"),
        (refusal("SomethingNew"), "Terminal", "AwsRefused"),
        (refusal("AccessDeniedException", "not authorized"), "Terminal", "AccessDenied"),
        (refusal("UnrecognizedClientException"), "Terminal", "CredentialsInvalid"),
        (refusal("ExpiredTokenException"), "Transient", "CredentialsInvalid"),
        (refusal("ResourceNotFoundException"), "NotFound", "Waiting"),
        (refusal("ConditionalCheckFailedException"), "Conflict", "Waiting"),
        (refusal("UnknownOperationException"), "Unsupported", "AwsRefused"),
        (refusal("ContinuousBackupsUnavailableException"), "Transient", "Waiting"),
        (
            refusal("ValidationException", "One or more parameter values were invalid"),
            "Terminal",
            "AwsRefused",
        ),
        (refusal("ValidationException", "TimeToLive is already enabled"), "AlreadySo", "NoEffect"),
        (refusal("ValidationException", "The throughput will not change."), "AlreadySo", "NoEffect"),
        (
            refusal("ValidationException", "Resource is currently protected against deletion."),
            "Terminal",
            "DeletionBlocked",
        ),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
def test_refusals_are_classified_by_code_and_text(answer: Answer, kind: str, reason: str) -> None:
    """A refusal is transient, terminal or harmless, with a documented reason and AWS's own words."""
    fault = classify(answer, NOW)
    assert (fault.kind, fault.reason) == (kind, reason)
    assert fault.reason in REASONS
    assert answer.code in fault.message
    assert answer.text in fault.message


def test_a_ttl_changed_too_soon_waits_an_hour_at_most() -> None:
    """AWS says ValidationException and not when; an hour after now it surely takes the change."""
    fault = classify(refusal("ValidationException", TTL_TOO_SOON, operation="update_time_to_live"), NOW)
    assert fault.kind == "RateLimited"
    assert fault.until == NOW + timedelta(hours=1)
    assert "2026-03-01T13:00:00Z" in fault.message


@pytest.mark.parametrize(
    "date", ["2026-03-01T20:00:00Z", "2026-03-01T20:00:00+00:00", "2026-03-01T20:00:00", "1772395200"]
)
def test_a_date_in_the_text_is_when_to_come_back(date: str) -> None:
    """Whatever the code, a limit with a date waits for that date."""
    text = f"Subscriber limit exceeded: the next change can be made at {date}."
    fault = classify(refusal("LimitExceededException", text), NOW)
    assert fault.kind == "RateLimited"
    assert fault.until == datetime(2026, 3, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["can be made at 2026-02-01T00:00:00Z", "can be made at 2026-99-99T00:00:00Z"]
)
def test_a_date_that_is_past_or_none_is_no_limit(text: str) -> None:
    """A date that says nothing about the future leaves the code to decide."""
    assert classify(refusal("LimitExceededException", text), NOW).kind == "Transient"


def test_no_answer_and_no_credentials_pass() -> None:
    """Both are tried again: networks and tokens come back by themselves."""
    assert unanswered("describe_table", "timed out").kind == "Transient"
    fault = no_credentials("describe_table", "Unable to locate credentials")
    assert (fault.kind, fault.reason) == ("Transient", "CredentialsInvalid")
