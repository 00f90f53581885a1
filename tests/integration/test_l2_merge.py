"""The merge script against its oracle: a real Redis ends with what the pure merges say, whatever came."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sidecar.timeline_history import History

from pannier_sidecar.entry import envelope, record, timeline
from pannier_sidecar.entry.ghost import RECORD_GHOST, TIMELINE_GHOST
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.tiers.l2_redis import MERGE_SCRIPT

KEY = "pn1:shop/clicks:{7}"
LATER_US = 10**16
pytestmark = pytest.mark.redis
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Merger:
    """The script alone, without the tier around it."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url, protocol=2)
        self._script = self.client.register_script(MERGE_SCRIPT)

    def record(self, one: Record, kept_ms: int = 60_000) -> object:
        return self._script(keys=[KEY], args=["record", kept_ms, envelope.encode_record(one)])

    def timeline(self, one: Timeline, capacity: int, kept_ms: int = 60_000) -> object:
        coverage, registers = envelope.encode_coverage(one), envelope.encode_registers(one)
        return self._script(keys=[KEY], args=["timeline", kept_ms, capacity, coverage, *registers])

    def held_record(self) -> Record:
        return envelope.decode_record(self.client.get(KEY) or b"", now_us=LATER_US)

    def held_timeline(self) -> Timeline:
        return envelope.decode_timeline(self.client.hgetall(KEY), now_us=LATER_US)


@pytest.fixture
def merger(redis_url: str) -> Iterator[Merger]:
    merger = Merger(redis_url)
    yield merger
    merger.client.close()


def a_record(kind: Kind, revision: int, loaded_at_us: int) -> Record:
    values = {0: f"{revision}/{loaded_at_us}".encode()} if kind is Kind.FOUND else {}
    return Record(kind, revision, loaded_at_us, revision, None, values)


records = st.one_of(
    st.just(RECORD_GHOST),
    st.builds(
        a_record,
        st.sampled_from(Kind),
        st.one_of(st.integers(1, 4), st.integers(1_700_000_000_000_000, 1_700_000_000_000_003)),
        st.integers(1, 4),
    ),
)


@quick
@given(st.lists(records, min_size=1, max_size=8))
def test_records_end_as_the_pure_merge_says(merger: Merger, sequence: Sequence[Record]) -> None:
    """After every single merge, Redis holds what the pure merge holds."""
    merger.client.delete(KEY)
    expected: Record | None = None
    for one in sequence:
        changes = expected is None or record.is_newer(one, expected)
        expected = record.merge(expected, one)
        assert merger.record(one) == int(changes)
        assert merger.held_record() == expected


@quick
@given(st.integers(0, 2**32), st.sampled_from((3, 4, 6, 20)), st.integers(1, 20))
def test_timelines_end_as_the_pure_merge_says(merger: Merger, seed: int, capacity: int, steps: int) -> None:
    """Snapshots, writes, deletes, fences, markers, ghosts and swept rows, shuffled, repeated and grouped."""
    merger.client.delete(KEY)
    dice = random.Random(seed)
    history = History(capacity)
    for _ in range(steps):
        history.step(dice)
    sequence = [*(one.entry for one in history.handed), TIMELINE_GHOST]
    dice.shuffle(sequence)
    expected: Timeline | None = None
    while sequence:
        one = sequence.pop()
        if sequence and dice.random() < 0.2:
            one = timeline.merge(one, sequence.pop(), capacity)
        merger.timeline(one, capacity)
        expected = timeline.merge(expected, one, capacity)
        assert merger.held_timeline() == expected
        if dice.random() < 0.1:
            sequence.append(one)


sort_keys = st.builds(
    lambda second, tie: f"{second:010d}" + ("" if tie is None else f"#{tie}"),
    st.integers(1, 3),
    st.one_of(st.none(), st.sampled_from(("a", "B", "Z", "_", "#", "é", "\U0001f600", "a#b", "aa", ""))),
)


@quick
@given(st.lists(st.tuples(sort_keys, st.integers(1, 5)), min_size=1, max_size=12), st.integers(1, 3))
def test_room_is_made_in_the_order_of_bytes(
    merger: Merger, writes: Sequence[tuple[str, int]], capacity: int
) -> None:
    """Tie-breakers of any script, whatever locale Redis was started in: the lowest bytes go first."""
    merger.client.delete(KEY)
    expected: Timeline | None = None
    for sort_key, revision in writes:
        one = timeline.delta(sort_key, a_record(Kind.FOUND, revision, 1))
        expected = timeline.merge(expected, one, capacity)
        merger.timeline(one, capacity)
    assert merger.held_timeline() == expected


def test_the_widest_capacity_fits_one_call(merger: Merger) -> None:
    """A timeline of five thousand records, far more than Lua's stack takes at once, is merged twice."""
    registers = {f"{second:010d}": a_record(Kind.FOUND, second + 1, 1) for second in range(5000)}
    look = Timeline(10_000, "", "", 0, 1, registers)
    later = Timeline(10_001, "", "", 0, 2, registers)
    for one in (look, later):
        assert merger.timeline(one, 4000) == 1
    assert merger.held_timeline() == timeline.merge(look, later, 4000)


def test_the_script_says_whether_anything_was_newer(merger: Merger) -> None:
    """Twice the same write changes nothing, and neither does an older one."""
    for revision, changed in ((5, 1), (5, 0), (4, 0), (6, 1)):
        one = timeline.delta("0000000001", a_record(Kind.FOUND, revision, 1))
        assert merger.timeline(one, 4) == changed
