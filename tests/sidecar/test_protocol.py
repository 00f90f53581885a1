"""What a sidecar asks a feature server, byte by byte, and what it makes of any answer whatsoever."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_plan

from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.errors import TierError, TierGarbled, TierMisconfigured, TierUnavailable
from pannier_sidecar.on_demand.protocol import Question, decode, encode, refusal

PLAN = a_plan("score", features={"score": "Int64", "tags": "List<String>"}, storage_mode="None")
NOW_US = 1_700_000_000_000_000
ASKED = Question(PLAN, ("a", "b"))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(["a", "b", "c", "score", "tags", "found", "missing", "unknown", ""])
rows = st.fixed_dictionaries(
    {},
    optional={
        "id": words | json_values,
        "status": words | json_values,
        "features": st.dictionaries(words, json_values, max_size=3) | json_values,
        "reason": json_values,
    },
)
results = st.fixed_dictionaries(
    {},
    optional={
        "group": st.just("score") | json_values,
        "rows": st.lists(rows, max_size=3) | json_values,
        "error": json_values,
    },
)
answers = st.fixed_dictionaries({"results": st.lists(results, max_size=2) | json_values}) | json_values


def test_a_question_is_a_read_with_its_schema_and_its_context() -> None:
    """No context where none was given; one that was is passed on as it came."""
    body = encode([ASKED, Question(PLAN, ("c",), b'{"lat":52.5}')])
    asked = {"group": "score", "schema_hash": PLAN.schema_hash, "features": ["score", "tags"]}
    assert json.loads(body) == {
        "reads": [{**asked, "ids": ["a", "b"]}, {**asked, "ids": ["c"], "context": {"lat": 52.5}}]
    }


def test_an_answer_becomes_records_in_canonical_form() -> None:
    """Values as they would be stored; a feature left out is absent, and a null is a null."""
    body = {
        "results": [
            {
                "group": "score",
                "rows": [
                    {"id": "b", "status": "missing"},
                    {"id": "a", "status": "found", "features": {"tags": ["x", None], "score": None}},
                ],
            }
        ]
    }
    (said,) = decode([ASKED], json.dumps(body).encode(), NOW_US)
    assert said["a"] == Record(Kind.FOUND, NOW_US, NOW_US, NOW_US, None, {0: b"null", 1: b'["x",null]'})
    assert said["b"] == Record(Kind.MISSING, NOW_US, NOW_US, 0, None)


@given(answers)
def test_no_answer_breaks_a_sidecar(answer: Any) -> None:
    """Each id is said something of, or the whole answer is garbled; what is found fits the schema."""
    try:
        (said,) = decode([ASKED], json.dumps(answer).encode(), NOW_US)
    except TierGarbled:
        return
    assert said.keys() == {"a", "b"}
    for computed in said.values():
        if isinstance(computed, TierError):
            continue
        assert computed.kind in {Kind.FOUND, Kind.MISSING}
        for feature_id, fragment in computed.values.items():
            assert PLAN.by_id[feature_id].codec.parse(fragment, "") == fragment


@given(st.binary(max_size=30))
def test_no_bytes_break_a_sidecar(body: bytes) -> None:
    """Neither as an answer nor as a refusal."""
    with pytest.raises(TierGarbled):
        decode([ASKED], body, NOW_US)
    assert isinstance(refusal(500, body), TierUnavailable)


def test_an_answer_nested_beyond_measure_is_garbled_and_a_refusal_stays_one() -> None:
    """A fault of the decoder would take the calls of other servers down with it."""
    body = b'{"results":[],"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(TierGarbled):
        decode([ASKED], body, NOW_US)
    assert isinstance(refusal(500, body), TierUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, TierMisconfigured),
        (404, TierMisconfigured),
        (409, TierMisconfigured),
        (408, TierUnavailable),
        (425, TierUnavailable),
        (429, TierUnavailable),
        (500, TierUnavailable),
        (503, TierUnavailable),
    ],
)
def test_a_refusal_says_whether_to_come_again(status: int, kind: type[TierError]) -> None:
    """What this sidecar sent or where it went is for a person; all else may pass."""
    error = refusal(status, msgspec.json.encode({"reason": "Why", "detail": "because"}))
    assert type(error) is kind
    assert error.message == f"the feature server answered {status} Why: because"
    assert refusal(status, b"").message == f"the feature server answered {status}"
