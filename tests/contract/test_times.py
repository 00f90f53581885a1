"""Times as people write them: what each spelling means in a group's unit, and what refuses the others."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier import times
from pannier.errors import ValueRefused

NOW_US = 1_700_000_000_500_000
SECOND, MILLI, MICRO = 1_000_000, 1_000, 1


@pytest.mark.parametrize(
    ("text", "epoch_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2001-04-19T04:25:21Z", 987_654_321_000_000),
        ("2001-04-19T06:25:21+02:00", 987_654_321_000_000),
        ("2001-04-18T23:55:21-04:30", 987_654_321_000_000),
        ("2001-04-19t04:25:21z", 987_654_321_000_000),
        ("2001-04-19 04:25:21Z", 987_654_321_000_000),
        ("2001-04-19T04:25:21.5Z", 987_654_321_500_000),
        ("2001-04-19T04:25:21.000001000Z", 987_654_321_000_001),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", times.EARLIEST_US),
        ("9999-12-31T23:59:59.999999Z", times.LATEST_US),
    ],
)
def test_rfc3339_is_read(text: str, epoch_us: int) -> None:
    """With any offset, with a fraction, in either case."""
    assert times.parse_rfc3339(text) == (epoch_us, True)


def test_a_fraction_below_a_microsecond_is_told() -> None:
    """The value is rounded down, also before 1970, and marked inexact."""
    assert times.parse_rfc3339("1970-01-01T00:00:00.0000019Z") == (1, False)
    assert times.parse_rfc3339("1969-12-31T23:59:59.9999999Z") == (-1, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2001-04-19",
        "2001-04-19T04:25:21",
        "2001-04-19T04:25Z",
        "20010419T042521Z",
        "2001-02-30T04:25:21Z",
        "2001-04-19T24:00:00Z",
        "2001-04-19T04:25:60Z",
        "2001-04-19T04:25:21+2:00",
        "2001-04-19T04:25:21+25:00",
        "2001-04-19T04:25:21.Z",
        "٢٠٠١-04-19T04:25:21Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "yesterday",
        "\ud800",
    ],
)
def test_what_is_no_rfc3339_time_is_refused(text: str) -> None:
    """A time without offset means another instant on every machine, so it is none here."""
    with pytest.raises(ValueRefused) as refused:
        times.parse_rfc3339(text, "features.seen")
    assert (refused.value.reason, refused.value.path) == ("InvalidTimestamp", "features.seen")
    assert refused.value.message.isascii()


@settings(deadline=None)
@given(st.integers(times.EARLIEST_US, times.LATEST_US))
def test_formatted_times_are_read_back(epoch_us: int) -> None:
    """Over the whole range of years."""
    text = times.format_rfc3339(epoch_us)
    assert times.parse_rfc3339(text) == (epoch_us, True)
    assert len(text) == len("2013-01-01T05:00:00.000000Z")


@settings(deadline=None)
@given(st.datetimes(timezones=st.timezones()))
def test_any_spelling_of_an_instant_is_that_instant(moment: dt.datetime) -> None:
    """Python's own ISO format, offsets with seconds aside, says the same time."""
    offset = moment.utcoffset()
    assert offset is not None
    if offset % dt.timedelta(minutes=1) or not 2 < moment.year < 9998:
        return
    us = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert times.parse_rfc3339(moment.isoformat()) == (us, True)


@pytest.mark.parametrize(
    ("value", "unit_us", "since", "until"),
    [
        (987_000_000, SECOND, 987_000_000, 987_000_000),
        ("987000000", SECOND, 987_000_000, 987_000_000),
        ("2001-04-19T04:25:21Z", SECOND, 987_654_321, 987_654_321),
        ("2001-04-19T04:25:21.2Z", SECOND, 987_654_322, 987_654_321),
        ("2001-04-19T04:25:21.2Z", MILLI, 987_654_321_200, 987_654_321_200),
        ("1970-01-01T00:00:00.0000001Z", MICRO, 1, 0),
        ("now", SECOND, 1_700_000_001, 1_700_000_000),
        ("now", MICRO, NOW_US, NOW_US),
        ("-90s", MILLI, 1_699_999_910_500, 1_699_999_910_500),
        ("-2m", MICRO, NOW_US - 120_000_000, NOW_US - 120_000_000),
        ("-12h", MICRO, NOW_US - 43_200_000_000, NOW_US - 43_200_000_000),
        ("-7d", SECOND, 1_699_395_201, 1_699_395_200),
        ("-1w", SECOND, 1_699_395_201, 1_699_395_200),
        ("+1h", MICRO, NOW_US + 3_600_000_000, NOW_US + 3_600_000_000),
    ],
)
def test_bounds_of_a_read_round_inwards(value: int | str, unit_us: int, since: int, until: int) -> None:
    """``since`` rounds up and ``until`` down, so that a range never takes in what lies outside of it."""
    assert times.bound_in_unit(value, unit_us=unit_us, now_us=NOW_US, round_up=True) == since
    assert times.bound_in_unit(value, unit_us=unit_us, now_us=NOW_US, round_up=False) == until


@pytest.mark.parametrize("value", ["7d", "-7", "-7 d", "-7y", "--7d", "1.5", "NOW", "", "1e9", "-d"])
def test_bounds_in_no_known_form_are_refused_with_the_forms_that_are(value: str) -> None:
    """The message names the group's unit, RFC 3339 and the relative form."""
    with pytest.raises(ValueRefused, match=r"RFC 3339.*integer in milliseconds.*-7d") as refused:
        times.bound_in_unit(value, unit_us=MILLI, now_us=NOW_US, round_up=True, path="reads[0].since")
    assert refused.value.path == "reads[0].since"


@pytest.mark.parametrize("value", [True, 1.5, None, []])
def test_values_of_other_types_are_refused(value: object) -> None:
    """A bool is no integer."""
    with pytest.raises(ValueRefused, match="wants an integer in seconds"):
        times.bound_in_unit(value, unit_us=SECOND, now_us=NOW_US, round_up=True)  # type: ignore[arg-type]


def test_the_timestamp_of_a_write_must_fit_its_unit_exactly() -> None:
    """A write never loses a part of its timestamp without a word."""
    assert times.exact_in_unit("2001-04-19T04:25:21.000Z", unit_us=SECOND) == 987_654_321
    assert times.exact_in_unit(5, unit_us=SECOND) == 5
    for value, unit_us in [("2001-04-19T04:25:21.2Z", SECOND), ("2001-04-19T04:25:21.0000001Z", MICRO)]:
        with pytest.raises(ValueRefused, match="finer than this group's unit"):
            times.exact_in_unit(value, unit_us=unit_us, path="writes[0].timestamp")


def test_event_times_are_microseconds_or_rfc3339() -> None:
    """Both spellings say the same instant; before 1970 and after 9999 nothing is stored."""
    assert times.event_time_us("2001-04-19T04:25:21Z") == times.event_time_us(987_654_321_000_000)
    for value in (-1, "1969-12-31T23:59:59Z", times.LATEST_US + 1, 10**30):
        with pytest.raises(ValueRefused, match="1970 to 9999"):
            times.event_time_us(value, "writes[0].event_time")
