"""One order of operations, found where there is one and refuted where there is none."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.consistency.linearizable import check
from tests.consistency.operations import ROW, ROW_THERE, Read, Write
from tests.consistency.test_laws import PROMISES, broken_laws, delete, get, put

STRONG = PROMISES["strong"]


def test_a_strong_read_shows_the_last_write() -> None:
    """Through whatever sidecar: what was acknowledged before is seen, at once."""
    old, new = put(1, 2, {"a": "old"}, group="strong"), put(3, 4, {"a": "new"}, group="strong")
    assert broken_laws(old, new, get(4.1, 4.2, {"a": "new"}, group="strong")) == []
    assert set(broken_laws(old, new, get(4.1, 4.2, {"a": "old"}, group="strong"))) == {"Bound", "Strong"}


def test_two_readers_agree_on_the_order_of_concurrent_writes() -> None:
    """Either order may be right, but only one of them is: this is what no bound can tell."""
    first, second = put(1, 5, {"a": "x"}, group="strong", at=1), put(1, 5, {"a": "y"}, group="strong", at=1)
    seen = [get(2, 2.1, {"a": "x"}, group="strong"), get(2.5, 2.6, {"a": "y"}, group="strong")]
    assert broken_laws(first, second, *seen) == []
    back = get(3, 3.1, {"a": "x"}, group="strong")
    assert broken_laws(first, second, *seen, back) == ["Strong"]


def test_a_write_that_was_repeated_may_be_seen_twice() -> None:
    """A lost answer makes a sidecar write again: until it is acknowledged it may come back once more."""
    first = put(1, 5, {"a": "x"}, group="strong", at=1, is_doubtful=True)
    second = put(1, 5, {"a": "y"}, group="strong", at=1)
    seen = [get(2 + n / 2, 2.1 + n / 2, {"a": value}, group="strong") for n, value in enumerate("xyx")]
    assert broken_laws(first, second, *seen) == []


def test_a_repeat_may_be_seen_by_a_read_that_ends_after_the_answer() -> None:
    """It came back just before it was acknowledged; a read that begins later must not see it any more."""
    first = put(1, 5, {"a": "x"}, group="strong", at=1, is_doubtful=True)
    second = put(1, 4, {"a": "y"}, group="strong", at=1)
    seen = [get(2, 2.1, {"a": "x"}, group="strong"), get(3, 3.1, {"a": "y"}, group="strong")]
    assert broken_laws(first, second, *seen, get(4.8, 5.2, {"a": "x"}, group="strong")) == []
    done = get(5.1, 5.2, {"a": "y"}, group="strong")
    again = get(5.3, 5.4, {"a": "x"}, group="strong")
    assert broken_laws(first, second, *seen, done, again) == ["Strong"]


def test_an_unanswered_write_happens_at_any_time_or_never() -> None:
    """But not twice, and not before it was asked for."""
    writes = [put(1, 2, {"a": "x"}, group="strong"), put(3, None, {"a": "y"}, group="strong")]
    seen = [get(9, 9.1, {"a": value}, group="strong") for value in "xy"]
    assert broken_laws(*writes, *seen) == []
    again = get(10, 10.1, {"a": "x"}, group="strong")
    assert broken_laws(*writes, *seen, again) == ["Strong"]


def test_records_of_a_timeline_are_registers_of_their_own() -> None:
    """A read may show one record before and another after two writes that were under way."""
    writes = [put(1, 5, {str(n): f"v{n}"}, group="strongline", at=n / 1000) for n in (1_000, 2_000)]
    seen = [
        get(2, 2.1, {"1000": "v1000"}, group="strongline"),
        get(2, 2.1, {"2000": "v2000"}, group="strongline"),
    ]
    assert broken_laws(*writes, *seen) == []
    assert broken_laws(*writes, *seen, get(3, 3.1, {}, group="strongline")) == ["Strong"]


def test_a_fence_hides_what_is_written_under_it() -> None:
    """A record that is stored under the fence of its id is acknowledged, and never seen."""
    erased = put(1, 2, {}, group="strongline", kind="erase", at=2)
    late = put(3, 4, {"1500": "v"}, group="strongline", at=1.5)
    assert broken_laws(erased, late, get(5, 5.1, {}, group="strongline")) == []
    assert "Strong" in broken_laws(erased, late, get(5, 5.1, {"1500": "v"}, group="strongline"))


def test_what_cannot_be_decided_is_not_called_wrong() -> None:
    """A whole-id delete without an answer has an event time that nobody knows."""
    erase = put(1, None, {}, group="strongline", kind="erase")
    unknown = msgspec.structs.replace(erase, event_us=None)
    written = put(2, 3, {"1000": "v"}, group="strongline", at=1)
    gone = get(4, 5, {}, group="strongline")
    assert check(PROMISES["strongline"], [unknown, written], [gone]).kind == "undecided"
    assert check(PROMISES["strongline"], [written], [gone]).kind == "refuted"


@given(st.integers(0, 2**32))
def test_it_agrees_with_trying_every_order(seed: int) -> None:
    """On short random histories the search says what trying all orders of all operations says."""
    dice = random.Random(seed)
    writes, reads = [], []
    for number in range(dice.randint(1, 4)):
        start = dice.uniform(0, 3)
        end = None if dice.random() < 0.2 else start + dice.uniform(0.1, 3)
        if dice.random() < 0.25:
            writes.append(delete(start, end, group="strong"))
        else:
            one = put(start, end, {"a": f"v{number}", "b": None}, group="strong")
            writes.append(one if end is not None else msgspec.structs.replace(one, event_us=None))
    for _ in range(dice.randint(1, 3)):
        start = dice.uniform(0, 5)
        value = dice.choice([None, *(w.cells["a"] for w in writes)])
        reads.append(get(start, start + dice.uniform(0.1, 2), {"a": value} if value else {}, group="strong"))
    assert (check(STRONG, writes, reads).kind == "linearizable") == _any_order_fits(writes, reads)


def _any_order_fits(writes: list[Write], reads: list[Read]) -> bool:
    sure = [w for w in writes if w.end_us is not None]
    unsure = [w for w in writes if w.end_us is None]
    for count in range(len(unsure) + 1):
        for happened in itertools.combinations(unsure, count):
            operations: list[Write | Read] = [*sure, *happened, *reads]
            if any(_fits(order) for order in itertools.permutations(operations)):
                return True
    return False


def _fits(order: Sequence[Write | Read]) -> bool:
    state: dict[str, str] = {}
    for position, operation in enumerate(order):
        if any(later.end_us is not None and later.end_us < operation.start_us for later in order[position:]):
            return False
        if isinstance(operation, Read):
            if operation.cells != state:
                return False
        else:
            state = {r: v for r, v in {**state, **operation.cells}.items() if v is not None}
    return True


def test_row_register_is_part_of_the_state() -> None:
    """A row without features is there; a deleted one is not."""
    writes = [put(1, 2, {"a": None}, group="strong")]
    assert check(STRONG, writes, [get(3, 4, {ROW: ROW_THERE}, group="strong")]).kind == "linearizable"
    assert check(STRONG, writes, [get(3, 4, {}, group="strong")]).kind == "refuted"
