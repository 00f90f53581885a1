"""Histories written by hand: a sound one passes, and each law catches the one that breaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.consistency import operations
from tests.consistency.laws import check
from tests.consistency.operations import ROW, ROW_THERE, Event, Held, Operation, Promise, Read, Setup, Write

SECOND = 1_000_000
PROMISES = {
    "rows": Promise(bound_us=4 * SECOND),
    "stale": Promise(bound_us=4 * SECOND, stale_us=3 * SECOND),
    "strong": Promise(bound_us=4 * SECOND, strong=True),
    "line": Promise(bound_us=4 * SECOND, unit_us=1_000),
    "strongline": Promise(bound_us=4 * SECOND, strong=True, unit_us=1_000),
}


def put(
    start: float,
    end: float | None,
    cells: dict[str, str | None],
    *,
    at: float | None = None,
    group: str = "rows",
    **more: Any,
) -> Write:
    """A write from ``start`` to ``end`` seconds, with event time ``at``; a merge unless said otherwise."""
    fields: dict[str, Any] = {
        "client": "w",
        "via": "s0.0",
        "kind": "merge",
        "verdict": "written" if end is not None else "unknown",
        **more,
    }
    is_row = group not in {"line", "strongline"} and fields["kind"] != "delete"
    return Write(
        start_us=us(start),
        end_us=None if end is None else us(end),
        group=group,
        id="k",
        cells={**cells, ROW: ROW_THERE} if is_row else cells,
        event_us=us(start if at is None else at),
        **fields,
    )


def delete(start: float, end: float | None, **more: Any) -> Write:
    """A delete of the record."""
    return put(start, end, {"a": None, "b": None, ROW: None}, kind="delete", **more)


def get(start: float, end: float, cells: dict[str, str], *, group: str = "rows", **more: Any) -> Read:
    """A read from ``start`` to ``end`` seconds."""
    is_line = group in {"line", "strongline"}
    fields: dict[str, Any] = {"client": "r", "via": "s1.0", "status": "found" if cells else "missing", **more}
    shown = cells if is_line or not cells else {**cells, ROW: ROW_THERE}
    return Read(start_us=us(start), end_us=us(end), group=group, id="k", cells=shown, **fields)


def us(seconds: float) -> int:
    return round(seconds * SECOND)


def broken_laws(*history: Operation) -> list[str]:
    """Which laws this history breaks."""
    return [violation.law for violation in check([Setup(1, PROMISES), *history]).violations]


def test_a_sound_history_breaks_no_law(tmp_path: Path) -> None:
    """Writes in both orders, refusals, deletes and answers within the bound: nothing to complain about."""
    history: list[Operation] = [
        Setup(7, PROMISES),
        put(1, 2, {"a": "v1"}),
        get(1.5, 1.6, {}),
        get(1.5, 1.6, {"a": "v1"}),
        put(3, 4, {"a": "v2", "b": "v2"}),
        get(5, 5.1, {"a": "v1"}),
        put(5, 6, {"a": "v3"}, at=1.5, verdict="ignored_older"),
        put(5, 6, {"b": "v4"}, at=2.9, ignored=("b",)),
        put(6, None, {"b": "v5"}),
        get(7, 7.1, {"a": "v2", "b": "v5"}),
        get(9, 9.1, {"a": "v2", "b": "v2"}, age_us=3 * SECOND),
        delete(10, 11),
        get(12, 12.1, {"a": "v2", "b": "v2"}),
        get(12, 12.1, {}),
        put(13, 14, {"a": "v6"}, at=9.5, verdict="ignored_deleted"),
        get(20, 20.1, {}, via="l3"),
        Held("calm", "l3", us(20), "rows", "k", "{}"),
        Held("calm", "l2", us(20), "rows", "k", None),
        Held("end", "l3", us(20), "rows", "k", "{}"),
        Held("end", "s1.0", us(21), "rows", "k", "{}"),
    ]
    path = tmp_path / "history.jsonl"
    operations.save(path, history)
    read_back = list(operations.load(path))
    assert read_back == history
    verdict = check(read_back)
    assert not verdict.violations, str(verdict)
    assert verdict.counts["reads found"] == 5


OLD = put(1, 2, {"a": "old"})
NEW = put(3, 4, {"a": "new"})


@pytest.mark.parametrize(
    ("law", "history"),
    [
        pytest.param("Bound", [OLD, NEW, get(8.1, 8.2, {"a": "old"})], id="older than the bound"),
        pytest.param("Bound", [OLD, get(2.5, 2.6, {"a": "old"}, age_us=us(4.2))], id="says so itself"),
        pytest.param(
            "Bound",
            [
                put(1, 2, {"a": "late"}, at=0.5),
                put(1, 2, {"a": "first"}, at=0.9),
                get(6.5, 6.6, {"a": "late"}),
            ],
            id="older by event time",
        ),
        pytest.param(
            "Bound",
            [
                put(1, 2, {"a": "old"}, group="stale"),
                put(3, 4, {"a": "new"}, group="stale"),
                get(11.5, 11.6, {"a": "old"}, group="stale", stale=True),
            ],
            id="too old even for stale",
        ),
        pytest.param("Bound", [OLD, delete(3, 4), get(8.1, 8.2, {"a": "old"})], id="a deleted row is back"),
        pytest.param(
            "NeverWritten",
            [put(1, 2, {"a": "v"}, at=9, via="s0.0", verdict="failed"), get(3, 4, {"a": "v"})],
            id="said to be failed",
        ),
        pytest.param("NeverWritten", [OLD, get(3, 4, {"a": "fiction"})], id="nobody wrote it"),
        pytest.param("FromTheFuture", [put(5, 6, {"a": "v"}), get(3, 4, {"a": "v"})], id="not yet asked for"),
        pytest.param("Missing", [OLD, get(6.1, 6.2, {})], id="missing though acknowledged"),
        pytest.param("OwnWrites", [OLD, NEW, get(5, 5.1, {"a": "old"}, via="s0.0")], id="not its own write"),
        pytest.param(
            "OwnWrites",
            [
                put(1, 2, {"a": "old"}, group="stale"),
                put(3, 4, {"a": "new"}, group="stale"),
                get(5, 5.1, {"a": "old"}, group="stale", stale=True, via="s0.0"),
            ],
            id="not even in a stale answer",
        ),
        pytest.param(
            "Lost", [OLD, NEW, get(9, 9, {"a": "old"}, via="l3")], id="an acknowledged write is gone"
        ),
        pytest.param(
            "Lost",
            [
                put(1, 2, {"a": "newer"}, at=1),
                put(3, 4, {"a": "late"}, at=0.5),
                get(9, 9, {"a": "late"}, via="l3"),
            ],
            id="a late event overwrote a newer one",
        ),
        pytest.param(
            "WholeRow",
            [
                put(1, 2, {"a": "a1", "b": "b1"}),
                put(3, 4, {"a": "a2", "b": "b2"}),
                put(5, 6, {"a": "a3", "b": "b3"}),
                get(7, 7.1, {"a": "a1", "b": "b3"}),
            ],
            id="features of different moments",
        ),
        pytest.param(
            "Refused", [OLD, put(3, 4, {"b": "v"}, verdict="ignored_deleted")], id="refused without a reason"
        ),
        pytest.param(
            "Rest",
            [
                OLD,
                Held("calm", "l3", us(9), "rows", "k", '{"a": "new"}'),
                Held("calm", "l2", us(9), "rows", "k", '{"a": "old"}'),
            ],
            id="L2 behind at rest",
        ),
        pytest.param(
            "Rest",
            [
                OLD,
                Event(us(1.5), "killed", "s0.0"),
                Held("end", "l3", us(9), "rows", "k", '{"a": "new"}'),
                Held("end", "s2.0", us(9), "rows", "k", '{"a": "old"}'),
            ],
            id="a sidecar behind in the end",
        ),
        pytest.param(
            "Bound",
            [
                put(1, 2, {"1000": "v"}, group="line", at=1),
                put(3, 4, {}, group="line", kind="erase", at=3),
                get(8.1, 8.2, {"1000": "v"}, group="line"),
            ],
            id="an erased record is back",
        ),
        pytest.param(
            "Bound",
            [put(1, 2, {"1000": "v"}, group="line", at=1), get(6.1, 6.2, {}, group="line")],
            id="a record of a timeline is not there",
        ),
    ],
)
def test_a_law_catches_what_breaks_it(law: str, history: list[Operation]) -> None:
    """One thing is wrong with this history, and it is called by its name."""
    assert broken_laws(*history) == [law]


def test_a_crash_and_a_lost_redis_excuse_l2_until_the_bound_has_passed() -> None:
    """At rest L2 may be behind where the sidecar that wrote died, or Redis lost what it had been told."""
    behind = [
        Held("calm", "l3", us(9), "rows", "k", '{"a": "new"}'),
        Held("calm", "l2", us(9), "rows", "k", '{"a": "old"}'),
    ]
    assert broken_laws(OLD, *behind) == ["Rest"]
    assert broken_laws(OLD, Event(us(3), "killed", "s0.0"), *behind) == []
    assert broken_laws(OLD, Event(us(3), "redis-lost", "redis"), *behind) == []
    assert broken_laws(OLD, Event(us(0.5), "redis-lost", "redis"), *behind) == ["Rest"]


def test_a_write_without_an_answer_may_have_happened_or_not() -> None:
    """Neither seeing it nor missing it is a fault, at any later time."""
    unanswered = put(3, None, {"a": "maybe"})
    assert broken_laws(OLD, unanswered, get(90, 91, {"a": "old"})) == []
    assert broken_laws(OLD, unanswered, get(90, 91, {"a": "maybe"})) == []


def test_a_write_that_was_answered_twice_may_be_applied_late() -> None:
    """Its repeat with an equal event time may come after another write; a newer event time still ends it."""
    doubtful = put(1, 2, {"a": "v1"}, at=1, is_doubtful=True)
    equal, newer = put(3, 4, {"a": "v2"}, at=1), put(3, 4, {"a": "v2"}, at=1.5)
    late = get(20, 21, {"a": "v1"})
    assert broken_laws(doubtful, equal, late) == []
    assert broken_laws(doubtful, newer, late) == ["Bound"]


@pytest.mark.parametrize("group", ["line", "strongline"])
def test_a_record_refused_for_a_delete_under_way_may_have_been_there_before(group: str) -> None:
    """Stored, seen, deleted, and only then told of the delete; refused for an earlier one it never shows."""
    late = put(10, 12, {"1000": "v"}, group=group, at=1, kind="replace", verdict="ignored_deleted")
    during, before = (
        put(start, end, {}, group=group, kind="erase", at=9) for start, end in ((11, 13), (8, 9))
    )
    seen, gone = get(10.5, 11.5, {"1000": "v"}, group=group), get(12.5, 13.5, {}, group=group)
    assert broken_laws(late, during, seen, gone) == []
    assert "NeverWritten" in broken_laws(late, before, seen, gone)
    back = get(30, 31, {"1000": "v"}, group=group)
    assert "Bound" in broken_laws(late, during, seen, gone, back)


def test_ranges_say_nothing_of_what_lies_below_them() -> None:
    """A timeline read with a limit does not show older records, and is not asked to."""
    writes = [put(1, 2, {str(n): f"v{n}"}, group="line", at=n / 1000) for n in (1_000, 2_000)]
    assert broken_laws(*writes, get(9, 9.1, {"2000": "v2000"}, group="line", shown_from=2_000)) == []
    assert broken_laws(*writes, get(9, 9.1, {"2000": "v2000"}, group="line")) == ["Bound"]
