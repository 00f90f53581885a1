"""Rows that wait ready go when their entries are due, and not before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar.tiers.ready_rows import MOST_ROWS, NEVER_US, TICK_US, ReadyRows


def test_nothing_ready_is_never_due() -> None:
    """An empty store needs no look, however late it is."""
    ready = ReadyRows()
    ready.let_go(10**18)
    assert ready.until_us == NEVER_US
    assert repr(ready) == f"<ReadyRows 0 rows until {NEVER_US}>"


def test_rows_go_one_by_one_as_they_come_due() -> None:
    """The first one due bounds them all, to the tick; letting it go moves the bound to the next."""
    ready = ReadyRows()
    ready.add("b", b"B", 20 * TICK_US)
    ready.add("a", b"A", 10 * TICK_US + 5)
    assert ready.until_us == 10 * TICK_US
    ready.let_go(10 * TICK_US - 1)
    assert set(ready.rows) == {"a", "b"}
    ready.let_go(10 * TICK_US)
    assert ready.rows == {"b": b"B"}
    assert ready.until_us == 20 * TICK_US
    ready.clear()
    assert (ready.rows, ready.until_us) == ({}, NEVER_US)


def test_it_never_holds_more_than_it_may() -> None:
    """Also ids that leave and come back leave no growing trace; who comes after all have gone is ready."""
    ready = ReadyRows()
    for number in range(3 * MOST_ROWS):
        row_id = str(number % 10)
        ready.add(row_id, b"x", (number + 1) * TICK_US)
        ready.drop(row_id)
    for number in range(MOST_ROWS + 10):
        ready.add(str(number), b"x", 7 * TICK_US)
        assert len(ready.rows) <= MOST_ROWS
    assert ready.rows[str(MOST_ROWS + 9)] == b"x"
    ready.let_go(7 * TICK_US)
    assert (ready.rows, ready.until_us) == ({}, NEVER_US)


def test_a_dropped_row_is_gone_at_once() -> None:
    """What L1 replaces must not be spliced once more; dropping what is not there is fine."""
    ready = ReadyRows()
    ready.add("a", b"A", 10)
    ready.drop("a")
    ready.drop("a")
    assert ready.rows == {}


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50 * TICK_US)), max_size=30),
    st.lists(st.integers(1, 60 * TICK_US), max_size=6),
)
def test_no_row_outlives_its_latest_due_time(added: list[tuple[str, int]], looks: list[int]) -> None:
    """Whatever came and in whatever order: before ``until_us`` every row in here is still good."""
    ready = ReadyRows()
    latest: dict[str, int] = {}
    for row_id, due_us in added:
        ready.add(row_id, b"x", due_us)
        latest[row_id] = due_us
        assert all(ready.until_us <= latest[held] for held in ready.rows)
    for now_us in sorted(looks):
        ready.let_go(now_us)
        assert all(now_us < latest[held] for held in ready.rows)
        assert all(ready.until_us <= latest[held] for held in ready.rows)
