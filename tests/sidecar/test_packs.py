"""Packs: a question cut out of packed bytes gets the answer of plain rendering, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY, LOWEST_SORT_KEY, sort_key_range
from pannier.values import opaque
from pannier_sidecar.entry import record as records
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.packing import Opened, pack_record, pack_state, pack_timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import ReadShape

NOW_US = 1_700_000_000_000_000
FEATURES: dict[str, Any] = {
    "a": "String",
    "gone": {"type": "String", "state": "Removed"},
    "b": {"type": "Int64", "default": 7},
    "c": "Json",
}
ROWS = a_plan("rows", features=FEATURES)
TRIPS = a_plan("trips", features=FEATURES, timeline=True, max_limit=6, default_limit=3)
VALUES = {0: [b'"x"', b'"\\"}],{"', b"null"], 1: [b'"removed"'], 2: [b"1", b"-5"], 3: [b'{"k":[1,2]}', b"[]"]}

values = st.fixed_dictionaries({}, optional={i: st.sampled_from(choices) for i, choices in VALUES.items()})
subsets = st.none() | st.sets(st.sampled_from(["a", "b", "c"]), min_size=1)


def shape_of(plan: GroupPlan, names: set[str] | None, limit: int, span: tuple[int, int] | None) -> ReadShape:
    """A question."""
    features = None if names is None else tuple(f for f in plan.served if f.name in names)
    low, high = (LOWEST_SORT_KEY, HIGHEST_SORT_KEY) if span is None else sort_key_range(*span, plan.width)
    return ReadShape(
        plan=plan, features=features, limit=limit, low=low, high=high, is_ranged=span is not None
    )


def plainly(plan: GroupPlan, fragments: dict[int, bytes], names: set[str] | None) -> dict[str, Any]:
    """What a found row shows, put together without splicing."""
    shown: dict[str, Any] = {"features": {}}
    for feature in plan.served:
        if names is not None and feature.name not in names:
            continue
        if feature.id in fragments:
            shown["features"][feature.name] = json.loads(fragments[feature.id])
        elif feature.default is not None:
            shown["features"][feature.name] = json.loads(feature.default)
            shown.setdefault("defaulted", []).append(feature.name)
    return shown


@settings(deadline=None, max_examples=200)
@given(values=values, names=subsets, row_id=st.text(min_size=1).filter(lambda t: t.isprintable()))
def test_a_record_is_cut_as_it_would_be_rendered(
    values: dict[int, bytes], names: set[str] | None, row_id: str
) -> None:
    """Any subset of features of any record, and the record itself given back."""
    record = Record(Kind.FOUND, 9, NOW_US, 5, None, values)
    pack = pack_record(ROWS, row_id, record, NOW_US)
    rendered = pack.row_for(shape_of(ROWS, names, 1, None), row_id, NOW_US)
    assert rendered is not None
    assert json.loads(rendered.row) == {"id": row_id, "status": "found", **plainly(ROWS, values, names)}
    if names is None:
        assert rendered.row == pack.row
    kept = {i: fragment for i, fragment in values.items() if i != 1}
    assert pack.unpack(ROWS) == Record(Kind.FOUND, 9, NOW_US, 5, None, kept)


registers = st.builds(
    Record,
    kind=st.sampled_from([Kind.FOUND, Kind.FOUND, Kind.FOUND, Kind.TOMBSTONE, Kind.MARKER]),
    revision=st.integers(1, 40),
    loaded_at_us=st.just(NOW_US),
    event_time_us=st.just(0),
    expires_at=st.none() | st.sampled_from([NOW_US // 1_000_000 - 1, NOW_US // 1_000_000 + 9]),
    values=values,
)


@st.composite
def a_timeline(draw: st.DrawFn) -> Timeline:
    """Any entry that merging could leave: registers, perhaps a fence, some coverage."""
    ticks = draw(st.dictionaries(st.integers(1, 30), registers, max_size=20))
    held = {}
    for tick, register in ticks.items():
        key = f"{tick:010d}"
        shown = {} if register.kind is not Kind.FOUND else register.values
        held[key] = Record(
            register.kind, register.revision, NOW_US, tick * 1_000_000, register.expires_at, shown
        )
    if draw(st.booleans()):
        fenced = draw(st.integers(1, 30)) * 1_000_000
        held[FENCE_SORT_KEY] = Record(Kind.TOMBSTONE, 5, NOW_US, fenced, None, {})
    complete_from = draw(st.sampled_from(["", "0000000005", "0000000020", timelines.NO_COVERAGE]))
    trimmed_at = draw(st.sampled_from(["", "", "0000000003"]))
    return Timeline(20, complete_from, trimmed_at, 0, NOW_US, held)


@settings(deadline=None, max_examples=300)
@given(
    timeline=a_timeline(),
    names=subsets,
    limit=st.integers(1, 6),
    span=st.none() | st.tuples(st.integers(0, 31), st.integers(0, 31)),
)
def test_a_timeline_answers_packed_as_it_answers_unpacked(
    timeline: Timeline, names: set[str] | None, limit: int, span: tuple[int, int] | None
) -> None:
    """Packing changes no answer: same records, same "more", same "load"."""
    pack = pack_timeline(TRIPS, "x", timeline, NOW_US)
    shape = shape_of(TRIPS, names, limit, span)
    answer = timelines.answer(timeline, limit=limit, low=shape.low, high=shape.high, now_us=NOW_US)
    rendered = pack.row_for(shape, "x", NOW_US)
    if answer is None:
        assert rendered is None
        return
    assert rendered is not None
    expected: dict[str, Any] = {"id": "x", "status": "found" if answer.exists else "missing"}
    expected["records"] = [
        {"timestamp": int(key), **plainly(TRIPS, timeline.registers[key].values, names)}
        for key in answer.sort_keys
    ]
    if answer.more:
        expected["more"] = True
    assert json.loads(rendered.row) == expected
    newest = timeline.registers[answer.sort_keys[0]].event_time_us if answer.sort_keys else 0
    assert rendered.event_time_us == newest


@settings(deadline=None, max_examples=200)
@given(timeline=a_timeline())
def test_a_packed_timeline_is_given_back_whole(timeline: Timeline) -> None:
    """Everything but features that are not served survives packing, so that merging goes on from it."""
    back = pack_timeline(TRIPS, "x", timeline, NOW_US).unpack(TRIPS)
    assert back.registers.keys() == timeline.registers.keys()
    for key, register in timeline.registers.items():
        kept = {i: fragment for i, fragment in register.values.items() if i != 1}
        assert (back.registers[key].kind, back.registers[key].revision) == (register.kind, register.revision)
        assert back.registers[key].values == kept
    assert (back.as_of, back.complete_from, back.trimmed_at) == (
        timeline.as_of,
        timeline.complete_from,
        timeline.trimmed_at,
    )


def one_write(news: Timeline) -> Timeline:
    """The entry of a single write."""
    return Timeline(timelines.NEVER, timelines.NO_COVERAGE, "", 0, 0, dict([*news.registers.items()][:1]))


@settings(deadline=None, max_examples=400)
@given(held=a_timeline(), news=a_timeline() | a_timeline().map(one_write), capacity=st.sampled_from([6, 40]))
def test_what_is_copied_on_renewal_is_what_would_be_rendered(
    held: Timeline, news: Timeline, capacity: int
) -> None:
    """Merged without its values and copied, or merged with them and rendered: the same pack, to the byte."""
    pack = pack_timeline(TRIPS, "x", held, NOW_US)
    opened = Opened(TRIPS, pack)
    copied = pack_state(TRIPS, "x", timelines.merge(opened.timeline, news, capacity), NOW_US, opened)
    assert copied == pack_state(TRIPS, "x", timelines.merge(pack.unpack(TRIPS), news, capacity), NOW_US)


def test_the_default_row_is_the_front_of_the_pack() -> None:
    """The row that the hot path splices is what the default question would be answered with."""
    held = {f"{t:010d}": Record(Kind.FOUND, t, NOW_US, t, None, {0: b'"%d"' % t}) for t in range(1, 9)}
    pack = pack_timeline(TRIPS, "x", Timeline(20, "", "", 0, NOW_US, held), NOW_US)
    rendered = pack.row_for(shape_of(TRIPS, None, 3, None), "x", NOW_US)
    assert rendered is not None
    assert rendered.row == pack.row
    assert [r["timestamp"] for r in json.loads(pack.row)["records"]] == [8, 7, 6]


def test_a_fragment_of_an_unknown_type_is_read_when_the_catalog_knows_it() -> None:
    """What an older sidecar took in by id is rendered; what does not fit the type counts as absent."""
    record = Record(Kind.FOUND, 9, NOW_US, 5, None, {0: opaque({"S": "x"}), 2: opaque({"S": "no number"})})
    row = json.loads(pack_record(ROWS, "1", record, NOW_US).row)
    assert row["features"] == {"a": "x", "b": 7}
    assert row["defaulted"] == ["b"]


@pytest.mark.parametrize("plan", [ROWS, TRIPS], ids=["record", "timeline"])
def test_a_marker_has_no_row_and_a_tombstone_says_missing(plan: GroupPlan) -> None:
    """A revision whose value is not held is no answer; a deleted one is."""
    marker = records.marker(9, NOW_US)
    tombstone = Record(Kind.TOMBSTONE, 9, NOW_US, 5, None, {})
    if plan.is_timeline:
        covered = Timeline(1, "", "", 0, NOW_US, {})
        key = "0000000001"
        pack = pack_state(plan, "1", timelines.merge(covered, timelines.delta(key, marker), 9), NOW_US)
        gone = pack_state(plan, "1", timelines.merge(covered, timelines.delta(key, tombstone), 9), NOW_US)
    else:
        pack, gone = pack_state(plan, "1", marker, NOW_US), pack_state(plan, "1", tombstone, NOW_US)
    assert (pack.row, pack.is_negative) == (b"", False)
    assert json.loads(gone.row)["status"] == "missing"
    assert gone.is_negative


def test_a_row_says_until_when_it_is_true() -> None:
    """The end of the row shown, and of the oldest record that the lookback still shows."""
    ends = Record(Kind.FOUND, 9, NOW_US, 5, NOW_US // 1_000_000 + 9, {})
    assert pack_record(ROWS, "1", ends, NOW_US).valid_until_us == NOW_US + 9_000_000
    plan = a_plan("back", features=FEATURES, timeline=True, max_lookback=100)
    tick = NOW_US // 1_000_000 - 40
    held = {f"{tick:010d}": Record(Kind.FOUND, 1, NOW_US, tick * 1_000_000, None, {})}
    pack = pack_timeline(plan, "1", Timeline(1, "", "", 0, NOW_US, held), NOW_US)
    assert pack.valid_until_us == NOW_US + 60_000_001
