"""The bytes of cached entries in Redis: `pannier_sidecar.entry.envelope`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_policy

from pannier.keys import CACHE_FORMAT
from pannier_sidecar.entry.envelope import (
    META_FIELD,
    EnvelopeUnreadable,
    decode_record,
    decode_timeline,
    encode_coverage,
    encode_record,
    encode_registers,
)
from pannier_sidecar.entry.lifetime import GUARD_SECONDS, kept_seconds
from pannier_sidecar.entry.record import Kind, Record, marker
from pannier_sidecar.entry.timeline import NO_COVERAGE, Timeline, delta

LATER_US = 2**53
times = st.integers(0, 2**53 - 1)
found = st.builds(
    Record,
    st.just(Kind.FOUND),
    times,
    times,
    st.integers(-(2**53), 2**53),
    st.one_of(st.none(), st.integers(0, 2**40)),
    st.dictionaries(st.integers(0, 200), st.binary(max_size=40), max_size=6),
)
empty = st.builds(
    Record,
    st.sampled_from((Kind.MISSING, Kind.MARKER, Kind.TOMBSTONE)),
    times,
    times,
    times,
    st.one_of(st.none(), st.integers(0, 2**40)),
    st.just({}),
)
records = st.one_of(found, empty)
sort_keys = st.one_of(st.sampled_from(("~", "0", "0000000009#ä", "")), st.text(max_size=20))
timelines = st.builds(
    Timeline,
    st.integers(-1, 2**53),
    st.one_of(sort_keys, st.just(NO_COVERAGE)),
    sort_keys,
    times,
    times,
    st.dictionaries(sort_keys.filter(lambda key: key.encode() != META_FIELD), records, max_size=6),
)


def as_hash(timeline: Timeline) -> dict[bytes, bytes]:
    flat = encode_registers(timeline)
    return {META_FIELD: encode_coverage(timeline)} | dict(zip(flat[::2], flat[1::2], strict=True))


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    """Every kind, with opaque features and without expiry."""
    assert decode_record(encode_record(record), now_us=LATER_US) == record


@settings(deadline=None)
@given(timelines)
def test_a_timeline_comes_back_as_it_was(timeline: Timeline) -> None:
    """Coverage, edges, and every register under its key."""
    assert decode_timeline(as_hash(timeline), now_us=LATER_US) == timeline


def test_the_layout_is_what_the_script_reads() -> None:
    """Golden bytes: a change here is another format, and another change in the script."""
    record = Record(Kind.FOUND, 0x0102030405060708, 2, -3, 4, {1: b"a"})
    assert encode_record(record).hex(" ", -2) == (
        "0102 0304 0506 0708 0000 0000 0000 0002 0104 ffff ffff ffff fffd 0000 0000 0000 0004 8101 c401 61"
    )
    assert encode_record(Record(Kind.TOMBSTONE, 1, 2, 3, None)).hex().endswith("ff" * 8)
    timeline = Timeline(-1, NO_COVERAGE, "05", 6, 7, {})
    assert encode_coverage(timeline).hex(" ", -1) == (
        "ff ff ff ff ff ff ff ff 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 06 01 00 01 7f 30 35"
    )
    assert {kind.name: int(kind) for kind in Kind} == {"MISSING": 1, "MARKER": 2, "TOMBSTONE": 3, "FOUND": 4}
    assert CACHE_FORMAT == 1


def test_the_revision_in_front_orders_as_bytes() -> None:
    """Big-endian, so that comparing strings is comparing revisions."""
    revisions = [1, 255, 256, 2**32, 2**52 + 1]
    encoded = [encode_record(marker(revision, 2**53 - revision)) for revision in revisions]
    assert sorted(encoded) == encoded


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80),
        found.map(encode_record).flatmap(lambda b: st.integers(0, len(b)).map(lambda n: b[:n])),
    )
)
def test_any_bytes_are_a_record_or_unreadable(data: bytes) -> None:
    """Nothing else ever leaves the decoder."""
    try:
        record = decode_record(data, now_us=LATER_US)
    except EnvelopeUnreadable:
        return
    assert decode_record(encode_record(record), now_us=LATER_US) == record


@settings(deadline=None)
@given(timelines, st.binary(max_size=60), st.integers(0, 10))
def test_one_foreign_field_makes_a_timeline_unreadable(timeline: Timeline, junk: bytes, which: int) -> None:
    """What it hid cannot be known."""
    fields = as_hash(timeline)
    fields[sorted(fields)[which % len(fields)]] = junk[:25]
    with pytest.raises(EnvelopeUnreadable):
        decode_timeline(fields, now_us=LATER_US)


@pytest.mark.parametrize("position", [16, 17])
def test_another_format_or_kind_is_unreadable(position: int) -> None:
    """A byte flipped where format and kind stand."""
    data = bytearray(encode_record(marker(1, 2)))
    data[position] = 77
    with pytest.raises(EnvelopeUnreadable):
        decode_record(bytes(data), now_us=LATER_US)


def test_another_format_of_the_coverage_is_unreadable() -> None:
    """Also where everything else would fit."""
    fields = as_hash(delta("1", marker(1, 2)))
    meta = bytearray(fields[META_FIELD])
    meta[24] = 2
    with pytest.raises(EnvelopeUnreadable):
        decode_timeline(fields | {META_FIELD: bytes(meta)}, now_us=LATER_US)
    with pytest.raises(EnvelopeUnreadable):
        decode_timeline({b"1": encode_record(marker(1, 2))}, now_us=LATER_US)


def test_a_coverage_that_is_cut_short_is_unreadable() -> None:
    """It would reach further than it does."""
    coverage = encode_coverage(Timeline(5, "0000000001#ab", "", 0, 1, {}))
    assert decode_timeline({META_FIELD: coverage}, now_us=LATER_US).complete_from == "0000000001#ab"
    for length in range(len(coverage)):
        with pytest.raises(EnvelopeUnreadable):
            decode_timeline({META_FIELD: coverage[:length]}, now_us=LATER_US)


def test_loaded_at_is_clamped_to_the_readers_clock() -> None:
    """A sidecar whose clock is ahead does not make entries younger than now."""
    ahead = Record(Kind.FOUND, 1, 1000, 1, None, {})
    assert decode_record(encode_record(ahead), now_us=999).loaded_at_us == 999
    assert decode_record(encode_record(ahead), now_us=1001).loaded_at_us == 1000
    look = Timeline(5, "", "", 0, 1000, {"1": ahead})
    clamped = decode_timeline(as_hash(look), now_us=999)
    assert (clamped.loaded_at_us, clamped.registers["1"].loaded_at_us) == (999, 999)


def test_what_a_write_leaves_outlives_every_load_however_short_the_ttls() -> None:
    """A minute at least, also where values live a second."""
    policy = a_policy(soft=1, hard=1, negative=0, stale_if_error=0)
    value = Record(Kind.FOUND, 1, 1, 1, None, {})
    assert kept_seconds(value, policy) == GUARD_SECONDS
    assert kept_seconds(marker(1, 1), policy) == GUARD_SECONDS
    assert kept_seconds(Record(Kind.TOMBSTONE, 1, 1, 1, None, {}), policy) == GUARD_SECONDS
    assert kept_seconds(delta("1", value), policy) == GUARD_SECONDS
    assert kept_seconds(Timeline(5, "", "", 0, 1, {"~": marker(1, 1)}), policy) == GUARD_SECONDS
    assert kept_seconds(Record(Kind.MISSING, 1, 1, 0, None, {}), policy) == 1
    assert kept_seconds(Timeline(5, "", "", 0, 1, {}), policy) == 1


def test_a_value_is_kept_as_long_as_it_may_be_served_stale() -> None:
    """Hard TTL plus stale-if-error; what shows nothing is kept for the negative TTL."""
    policy = a_policy(soft=10, hard=600, negative=90, stale_if_error=3600)
    value = Record(Kind.FOUND, 1, 1, 1, None, {})
    assert kept_seconds(value, policy) == 4200
    assert kept_seconds(Timeline(5, "", "", 0, 1, {"1": value}), policy) == 4200
    assert kept_seconds(Record(Kind.MISSING, 1, 1, 0, None, {}), policy) == 90
    assert kept_seconds(Record(Kind.TOMBSTONE, 1, 1, 0, None, {}), policy) == 90
    assert kept_seconds(Timeline(5, "", "", 0, 1, {"1": marker(1, 1)}), policy) == 90
