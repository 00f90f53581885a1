"""Keys: what sorts where, what is refused, and that building and parsing undo each other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier import keys
from pannier.errors import KeyRefused

WIDTH = 5
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.integers(0, 10**WIDTH - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("#$~!0}{é😀\x00", max_size=4)
IDS = TEXT.filter(bool)


def stored_bytes_of(sort_key: str) -> bytes:
    """How every store compares: by bytes."""
    return sort_key.encode()


@settings(deadline=None)
@given(TIMES, INT64, TIMES, INT64)
def test_sort_keys_with_numbers_sort_like_time_then_tie_breaker(t1: int, n1: int, t2: int, n2: int) -> None:
    """Negative and long tie-breakers included: 10 comes after 9, -1 before 0."""
    one = keys.sort_key(keys.timestamp_digits(t1, WIDTH), keys.tie_breaker_text(n1))
    two = keys.sort_key(keys.timestamp_digits(t2, WIDTH), keys.tie_breaker_text(n2))
    assert (stored_bytes_of(one) < stored_bytes_of(two)) == ((t1, n1) < (t2, n2))


@settings(deadline=None)
@given(TIMES, TEXT, TIMES, TEXT)
def test_sort_keys_with_text_sort_like_time_then_bytes(t1: int, s1: str, t2: int, s2: str) -> None:
    """Text ties sort by their UTF-8 bytes, which is also how Python compares the strings."""
    one = keys.sort_key(keys.timestamp_digits(t1, WIDTH), keys.tie_breaker_text(s1))
    two = keys.sort_key(keys.timestamp_digits(t2, WIDTH), keys.tie_breaker_text(s2))
    assert (stored_bytes_of(one) < stored_bytes_of(two)) == ((t1, s1.encode()) < (t2, s2.encode()))
    assert (one < two) == (stored_bytes_of(one) < stored_bytes_of(two))


@settings(deadline=None)
@given(
    TIMES,
    st.none() | TEXT,
    st.none() | st.integers(-20, 10**WIDTH + 20) | st.just(10**12),
    st.none() | st.integers(-20, 10**WIDTH + 20) | st.just(10**12),
)
def test_a_range_holds_exactly_the_times_between_its_ends(
    time: int, tie: str | None, since: int | None, until: int | None
) -> None:
    """Both ends are inclusive, ties and all; ends that the width cannot hold are clamped."""
    low, high = keys.sort_key_range(since, until, WIDTH)
    stored = stored_bytes_of(keys.sort_key(keys.timestamp_digits(time, WIDTH), tie))
    inside = (since is None or time >= since) and (until is None or time <= until)
    assert (low.encode() <= stored <= high.encode()) == inside
    assert low <= high  # else a store refuses the range itself


def test_a_range_to_the_last_time_there_can_be_is_an_open_one() -> None:
    """Whoever names the ends that the width sets anyway asks for everything, and gets the fence with it."""
    everything = keys.sort_key_range(None, None, WIDTH)
    assert keys.sort_key_range(0, 10**WIDTH - 1, WIDTH) == everything
    assert keys.sort_key_range(None, 10**WIDTH - 2, WIDTH) == (keys.LOWEST_SORT_KEY, "99998$")
    assert keys.sort_key_range(1, None, WIDTH) == ("00001", keys.HIGHEST_SORT_KEY)


@pytest.mark.parametrize(("since", "until"), [(10**WIDTH, None), (None, -1), (7, 6)])
def test_a_range_without_any_storable_time_is_the_empty_one(since: int | None, until: int | None) -> None:
    """Past the last one, before the first one, or the wrong way round."""
    assert keys.sort_key_range(since, until, WIDTH) == keys.EMPTY_RANGE


def test_an_open_range_takes_the_fence_along() -> None:
    """A load of the newest records gets the fence for nothing."""
    low, high = keys.sort_key_range(None, None, WIDTH)
    assert low <= keys.FENCE_SORT_KEY <= high


def test_the_fence_sorts_above_every_record() -> None:
    """Also above the last timestamp with any tie-breaker."""
    last = keys.sort_key("99999", "\U0010ffff")
    assert last.encode() < keys.FENCE_SORT_KEY.encode()


def test_an_empty_range_holds_no_record_and_no_fence() -> None:
    """Its bounds are in order, so that DynamoDB takes them in a BETWEEN."""
    low, high = keys.EMPTY_RANGE
    assert low <= high < keys.LOWEST_SORT_KEY < keys.FENCE_SORT_KEY


@settings(deadline=None)
@given(TIMES, st.none() | TEXT)
def test_a_sort_key_is_parsed_back(time: int, tie: str | None) -> None:
    """Whatever the tie-breaker holds, hash signs and digits included."""
    stored = keys.sort_key(keys.timestamp_digits(time, WIDTH), tie)
    assert keys.parse_sort_key(stored, WIDTH) == (time, tie)


@pytest.mark.parametrize("stored", ["null", "~", "1234", "123456", "12345x", "²2345", "", "-1234"])
def test_what_is_no_sort_key_of_the_group_is_refused(stored: str) -> None:
    """Rows of other writers with another key are told apart, not misread."""
    with pytest.raises(KeyRefused, match="is not 5 digits"):
        keys.parse_sort_key(stored, WIDTH)


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True), IDS)
def test_a_partition_key_is_parsed_back(group: str, row_id: str) -> None:
    """An id may hold hash signs: the first one is the separator."""
    assert keys.parse_partition_key(keys.partition_key(group, row_id)) == (group, row_id)


def test_a_partition_key_without_separator_is_refused() -> None:
    """A shared table may hold rows that are not Pannier's."""
    with pytest.raises(KeyRefused, match="no '#'"):
        keys.parse_partition_key("settings")


@settings(deadline=None)
@given(IDS, IDS)
def test_cache_keys_of_two_ids_never_meet(one: str, two: str) -> None:
    """Braces in an id cannot make it look like another."""
    prefix = keys.cache_key_prefix("shop", "clicks")
    assert (keys.cache_key(prefix, one) == keys.cache_key(prefix, two)) == (one == two)


@settings(deadline=None)
@given(IDS, IDS)
def test_leases_of_two_ids_never_meet_nor_any_ids_own_key(one: str, two: str) -> None:
    """No id, whatever it holds, can be mistaken for the lease on loading another."""
    prefix = keys.cache_key_prefix("shop", "clicks")
    assert (keys.lease_key(prefix, one) == keys.lease_key(prefix, two)) == (one == two)
    assert keys.lease_key(prefix, one) != keys.cache_key(prefix, two)


def test_cache_keys_of_two_namespaces_never_meet() -> None:
    """A namespace holds neither slash nor colon, so no group name of one can look like another's."""
    assert keys.cache_key_prefix("a-b", "c") != keys.cache_key_prefix("a", "b-c")


@pytest.mark.parametrize("row_id", ["1234", "a#b", "#", "{}", "é", "😀", "a b", "\n", "\x00", "x" * 16])
def test_ids_are_taken_as_they_are(row_id: str) -> None:
    """Nothing is normalised, trimmed or escaped."""
    assert keys.check_id(row_id, 16) == row_id


@pytest.mark.parametrize(
    ("row_id", "reason", "message"),
    [
        ("", "InvalidId", "empty"),
        ("x" * 17, "IdTooLong", "17 bytes long; this group takes at most 16"),
        ("é" * 9, "IdTooLong", "18 bytes"),
        ("\ud800", "InvalidId", "lone surrogate"),
    ],
)
def test_ids_that_cannot_be_keys_are_refused(row_id: str, reason: str, message: str) -> None:
    """Size counts in bytes of UTF-8; the message says what the limit is."""
    with pytest.raises(KeyRefused, match=message) as refused:
        keys.check_id(row_id, 16, "reads[0].ids[2]")
    assert (refused.value.reason, refused.value.path) == (reason, "reads[0].ids[2]")


@pytest.mark.parametrize("timestamp", [-1, 10**WIDTH, 10**30])
def test_timestamps_that_do_not_fit_the_width_are_refused(timestamp: int) -> None:
    """One digit too many would break the order of all keys."""
    with pytest.raises(KeyRefused) as refused:
        keys.timestamp_digits(timestamp, WIDTH)
    assert refused.value.reason == "TimestampOutOfRange"


@pytest.mark.parametrize(("timestamp", "digits"), [(0, "00000"), (42, "00042"), (10**WIDTH - 1, "99999")])
def test_timestamps_are_padded_to_the_width(timestamp: int, digits: str) -> None:
    """From 1970 to the last that fits."""
    assert keys.timestamp_digits(timestamp, WIDTH) == digits


@pytest.mark.parametrize(
    ("unit", "ticks"), [("Seconds", 1), ("Milliseconds", 1_000), ("Microseconds", 1_000_000)]
)
def test_each_unit_has_room_until_the_year_2286(unit: str, ticks: int) -> None:
    """A second has so many ticks of it, and the default width is exactly what the last second needs."""
    assert keys.UNIT_MICROSECONDS[unit] * ticks == 1_000_000
    last = 10_000_000_000 * ticks - 1  # 2286-11-20T17:46:39Z and what follows of that second
    assert keys.timestamp_digits(last, keys.DEFAULT_WIDTH[unit]) == str(last)
    with pytest.raises(KeyRefused):
        keys.timestamp_digits(last + 1, keys.DEFAULT_WIDTH[unit])


@pytest.mark.parametrize(
    ("tie", "text"),
    [
        (-(1 << 63), "0" * 20),
        (0, "09223372036854775808"),
        ((1 << 63) - 1, "18446744073709551615"),
        ("", ""),
        ("x" * 512, "x" * 512),
    ],
)
def test_tie_breakers_become_text(tie: int | str, text: str) -> None:
    """Numbers as 20 digits offset by 2^63, text as it is, also empty; the last that fits included."""
    assert keys.tie_breaker_text(tie) == text


@pytest.mark.parametrize(
    ("tie", "reason"),
    [
        (1 << 63, "Int64OutOfRange"),
        (-(1 << 63) - 1, "Int64OutOfRange"),
        ("x" * 513, "TieBreakerTooLong"),
        ("é" * 257, "TieBreakerTooLong"),
        ("\udc00", "InvalidTieBreaker"),
    ],
)
def test_tie_breakers_that_cannot_be_keys_are_refused(tie: int | str, reason: str) -> None:
    """512 bytes leave room in DynamoDB's 1,024 for the digits."""
    with pytest.raises(KeyRefused) as refused:
        keys.tie_breaker_text(tie)
    assert refused.value.reason == reason


def test_table_names_stay_within_what_dynamodb_takes() -> None:
    """A long name keeps its beginning and ends in a hash, so that two long ones stay apart."""
    assert keys.default_table_name("pn", "shop", "clicks") == "pn.shop.clicks"
    long = [keys.default_table_name("pn", "shop", "c" * 250 + tail) for tail in "ab"]
    assert {len(name) for name in long} == {255}
    assert len(set(long)) == 2
    assert all(name.startswith("pn.shop.ccc") for name in long)


def test_a_table_is_found_again_under_the_name_it_was_made_with() -> None:
    """Names up to what DynamoDB takes are whole; a longer one is cut at the same place by every release."""
    whole = keys.default_table_name("pn", "shop", "c" * 247)
    assert whole == "pn.shop." + "c" * 247
    assert keys.default_table_name("pn", "shop", "c" * 248) == f"pn.shop.{'c' * 230}.8f92cfa2dd191179"
