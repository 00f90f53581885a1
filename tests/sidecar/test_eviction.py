"""Small, main and ghost: who leaves, who stays, and that no search takes long."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import a_plan

from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.packing import pack_state
from pannier_sidecar.tiers.eviction import MOST_STEPS, PATIENCE, Places, S3Fifo
from pannier_sidecar.tiers.l1_entry import LocalEntry, make_entry
from pannier_sidecar.tiers.l1_table import FEW, SHARDS, EntryTable

NOW_US = 1_700_000_000_000_000
SECOND = 1_000_000
PLAN = a_plan("order", soft=10, hard=60, stale_if_error=0)
PACK = pack_state(PLAN, "a", Record(Kind.FOUND, 1, NOW_US, 0, None, {0: b'"x"'}), NOW_US)


class Order:
    """An order with its entries, as a segment has them."""

    def __init__(self, numbered_from: int = 0) -> None:
        self.order = S3Fifo(numbered_from)
        self.table = EntryTable()
        self.passed: list[str] = []

    def put(self, row_id: str, weight: int = 100, now_us: int = NOW_US) -> LocalEntry:
        """Hold a new entry."""
        entry = make_entry(PLAN, PACK, now_us, 0, 0)
        entry.weight = weight
        self.order.enter(row_id, entry)
        self.table.put(row_id, entry)
        self.order.tidy(self.table)
        return entry

    def read(self, row_id: str) -> None:
        """Read an id once."""
        self.table[row_id].reads += 1

    def drop(self, row_id: str) -> None:
        """Hold nothing of an id."""
        entry = self.table.pop(row_id)
        assert entry is not None
        self.order.leave(entry)

    def refresh(self, row_id: str, weight: int) -> None:
        """Hold another entry in the place of that of an id."""
        new, old = make_entry(PLAN, PACK, NOW_US, 0, 0), self.table[row_id]
        new.weight = weight
        self.order.replace(old, new)
        self.table.put(row_id, new)

    def do(self, step: str, row_id: str) -> None:
        """Do one of the things above to an id, where it can be done."""
        if step == "evict":
            self.evict()
        elif step == "put" and row_id not in self.table:
            self.put(row_id, weight=50 + int(row_id))
        elif row_id not in self.table:
            return
        elif step == "read":
            self.read(row_id)
        elif step == "drop":
            self.drop(row_id)
        elif step == "refresh":
            self.refresh(row_id, weight=200)
        elif step == "grow":
            self.table[row_id].weight += 7
            self.order.weigh(self.table[row_id], 7)

    def items(self) -> Iterator[tuple[str, LocalEntry]]:
        """Give what is held."""
        return ((row_id, self.table[row_id]) for row_id in self.table)

    def evict(self, now_us: int = NOW_US) -> str | None:
        """Make room for one."""
        victim = self.order.victim(self.table, now_us, self.passed.append)
        if victim is not None:
            self.drop(victim)
        return victim


def filled(count: int, numbered_from: int = 0) -> Order:
    """An order of ids 0, 1, 2, ..."""
    held = Order(numbered_from)
    for number in range(count):
        held.put(str(number))
    return held


def test_unread_ids_leave_in_the_order_in_which_they_came() -> None:
    """Without reads it is a queue."""
    held = filled(5)
    assert [held.evict() for _ in range(6)] == ["0", "1", "2", "3", "4", None]
    assert (held.order.bytes, held.order.small_bytes, held.order.count) == (0, 0, 0)


def test_who_was_read_moves_to_main_and_outlives_the_others() -> None:
    """One read in small is enough; the hot path is told who was passed over, so that it notices the next."""
    held = filled(10)
    held.read("0")
    held.read("3")
    assert [held.evict() for _ in range(8)] == ["1", "2", "4", "5", "6", "7", "8", "9"]
    assert held.passed == ["0", "3"]
    assert held.order.small_bytes == 0


def test_each_read_in_main_buys_a_round_up_to_three() -> None:
    """However much an id was read, it is forgotten after four rounds without a read."""
    held = filled(2)
    held.read("0")
    held.read("1")
    assert held.evict() == "0"
    for _ in range(100):
        held.read("1")
    held.passed.clear()
    assert held.evict() == "1"
    assert held.passed == ["1"] * 3


def test_a_ghost_that_comes_back_goes_to_main() -> None:
    """An id that left small unread is known for a while; the second time it need not prove itself."""
    held = filled(10)
    assert held.evict() == "0"
    held.put("0")
    assert [held.evict() for _ in range(8)] == [str(number) for number in range(1, 9)]
    assert set(held.table) == {"0", "9"}


def test_expired_entries_go_first_whatever_was_read_of_them() -> None:
    """At the hand, what may not even be served stale any more is no match for what may."""
    held = Order()
    held.put("old", now_us=NOW_US - 61 * SECOND)
    held.put("new")
    for _ in range(50):
        held.read("old")
    assert held.evict() == "old"


def test_an_entry_expires_to_the_microsecond() -> None:
    """What may be served stale for a microsecond more is passed as its reads have it."""
    held = filled(2)
    held.read("0")
    until_us = held.table["0"].stale_until_us
    assert held.evict(until_us - 1) == "1"
    held = filled(2)
    held.read("0")
    assert held.evict(until_us) == "0"


def test_an_id_that_came_again_queues_again() -> None:
    """Its former place is nobody's."""
    held = filled(3)
    held.drop("0")
    held.put("0")
    assert [held.evict() for _ in range(3)] == ["1", "2", "0"]


def test_replacing_keeps_the_place_and_what_reads_have_bought() -> None:
    """A refresh neither rejuvenates an entry nor makes it start again."""
    held = filled(3)
    held.read("0")
    held.refresh("0", weight=250)
    assert (held.order.bytes, held.order.small_bytes, held.order.count) == (450, 450, 3)
    assert [held.evict(), held.evict(), held.evict()] == ["1", "2", "0"]
    assert held.order.bytes == 0


def all_in_main(count: int) -> Order:
    """An order whose ids have all been read and passed once."""
    held = filled(count + 1)
    for number in range(count + 1):
        held.read(str(number))
    assert held.evict() == "0"
    held.passed.clear()
    return held


def test_main_gives_up_room_as_long_as_small_has_less_than_a_tenth() -> None:
    """What is new gets its tenth of the bytes, however little of the rest was read of late, and no more."""
    held = all_in_main(10)
    held.put("new")
    assert held.evict() == "1"
    assert (held.order.bytes, held.order.small_bytes) == (1_000, 100)
    assert held.evict() == "new"


def test_a_round_costs_one_read_and_each_read_counts_once() -> None:
    """In main two reads keep an id for two rounds, and rounds before do not count against later reads."""
    held = all_in_main(2)
    held.read("1")
    held.read("1")
    assert [held.evict(), held.evict()] == ["2", "1"]
    assert held.passed == ["1", "1"]


def test_only_what_leaves_small_unread_leaves_a_ghost() -> None:
    """An id that leaves main has had its time: it starts in small again."""
    held = all_in_main(10)
    assert held.evict() == "1"
    assert held.put("1").weight == held.order.small_bytes


def test_a_ghost_counts_once() -> None:
    """An id that came back by its ghost, and left main unread, has to prove itself."""
    held = filled(10)
    assert held.evict() == "0"
    held.put("0")
    held.drop("0")
    held.put("0")
    assert held.order.small_bytes == 1_000


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([0, 1 << 50]),
    st.lists(
        st.tuples(st.sampled_from(["put", "read", "drop", "evict", "refresh", "grow"]), st.integers(0, 79)),
        max_size=200,
    ),
)
def test_what_is_counted_is_what_is_held(start: int, steps: list[tuple[str, int]]) -> None:
    """Bytes, ids and small's share of both are right whatever happens, and every id leaves exactly once."""
    held = filled(60, start)
    for step, number in steps:
        held.do(step, str(number))
        weights = {row_id: entry.weight for row_id, entry in held.items()}
        assert (held.order.bytes, held.order.count) == (sum(weights.values()), len(weights))
        assert 0 <= held.order.small_bytes <= held.order.bytes
        assert len(held.order) >= held.order.count
    left = sorted(held.table)
    assert sorted(filter(None, (held.evict() for _ in left))) == left
    assert (held.order.bytes, held.order.small_bytes, held.order.count) == (0, 0, 0)


def test_where_all_are_hot_one_leaves_after_a_bounded_search() -> None:
    """The hand does not pass a whole cache of hot ids before it gives one up."""
    held = filled(5_000)
    for number in range(5_000):
        held.read(str(number))
    assert held.evict() is not None
    assert len(held.passed) == PATIENCE


def test_outdated_places_cannot_hold_up_a_search_for_ever() -> None:
    """After many drops a search gives up for now, and goes on where it stopped."""
    held = filled(3 * MOST_STEPS)
    for number in range(3 * MOST_STEPS - 1):
        held.drop(str(number))
    searches = [held.evict() for _ in range(3)]
    assert searches == [None, None, str(3 * MOST_STEPS - 1)]


def test_ids_that_come_and_go_leave_no_growing_trace() -> None:
    """Outdated places are tidied up also where nothing is ever evicted, and all that is held keeps one."""
    held = filled(100)
    for number in range(20_000):
        row_id = str(number % 100)
        held.drop(row_id)
        held.put(row_id)
    assert len(held.order) < 2_000
    searches = [held.evict() for _ in range(110)]
    assert sorted(victim for victim in searches if victim) == sorted(map(str, range(100)))


@given(st.lists(st.integers(0, 3), max_size=3_000), st.integers(0, 5))
def test_places_come_out_as_they_went_in(steps: list[int], start: int) -> None:
    """Numbers and ids come out together, first in, first out, whatever the chunks."""
    places, oracle = Places(start), deque[tuple[int, str]]()
    for number, step in enumerate(steps):
        if step or not oracle:
            oracle.append((places.append(str(number)), str(number)))
        else:
            assert places.pop() == oracle.popleft()
        assert len(places) == len(oracle)
    assert [places.pop() for _ in range(len(places))] == list(oracle)


def test_many_places_are_nothing_to_the_collector() -> None:
    """A hundred thousand ids are a few hundred objects that the collector looks at."""
    gc.collect()
    before = len(gc.get_objects())
    places = Places(0)
    for number in range(100_000):
        places.append(str(number))
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert len(places) == 100_000


def test_a_table_of_many_entries_is_many_small_dicts() -> None:
    """Past the size at which growing would hold everyone up no dict grows further, and nothing is lost."""
    table = EntryTable()
    entry = make_entry(PLAN, PACK, NOW_US, 0, 0)
    count = FEW + FEW // 2
    for number in range(count):
        table.put(str(number), entry)
        if number % 1_000 == 0:
            assert table.pop(str(number)) is entry
            table.put(str(number), entry)
            assert len(table) == number + 1
    assert set(table) == set(map(str, range(count)))
    assert all(str(number) in table for number in range(count))
    assert "no" not in table
    dicts = table.dicts()
    assert len(dicts) == SHARDS + 1
    assert max(map(len, dicts)) <= FEW
    assert (len(table), table.get("1")) == (0, None)
