"""Write intake: what a write becomes for its group, and how each kind of bad input is refused, by field."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan

from pannier import keys
from pannier.errors import Problem
from pannier.times import LATEST_US, format_rfc3339
from pannier_sidecar.api.intake import intake, record_sort_key, tombstone_put
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_requests import WriteItem
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, PutOutcome

NOW_S = 1_700_000_000
NOW_US = NOW_S * 1_000_000 + 250_000
CLICKS = a_plan()
TIMELINE = a_plan("visits", timeline=True)
TIED = a_plan("taps", timeline=True, tie_breaker="count")


def a_write(plan: GroupPlan, features: dict[str, Any] | None = None, **fields: Any) -> WriteItem:
    """A sound write of the group, as decoded from a body."""
    if features is None:
        features = {"item": "a", "count": 1}
    if plan.is_timeline:
        fields = {"timestamp": NOW_S, **fields}
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in features.items()}
    return WriteItem(group=plan.name, features=raw, **{"id": "1234", **fields})


def put_of(plan: GroupPlan, features: dict[str, Any] | None = None, **fields: Any) -> Put:
    put = intake(plan, a_write(plan, features, **fields), NOW_US)
    assert isinstance(put, Put)
    return put


def refusal_of(plan: GroupPlan, features: dict[str, Any] | None = None, **fields: Any) -> Problem:
    with pytest.raises(RequestRefused) as refused:
        intake(plan, a_write(plan, features, **fields), NOW_US, "writes[3]")
    (problem,) = refused.value.problems
    return problem


def test_a_record_is_merged_after_everything_stored_by_default() -> None:
    """No event time, no expiry, no fence to look for."""
    put = put_of(CLICKS, {"item": "é", "count": None})
    assert (put.mode, put.sort_key, put.event_time_us, put.expires_at) == ("merge", "null", None, None)
    assert put.values == {0: '"é"'.encode(), 1: b"null"}
    assert not put.check_fence
    assert not put.tombstone


def test_a_timeline_record_is_replaced_at_its_timestamp_by_default() -> None:
    """Its timestamp is sort key and event time."""
    put = put_of(TIMELINE)
    assert (put.mode, put.sort_key, put.event_time_us) == ("replace", "1700000000", NOW_S * 1_000_000)


@pytest.mark.parametrize("mode", ["merge", "replace", "force"])
def test_the_mode_can_be_chosen(mode: str) -> None:
    """For records and timelines."""
    assert put_of(CLICKS, mode=mode).mode == mode
    assert put_of(TIMELINE, mode=mode).mode == mode


def test_the_golden_record() -> None:
    """The founding document's click, from JSON to key and features by id."""
    features = {"article_id": "String", "session_id": "String"}
    plan = a_plan("recent_user_clicked_fleaMarketArticles", features=features, timeline=True, width=9)
    put = put_of(plan, {"article_id": "a", "session_id": "1111"}, timestamp=987654321)
    assert (put.id, put.sort_key, put.values) == ("1234", "987654321", {0: b'"a"', 1: b'"1111"'})


@pytest.mark.parametrize("event_time", ["2023-11-14T22:13:20Z", 1_700_000_000_000_000])
def test_an_event_time_is_taken_in_both_spellings(event_time: int | str) -> None:
    """RFC 3339 or integer microseconds."""
    assert put_of(CLICKS, event_time=event_time).event_time_us == 1_700_000_000_000_000


def test_an_event_time_may_run_five_seconds_ahead() -> None:
    """Clocks differ a little; a larger step is a wrong unit or a wrong clock."""
    assert put_of(CLICKS, event_time=NOW_US + 5_000_000).event_time_us == NOW_US + 5_000_000
    problem = refusal_of(CLICKS, event_time=NOW_US + 5_000_001)
    assert (problem.path, problem.reason) == ("writes[3].event_time", "EventTimeInFuture")


def test_a_timelines_timestamp_may_lie_in_the_future() -> None:
    """Planned events are events."""
    assert put_of(TIMELINE, timestamp=NOW_S + 86_400).sort_key == str(NOW_S + 86_400)


def test_an_echoed_event_time_makes_a_repeat_simple() -> None:
    """What an answer said can be sent back as it is, for a timeline too."""
    echoed = format_rfc3339(NOW_S * 1_000_000)
    assert put_of(TIMELINE, event_time=echoed).event_time_us == NOW_S * 1_000_000
    assert refusal_of(TIMELINE, event_time=NOW_S).reason == "UnexpectedEventTime"


@pytest.mark.parametrize(
    ("plan", "fields", "checks"),
    [
        (TIMELINE, {"timestamp": NOW_S - 4}, False),
        (TIMELINE, {"timestamp": NOW_S - 5}, True),
        (TIMELINE, {"timestamp": NOW_S + 60, "mode": "force"}, True),
        (CLICKS, {"event_time": 1}, False),
        (CLICKS, {"mode": "force"}, False),
    ],
)
def test_late_and_forced_timeline_records_look_for_the_fence(
    plan: GroupPlan, fields: dict[str, Any], *, checks: bool
) -> None:
    """A live event takes one call; only what may lie below an earlier fence pays for a second."""
    # a write is late by its event time, which has whole seconds here, while the clock reads a quarter more
    assert put_of(plan, **fields).check_fence is checks


@settings(deadline=None, max_examples=60)
@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_number_that_breaks_ties_becomes_part_of_the_key(count: int) -> None:
    """Order-preserving, and stored as a feature as well."""
    put = put_of(TIED, {"count": count})
    assert put.sort_key == f"{NOW_S}#{count + (1 << 63):020d}"
    assert put.values == {1: str(count).encode()}


def test_text_that_breaks_ties_becomes_part_of_the_key() -> None:
    """As it is, hash signs, quotes and other scripts included."""
    plan = a_plan(timeline=True, tie_breaker="item")
    assert put_of(plan, {"item": 'a#"é'}).sort_key == f'{NOW_S}#a#"é'


@pytest.mark.parametrize("mode", ["merge", "replace", "force"])
@pytest.mark.parametrize("features", [{}, {"item": "a"}, {"count": None}])
def test_each_write_needs_the_tie_breaker(features: dict[str, Any], mode: str) -> None:
    """Without it the write would have no key; null is no key either."""
    problem = refusal_of(TIED, features, mode=mode)
    assert (problem.path, problem.reason) == ("writes[3].features.count", "TieBreakerRequired")


def test_a_tie_breaker_cannot_be_unset() -> None:
    """It is given, as it must be, and therefore in conflict."""
    assert refusal_of(TIED, {"count": 1}, unset=("count",), mode="merge").reason == "ConflictingFeature"
    assert refusal_of(TIED, {}, unset=("count",), mode="merge").reason == "TieBreakerRequired"


def test_a_long_tie_breaker_is_refused() -> None:
    """A key has room for 512 bytes of it."""
    plan = a_plan(timeline=True, tie_breaker="item")
    problem = refusal_of(plan, {"item": "é" * 257})
    assert (problem.path, problem.reason) == ("writes[3].features.item", "TieBreakerTooLong")


def test_unset_takes_features_away_in_a_merge() -> None:
    """Alone or beside features to write; a name given twice counts once."""
    assert put_of(CLICKS, {}, unset=("count", "count")).unset == {1}
    assert put_of(CLICKS, {"item": "a"}, unset=("count",)).unset == {1}
    assert put_of(TIMELINE, {"item": "a"}, unset=("count",), mode="merge").unset == {1}
    assert put_of(CLICKS, {"item": "a"}, unset=("count",), mode="force").unset == {1}


@pytest.mark.parametrize(
    ("plan", "fields", "reason", "path"),
    [
        (CLICKS, {"unset": ("item", "price")}, "ConflictingFeature", "unset[0]"),
        (CLICKS, {"unset": ("price",)}, "UnknownFeature", "unset[0]"),
        (CLICKS, {"features": {}, "unset": ("item",), "mode": "replace"}, "UnexpectedUnset", "unset"),
        (TIMELINE, {"features": {}, "unset": ("item",)}, "UnexpectedUnset", "unset"),
        (TIMELINE, {"features": {}, "unset": ("item",), "mode": "force"}, "UnexpectedUnset", "unset"),
    ],
)
def test_an_unset_that_makes_no_sense_is_refused(
    plan: GroupPlan, fields: dict[str, Any], reason: str, path: str
) -> None:
    """Where everything unnamed goes anyway, the caller probably meant a merge."""
    problem = refusal_of(plan, **fields)
    assert (problem.path, problem.reason) == (f"writes[3].{path}", reason)


def test_replacing_with_nothing_is_legal_and_merging_nothing_is_not() -> None:
    """An empty record exists; an empty change is a mistake."""
    assert put_of(CLICKS, {}, mode="replace").values == {}
    assert put_of(TIMELINE, {}).values == {}
    problem = refusal_of(CLICKS, {})
    assert (problem.path, problem.reason) == ("writes[3].features", "NothingToWrite")


@pytest.mark.parametrize(
    ("basis", "timestamp", "expires_at"),
    [
        ("WriteTime", NOW_S - 3000, NOW_S + 1 + 3600),
        ("EventTime", NOW_S - 3000, NOW_S + 600),
        ("EventTime", NOW_S + 3000, NOW_S + 6600),
    ],
)
def test_retention_ends_a_row_by_its_basis(basis: Any, timestamp: int, expires_at: int) -> None:
    """Counted from the write, rounded up to whole seconds, or from the event."""
    plan = a_plan(timeline=True, retention=3600, retention_basis=basis)
    assert put_of(plan, timestamp=timestamp).expires_at == expires_at


def test_a_record_without_event_time_counts_from_the_write() -> None:
    """Also where retention goes by event time."""
    plan = a_plan(retention=60, retention_basis="EventTime")
    assert put_of(plan).expires_at == NOW_S + 61
    assert put_of(plan, event_time=NOW_US - 1_250_000).expires_at == NOW_S + 59


def test_what_would_already_be_expired_is_not_sent() -> None:
    """The outcome says so and echoes the event time; one second younger is a put."""
    plan = a_plan(timeline=True, retention=3600, retention_basis="EventTime")
    outcome = intake(plan, a_write(plan, timestamp=NOW_S - 3600), NOW_US)
    assert isinstance(outcome, PutOutcome)
    assert (outcome.verdict, outcome.event_time_us) == ("ignored_expired", (NOW_S - 3600) * 1_000_000)
    assert put_of(plan, timestamp=NOW_S - 3599).expires_at == NOW_S + 1


def test_bad_input_is_refused_before_it_is_found_expired() -> None:
    """An expired write with a wrong value is still a wrong write."""
    plan = a_plan(timeline=True, retention=3600, retention_basis="EventTime")
    assert refusal_of(plan, {"count": "x"}, timestamp=1).reason == "WrongType"


@pytest.mark.parametrize(
    ("plan", "fields", "reason", "path"),
    [
        (CLICKS, {"id": ""}, "InvalidId", "id"),
        (CLICKS, {"id": "é" * 129}, "IdTooLong", "id"),
        (CLICKS, {"timestamp": 5}, "UnexpectedTimestamp", "timestamp"),
        (CLICKS, {"event_time": "yesterday"}, "InvalidTimestamp", "event_time"),
        (CLICKS, {"event_time": -1}, "InvalidTimestamp", "event_time"),
        (CLICKS, {"event_time": LATEST_US + 1}, "InvalidTimestamp", "event_time"),
        (TIMELINE, {"timestamp": None}, "TimestampRequired", "timestamp"),
        (TIMELINE, {"timestamp": -1}, "TimestampOutOfRange", "timestamp"),
        (TIMELINE, {"timestamp": NOW_US}, "TimestampOutOfRange", "timestamp"),
        (TIMELINE, {"timestamp": "2023-11-14T22:13:20.5Z"}, "InvalidTimestamp", "timestamp"),
        (TIMELINE, {"timestamp": "-7d"}, "InvalidTimestamp", "timestamp"),
        (a_plan(timeline=True, width=14), {"timestamp": NOW_S * 1000}, "TimestampOutOfRange", "timestamp"),
        (CLICKS, {"features": {"price": 1}}, "UnknownFeature", "features.price"),
        (CLICKS, {"features": {"a b": 1}}, "UnknownFeature", 'features["a b"]'),
        (CLICKS, {"features": {"count": 1.0}}, "WrongType", "features.count"),
        (CLICKS, {"features": {"count": 1 << 63}}, "Int64OutOfRange", "features.count"),
        (CLICKS, {"features": {"count": float("nan")}}, "NotFinite", "features.count"),
        (CLICKS, {"features": {"item": "\ud800"}}, "LoneSurrogate", "features.item"),
        (CLICKS, {"features": {"item": "x" * 8193}}, "ValueTooLarge", "features.item"),
        (
            a_plan(features={"tags": "List<String>"}),
            {"features": {"tags": ["a", "b", "c", 4]}},
            "WrongType",
            "features.tags[3]",
        ),
    ],
)
def test_bad_input_is_refused_by_field(
    plan: GroupPlan, fields: dict[str, Any], reason: str, path: str
) -> None:
    """One problem: where, which kind, and a sentence."""
    problem = refusal_of(plan, **fields)
    assert (problem.path, problem.reason) == (f"writes[3].{path}", reason)
    assert problem.message


def test_a_slip_in_a_name_is_answered_with_the_nearest() -> None:
    """Or with all there are."""
    assert "did you mean `count`?" in refusal_of(CLICKS, {"coutn": 1}).message
    assert "it has item, count" in refusal_of(CLICKS, {"zzz": 1}).message


def test_removed_features_are_neither_written_nor_unset() -> None:
    """They are told from names that never were; deprecated ones still take writes."""
    plan = a_plan(
        features={
            "old": {"type": "String", "state": "Removed"},
            "aging": {"type": "String", "state": "Deprecated"},
        }
    )
    assert refusal_of(plan, {"old": "a"}).reason == "FeatureRemoved"
    assert refusal_of(plan, {"aging": "a"}, unset=("old",)).reason == "FeatureRemoved"
    assert put_of(plan, {"aging": "a"}).values == {1: b'"a"'}


def test_groups_that_may_not_be_written_are_refused_first() -> None:
    """Read access, and groups computed on demand, whatever else is wrong with the write."""
    problem = refusal_of(a_plan(access="Read"), {"zzz": 1}, id="")
    assert (problem.path, problem.reason) == ("writes[3].group", "AccessDenied")
    problem = refusal_of(a_plan(storage_mode="None"))
    assert (problem.path, problem.reason) == ("writes[3].group", "NotWritable")


def test_an_item_holds_400_kilobytes_and_not_one_byte_more() -> None:
    """Keys, names, stamps and values counted as DynamoDB counts them."""
    plan = a_plan(features={f"f{i}": {"type": "String", "max_bytes": 393_216} for i in range(2)})
    overhead = sum(
        [
            len("pk") + len("clicks#1234") + len("sk") + len("null"),
            len("v") + 3 + 2 * (1 + 1),
            len("w") + 9 + len("r") + 9,
            len("wx") + 3,
        ]
    )
    room = 409_600 - overhead - 300_000
    full = {"f0": "x" * 300_000, "f1": "y" * room}
    assert put_of(plan, full, mode="replace").values
    problem = refusal_of(plan, {**full, "f1": "y" * (room + 1)}, mode="replace")
    assert (problem.path, problem.reason) == ("writes[3].features", "ItemTooLarge")
    assert "409601 bytes" in problem.message
    assert refusal_of(plan, full, mode="merge").reason == "ItemTooLarge"


def test_a_tombstone_is_a_full_write_of_nothing() -> None:
    """It outlives the group's tombstone time and comes after everything stored."""
    put = tombstone_put(a_plan(tombstone_seconds=600), "1234", NOW_US)
    assert (put.mode, put.values, put.tombstone, put.sort_key) == ("replace", {}, True, "null")
    assert (put.event_time_us, put.expires_at) == (None, NOW_S + 601)


def test_a_tombstone_can_lie_on_one_timeline_record() -> None:
    """At an event time of the caller's."""
    put = tombstone_put(TIMELINE, "1", NOW_US, sort_key="1700000000", event_time_us=5)
    assert (put.sort_key, put.event_time_us) == ("1700000000", 5)


def test_deletes_are_refused_like_writes() -> None:
    """No access, no group on demand, no empty id."""
    for plan, row_id, reason in [
        (a_plan(access="Read"), "1", "AccessDenied"),
        (a_plan(storage_mode="None"), "1", "NotWritable"),
        (CLICKS, "", "InvalidId"),
    ]:
        with pytest.raises(RequestRefused) as refused:
            tombstone_put(plan, row_id, NOW_US)
        assert refused.value.reason == reason


def test_an_address_names_one_record_or_an_instant() -> None:
    """Timestamp and tie-breaker from a query string make the key that the write made."""
    assert record_sort_key(TIMELINE, "1700000000") == "1700000000"
    assert record_sort_key(TIMELINE, "2023-11-14T22:13:20Z") == "1700000000"
    assert record_sort_key(TIED, "1700000000", "-7") == put_of(TIED, {"count": -7}).sort_key
    text = a_plan(timeline=True, tie_breaker="item")
    assert record_sort_key(text, NOW_S, "-7") == put_of(text, {"item": "-7"}).sort_key
    assert keys.parse_sort_key(record_sort_key(TIED, NOW_S), 10) == (NOW_S, None)


@pytest.mark.parametrize(
    ("plan", "timestamp", "tie", "reason", "path"),
    [
        (TIMELINE, "soon", None, "InvalidTimestamp", "timestamp"),
        (TIMELINE, 10**10, None, "TimestampOutOfRange", "timestamp"),
        (TIMELINE, 5, "a", "UnexpectedTieBreaker", "tie_breaker"),
        (TIED, 5, "a", "WrongType", "tie_breaker"),
        (TIED, 5, "null", "WrongType", "tie_breaker"),
        (TIED, 5, str(1 << 63), "Int64OutOfRange", "tie_breaker"),
        (a_plan(timeline=True, tie_breaker="item"), 5, "x" * 513, "TieBreakerTooLong", "tie_breaker"),
    ],
)
def test_an_address_that_names_nothing_is_refused(
    plan: GroupPlan, timestamp: int | str, tie: str | None, reason: str, path: str
) -> None:
    """By the name of the query parameter."""
    with pytest.raises(RequestRefused) as refused:
        record_sort_key(plan, timestamp, tie)
    (problem,) = refused.value.problems
    assert (problem.path, problem.reason) == (path, reason)
