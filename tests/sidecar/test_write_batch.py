"""A batch of writes: every row for itself, in order; only what is no batch is refused whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.builders import a_catalog, a_group

from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_batch import take_in
from pannier_sidecar.api.write_requests import RowBody, row_decoder
from pannier_sidecar.api.write_times import unit_hint
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.row import Put
from pannier_sidecar.write_path import WriteResult

NOW_US = 1_700_000_000_000_000
PLAN = ReadPlan(
    a_catalog(
        a_group(),
        a_group("visits", timeline=True, retention=3600, retention_basis="EventTime"),
        a_group("visits_ms", timeline=True, unit="Milliseconds", retention=3600, retention_basis="EventTime"),
    )
)
SOUND = {"group": "clicks", "id": "1", "features": {"item": "a"}}


def taken(*writes: Any) -> list[Put | WriteResult]:
    return take_in(PLAN, json.dumps({"writes": writes}).encode(), NOW_US)


@pytest.mark.parametrize(
    ("write", "reason", "path"),
    [
        ({**SOUND, "id": 5}, "WrongType", "writes[1].id"),
        ({**SOUND, "id": ""}, "InvalidId", "writes[1].id"),
        ({**SOUND, "group": "click"}, "UnknownGroup", "writes[1].group"),
        ({**SOUND, "features": None}, "WrongType", "writes[1].features"),
        ({**SOUND, "feature": {}}, "UnknownField", "writes[1].feature"),
        ({"group": "clicks", "id": "1"}, "MissingField", "writes[1].features"),
        ({**SOUND, "mode": "upsert"}, "InvalidValue", "writes[1].mode"),
        ({**SOUND, "event_time": 1.5}, "WrongType", "writes[1].event_time"),
        ({**SOUND, "unset": "item"}, "WrongType", "writes[1].unset"),
        ({**SOUND, "features": {"count": "x"}}, "WrongType", "writes[1].features.count"),
        ("clicks", "WrongType", "writes[1]"),
        (None, "WrongType", "writes[1]"),
    ],
)
def test_one_bad_write_does_not_refuse_its_neighbours(write: Any, reason: str, path: str) -> None:
    """It is `invalid` in its place, with field and cause; the others are puts."""
    before, bad, after = taken(SOUND, write, SOUND)
    assert isinstance(before, Put)
    assert isinstance(after, Put)
    assert isinstance(bad, WriteResult)
    assert (bad.verdict, bad.reason, bad.path) == ("invalid", reason, path)


@pytest.mark.parametrize(
    ("unit", "ticks", "hint"),
    [
        ("Milliseconds", 1_700_000_000, "1970-01-20 in Milliseconds; did you send Seconds?"),
        ("Microseconds", 1_700_000_000, "1970-01-01 in Microseconds; did you send Seconds?"),
        ("Microseconds", 1_700_000_000_000, "1970-01-20 in Microseconds; did you send Milliseconds?"),
        ("Milliseconds", 1_700_000_000_000, ""),
        ("Seconds", 987_654_321, ""),
        ("Seconds", 5_000_000_000, ""),
        ("Seconds", 0, ""),
        ("Milliseconds", 86_400, ""),
    ],
)
def test_a_likely_slip_of_units_is_asked_about(unit: Any, ticks: int, hint: str) -> None:
    """Only where the group's unit makes an unlikely time and another a likely one."""
    plan = GroupPlan(a_group(timeline=True, unit=unit))
    assert unit_hint(plan, ticks) == hint


def test_an_expired_write_in_another_unit_asks_about_it() -> None:
    """A record that retention refuses because of its unit says so; one that is merely old does not."""
    (slip,) = taken({"group": "visits_ms", "id": "1", "timestamp": 1_700_000_000, "features": {"item": "a"}})
    (old,) = taken({"group": "visits", "id": "1", "timestamp": 1_600_000_000, "features": {"item": "a"}})
    assert isinstance(slip, WriteResult)
    assert isinstance(old, WriteResult)
    assert slip.verdict == old.verdict == "ignored_expired"
    assert slip.message.endswith("; 1970-01-20 in Milliseconds; did you send Seconds?")
    assert "did you" not in old.message


def test_an_invalid_write_is_answered_under_its_address() -> None:
    """As far as it has one."""
    full, partly, none = taken({**SOUND, "features": {"zzz": 1}}, {**SOUND, "id": 5}, 7)
    assert isinstance(full, WriteResult)
    assert isinstance(partly, WriteResult)
    assert isinstance(none, WriteResult)
    assert (full.group, full.id) == ("clicks", "1")
    assert (partly.group, partly.id) == ("clicks", "")
    assert (none.group, none.id) == ("", "")


@pytest.mark.parametrize("number", ["1e400", "9" * 10_000, "-" + "9" * 10_000])
def test_a_number_that_nothing_holds_spoils_neither_address_nor_neighbours(number: str) -> None:
    """The answer still says whose write it was."""
    bad = json.dumps({**SOUND, "id": "7", "features": {"count": "?"}}).replace('"?"', number)
    body = f'{{"writes": [{json.dumps(SOUND)}, {bad}, {json.dumps(SOUND)}]}}'.encode()
    before, refused, after = take_in(PLAN, body, NOW_US)
    assert isinstance(before, Put)
    assert isinstance(after, Put)
    assert isinstance(refused, WriteResult)
    assert (refused.group, refused.id, refused.verdict) == ("clicks", "7", "invalid")
    assert refused.path == "writes[1].features.count"


def test_numbers_as_ids_are_explained() -> None:
    """The commonest slip of all."""
    (bad,) = taken({**SOUND, "id": 1234})
    assert isinstance(bad, WriteResult)
    assert "ids are strings" in bad.message


def test_an_expired_write_is_answered_without_a_store() -> None:
    """With its timestamp in the group's unit and its event time."""
    (old,) = taken({"group": "visits", "id": "1", "timestamp": 987654321, "features": {"item": "a"}})
    assert isinstance(old, WriteResult)
    assert (old.verdict, old.timestamp) == ("ignored_expired", 987654321)
    assert old.event_time == "2001-04-19T04:25:21.000000Z"


def test_writes_of_one_row_stay_in_order() -> None:
    """Both are taken; what the second does to the first is for the store to decide."""
    puts = taken(SOUND, {**SOUND, "features": {"item": "b"}})
    assert [put.values for put in puts if isinstance(put, Put)] == [{0: b'"a"'}, {0: b'"b"'}]


def test_an_empty_batch_is_a_batch() -> None:
    """Programs send what they have."""
    assert taken() == []


def test_a_batch_holds_500_writes() -> None:
    """One more is refused whole, before any is looked at."""
    assert len(taken(*[SOUND] * 500)) == 500
    with pytest.raises(RequestRefused, match="501 writes in one request; at most 500") as refused:
        taken(*[SOUND] * 501)
    assert refused.value.reason == "TooManyWrites"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "MalformedJson"),
        (b'{"writes": [{"group": "clicks"', "MalformedJson"),
        (b"\xff", "MalformedJson"),
        (b'{"writes": [' + b"[" * 100_000, "MalformedJson"),
        (b'{"writes": {}}', "WrongType"),
        (b'{"rows": []}', "UnknownField"),
        (b"{}", "MissingField"),
        (b"[]", "WrongType"),
    ],
)
def test_what_is_no_batch_is_refused_whole(body: bytes, reason: str) -> None:
    """Truncated, nested without end, of another shape."""
    with pytest.raises(RequestRefused) as refused:
        take_in(PLAN, body, NOW_US)
    assert refused.value.reason == reason


def test_text_that_is_not_utf8_spoils_only_its_row() -> None:
    """Features and ids are looked at row by row."""
    body = b'{"writes": [%s, {"group": "clicks", "id": "\xff", "features": {}}, %s]}' % (
        json.dumps(SOUND).encode(),
        b'{"group": "clicks", "id": "1", "features": {"item": "\xff"}}',
    )
    first, second, third = take_in(PLAN, body, NOW_US)
    assert isinstance(first, Put)
    assert isinstance(second, WriteResult)
    assert second.verdict == "invalid"
    assert isinstance(third, WriteResult)
    assert third.path == "writes[2].features.item"


def test_a_body_without_address_gets_it_from_the_path() -> None:
    """What PUT sends is a write once group and id are known."""
    body = row_decoder.decode(b'{"features": {"item": "a"}, "event_time": 5, "unset": ["count"]}')
    assert isinstance(body, RowBody)
    item = body.at("clicks", "1")
    assert (item.group, item.id, item.event_time, item.unset) == ("clicks", "1", 5, ("count",))
    assert bytes(item.features["item"]) == b'"a"'
