"""Faults to RFC 9457 documents, and bodies that do not decode to faults."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier.errors import Problem
from pannier_sidecar.api import problems
from pannier_sidecar.api.bodies import decode, no_such_group, suggest
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.read_requests import read_decoder
from pannier_sidecar.api.write_requests import row_decoder
from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled, TierTimeout, TierUnavailable

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def document(*found: Problem) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(problems.embedded(found))
    return loaded


def refusal(body: bytes | str) -> Problem:
    """The one fault found in a body of a read request."""
    with pytest.raises(RequestRefused) as caught:
        decode(read_decoder, body.encode() if isinstance(body, str) else body)
    (found,) = caught.value.problems
    return found


def test_a_document_names_type_status_and_field() -> None:
    """One fault: a stable type, its status, and the fault as an entry of errors."""
    assert document(Problem("reads[0].group", "UnknownGroup", "no group `clicks` here")) == {
        "type": "urn:pannier:problem:UnknownGroup",
        "title": "No such feature group here",
        "status": 404,
        "detail": "reads[0].group: no group `clicks` here",
        "reason": "UnknownGroup",
        "errors": [{"path": "reads[0].group", "reason": "UnknownGroup", "message": "no group `clicks` here"}],
    }


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("MalformedJson", 400),
        ("AccessDenied", 403),
        ("UnknownGroup", 404),
        ("MethodNotAllowed", 405),
        ("BodyTooLarge", 413),
        ("UnknownFeature", 422),
        ("NobodyKnowsThisReason", 422),
        ("InternalError", 500),
        ("NotReady", 503),
    ],
)
def test_a_reason_has_one_status(reason: str, status: int) -> None:
    """The table decides; what it does not name is a fault of the input."""
    assert document(Problem("", reason, "x"))["status"] == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TierError, 503),
        (TierUnavailable, 503),
        (TierThrottled, 503),
        (TierMisconfigured, 503),
        (TierTimeout, 504),
    ],
)
def test_tier_errors_are_problems_too(error: type[TierError], status: int) -> None:
    """An outage is said to be one, never a fault of the request."""
    found = document(problems.of_tier_error(error("l3", "no answer")))
    assert (found["status"], found["reason"], found["detail"]) == (status, error.reason, "l3: no answer")


def test_faults_of_one_status_keep_the_first_reason() -> None:
    """Several unknown groups are still 404; faults of different kinds are 422."""
    group = Problem("reads[0].group", "UnknownGroup", "a")
    feature = Problem("reads[1].features[0]", "UnknownFeature", "b")
    assert document(group, group)["reason"] == "UnknownGroup"
    mixed = document(group, feature)
    assert (mixed["reason"], mixed["status"], len(mixed["errors"])) == ("InvalidRequest", 422, 2)


def test_a_flood_of_faults_is_cut_and_counted() -> None:
    """A thousand bad ids do not become a megabyte of errors."""
    found = document(*[Problem(f"reads[0].ids[{n}]", "IdTooLong", "is too long") for n in range(1000)])
    assert len(found["errors"]) == problems.MAX_ERRORS
    assert found["detail"].endswith(f"and {1000 - problems.MAX_ERRORS} more")


def test_text_that_is_no_unicode_is_escaped() -> None:
    """A lone surrogate of the request does not break the answer about it."""
    assert "\\ud800" in document(Problem("ids[0]", "InvalidId", "holds \ud800"))["detail"]


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text(), st.text())
def test_any_problem_encodes(path: str, reason: str, message: str) -> None:
    """Whatever a message quotes, the answer is JSON."""
    assert document(Problem(path, reason, message))["reason"] == reason


@pytest.mark.parametrize(
    ("body", "path", "reason", "message"),
    [
        (
            '{"reads":[{"group":"g","ids":["a","b",3]}]}',
            "reads[0].ids[2]",
            "WrongType",
            "expected string, got int",
        ),
        ('{"reads":{}}', "reads", "WrongType", "expected array, got object"),
        ("[]", "", "WrongType", "expected object, got array"),
        ('{"reads":[{"ids":[]}]}', "reads[0].group", "MissingField", "`group` is required"),
        ("{}", "reads", "MissingField", "`reads` is required"),
        (
            '{"reads":[{"group":"g","id":["a"]}]}',
            "reads[0].id",
            "UnknownField",
            "unknown field `id`; did you mean `ids`?",
        ),
        (
            '{"reads":[{"group":"g","ids":[],"maxAgeSeconds":1}]}',
            "reads[0].maxAgeSeconds",
            "UnknownField",
            "unknown field `maxAgeSeconds`; did you mean `max_age_seconds`?",
        ),
        (
            '{"reads":[],"timeoutMs":1}',
            "timeoutMs",
            "UnknownField",
            "unknown field `timeoutMs`; did you mean `timeout_ms`?",
        ),
        (
            '{"reads":[],"zzz":1}',
            "zzz",
            "UnknownField",
            "unknown field `zzz`; known are reads, timeout_ms, explain",
        ),
        (
            '{"reads":[{"group":"g","ids":["a"],"limit":1.5}]}',
            "reads[0].limit",
            "WrongType",
            "expected int, got float",
        ),
        ('{"reads":[],"explain":"yes"}', "explain", "WrongType", "expected bool, got string"),
    ],
)
def test_a_wrong_shape_is_located(body: str, path: str, reason: str, message: str) -> None:
    """The fault names the field at any depth, what it got and what would be right."""
    assert refusal(body) == Problem(path, reason, message)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b'{"reads": [{"group": "g", "ids": ["12',
        b"nonsense",
        b"{'reads': []}",
        b'{"reads": NaN}',
        b"\xff\xfe",
        b'{"reads":[{"group":"\xff","ids":[]}]}',
        b'{"reads":[{"group":"\\ud800","ids":[]}]}',
        b'{"reads":[]} trailing',
    ],
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    """Truncated, empty, quoted wrongly, not UTF-8: one reason, one status."""
    found = refusal(body)
    assert found.reason == "MalformedJson"
    assert problems.status_of(found.reason) == 400


@pytest.mark.parametrize(
    ("body", "path", "says"),
    [
        (b'{"reads":[{"group":"g","ids":["\\ud800"]}]}', "reads[0].ids[0]", "lone surrogate"),
        (b'{"reads":[{"group":"g","ids":["\\udc00\\ud800"]}]}', "reads[0].ids[0]", "lone surrogate"),
        (b'{"reads":[{"group":"g","ids":[],"limit":NaN}]}', "reads[0].limit", "NaN"),
        (b'{"reads":[{"group":"g","ids":[],"limit":-Infinity}]}', "reads[0].limit", "infinite"),
        (b'\xef\xbb\xbf{"reads":[]}', "", "byte order mark"),
        ('{"reads":[]}'.encode("utf-16"), "", "byte order mark"),
        (b"", "", "empty"),
    ],
)
def test_what_other_readers_take_for_json_is_explained(body: bytes, path: str, says: str) -> None:
    """Where most JSON libraries are lenient, the answer tells which value it is."""
    found = refusal(body)
    assert (found.path, found.reason) == (path, "MalformedJson")
    assert says in found.message


def test_words_that_would_be_right_are_listed() -> None:
    """An enum field says what it takes."""
    with pytest.raises(RequestRefused) as refused:
        decode(row_decoder, b'{"features": {}, "mode": "upsert"}')
    (problem,) = refused.value.problems
    assert (problem.path, problem.message) == ("mode", "'upsert' is none of merge, replace, force")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clikcs", "no group 'clikcs' is served here; did you mean `clicks`?"),
        ("zzz", "no group 'zzz' is served here; GET /v1/groups lists what is"),
    ],
)
def test_an_unknown_group_tells_what_would_be_right(name: str, message: str) -> None:
    """The nearest name, or where all of them stand."""
    assert no_such_group(name, ["clicks", "views"]).message == message
    assert len(no_such_group("x" * 1_000_000, ["clicks"]).message) < 200


def test_deep_nesting_is_refused() -> None:
    """A body of brackets exhausts nothing."""
    assert refusal(b"[" * 100_000).reason in {"MalformedJson", "WrongType"}
    deep = b'{"reads":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert refusal(deep).reason in {"MalformedJson", "WrongType"}


def test_a_huge_field_name_is_not_repeated_whole() -> None:
    """The answer about a megabyte of nonsense is short."""
    found = refusal('{"' + "x" * 1_000_000 + '":1}')
    assert len(found.message) < 300


@settings(deadline=None, max_examples=150)
@given(JSON_VALUES)
def test_any_json_decodes_or_is_refused(value: object) -> None:
    """No shape of JSON leads to anything but a request or a refusal."""
    try:
        decode(read_decoder, json.dumps(value).encode())
    except RequestRefused as refused:
        status = msgspec.json.decode(problems.embedded(refused.problems))["status"]
    else:
        status = 200
    assert status in {200, 400, 422}


@pytest.mark.parametrize(
    ("name", "expected"), [("Group", "group"), ("grups", "group"), ("IDs", "ids"), ("qqq", None), ("", None)]
)
def test_suggestions(name: str, expected: str | None) -> None:
    """Slips of the pen and of case are recognised; anything else is not guessed at."""
    assert suggest(name, ["group", "ids", "max_age_seconds"]) == expected
