"""Announcements arrive as they were sent, without values; what is none of ours is told apart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar.entry import announcement, envelope, record, timeline
from pannier_sidecar.entry.announcement import Announcement, AnnouncementUnreadable, Change
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline

NOW_US = 1_700_000_000_000_000
_times = st.integers(1, NOW_US)
_records = st.builds(
    Record,
    kind=st.sampled_from([Kind.FOUND, Kind.TOMBSTONE, Kind.MARKER]),
    revision=_times,
    loaded_at_us=_times,
    event_time_us=_times,
    expires_at=st.none(),
    values=st.just({}),
)
_deltas = st.dictionaries(st.sampled_from(["0000000001", "0000000002#a", "~"]), _records, min_size=1).map(
    lambda registers: Timeline(timeline.NEVER, timeline.NO_COVERAGE, "", 0, 0, registers)
)


@given(st.lists(st.tuples(st.text(min_size=1), _times, _records | _deltas)))
def test_announcements_arrive_as_they_were_sent(writes: list[tuple[str, int, Record | Timeline]]) -> None:
    """Ids, times and deltas come out as they went in, a marker in the place of each value."""
    message = announcement.decode(announcement.encode(b"me", writes))
    assert message.sender == b"me"
    assert [(change.id, change.acknowledged_at_us, change.entry(NOW_US)) for change in message.changes] == [
        (row_id, at_us, announcement.without_values(entry)) for row_id, at_us, entry in writes
    ]


def test_values_do_not_travel() -> None:
    """A message says that there is a new state, not what is in it."""
    found = Record(Kind.FOUND, 7, 5, 3, 9, {0: b'"secret"'})
    registers = Timeline(timeline.NEVER, timeline.NO_COVERAGE, "", 0, 0, {"0000000001": found})
    message = announcement.encode(b"me", [("a", 1, found), ("b", 2, registers)])
    assert b"secret" not in message
    first, second = (change.entry(NOW_US) for change in announcement.decode(message).changes)
    assert first == record.marker(7, 5, event_time_us=3)
    assert second == timeline.delta("0000000001", record.marker(7, 5, event_time_us=3))


@pytest.mark.parametrize("kind", [Kind.MISSING, Kind.MARKER, Kind.TOMBSTONE])
def test_what_holds_no_value_travels_as_it_is(kind: Kind) -> None:
    """A delete stays a delete, so that who hears of it need not load."""
    state = Record(kind, 7, 5, 3, 9, {})
    assert announcement.without_values(state) is state


def test_a_message_is_the_same_in_every_release() -> None:
    """Plain arrays, as the module's text says: sidecars of two releases listen to one channel."""
    deleted = Record(Kind.TOMBSTONE, 7, 5, 3, None, {})
    timeline_delta = timeline.delta("0000000001", deleted)
    message = announcement.encode(b"me", [("a", 1, deleted), ("b", 2, timeline_delta)])
    register = envelope.encode_record(deleted)
    flat = [b"meta", envelope.encode_coverage(timeline_delta), b"0000000001", register]
    assert msgspec.msgpack.decode(message) == [1, b"me", [["a", 1, register], ["b", 2, flat]]]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"surely no announcement",
        msgspec.msgpack.encode([announcement.FORMAT + 1, b"me", []]),
        msgspec.msgpack.encode([announcement.FORMAT - 1, b"me", []]),
        msgspec.msgpack.encode([announcement.FORMAT, b"me"]),
        msgspec.msgpack.encode({"format": 1}),
    ],
)
def test_foreign_messages_are_told_apart(message: bytes) -> None:
    """Another release, or somebody else, speaks on the channel."""
    with pytest.raises(AnnouncementUnreadable):
        announcement.decode(message)


_COVERAGE = envelope.encode_coverage(timeline.delta("1", record.marker(1, 1)))


@pytest.mark.parametrize(
    "delta",
    [b"", b"\0" * 33, [b"meta"], [b"meta", b"short"], [b"x", b"y"], [b"meta", _COVERAGE, b"0000000001"]],
)
def test_a_delta_that_cannot_be_read_is_told_apart(delta: bytes | list[bytes]) -> None:
    """The rest of the message may be sound; what this id has become is not known."""
    message = msgspec.msgpack.encode(Announcement(announcement.FORMAT, b"me", [Change("a", 1, delta)]))
    (change,) = announcement.decode(message).changes
    with pytest.raises(AnnouncementUnreadable):
        change.entry(NOW_US)
