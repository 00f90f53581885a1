"""L1: bounded in bytes, hot keys stay, negatives have a small share, refreshes come early by the rule."""

from __future__ import annotations

import gc
import math
import random
import sys
import tracemalloc
from collections import deque

import msgspec
import pytest
from tests.builders import a_catalog, a_group, a_plan, a_policy

from pannier_sidecar.entry.freshness import Deadlines, Freshness, early_window_us, judge
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_entry import early_refresh_us, make_entry, weight_of
from pannier_sidecar.tiers.l1_local import MOST_EVICTIONS, NEGATIVE_SHARE, L1Cache

NOW_US = 1_700_000_000_000_000
SECOND = 1_000_000


def found(size: int = 100, number: int = 0) -> Record:
    """A row of about this many bytes."""
    then = NOW_US + number
    return Record(Kind.FOUND, then, then, NOW_US - number, None, {0: b'"' + b"x" * size + b'"'})


MISSING = Record(Kind.MISSING, 9, NOW_US, 0, None, {})


def put(l1: L1Cache, plan: GroupPlan, row_id: str, state: Record | Timeline, now_us: int = NOW_US) -> None:
    """Take a state in."""
    l1.put(plan, row_id, pack_state(plan, row_id, state, now_us), now_us)


def look(l1: L1Cache, plan: GroupPlan, row_id: str, now_us: int = NOW_US) -> Freshness:
    """Read a key once."""
    return l1.look(plan, row_id, now_us, 5_000)[1]


def test_a_group_stays_within_its_share_and_the_process_within_its_budget() -> None:
    """Whatever is put in, neither bound is passed."""
    small, large = a_plan("small", max_bytes=50_000), a_plan("large", max_bytes=10_000_000)
    l1 = L1Cache(200_000)
    for number in range(2_000):
        put(l1, small, str(number), found())
        put(l1, large, str(number), found(random.Random(number).randrange(2_000)))
        assert l1.segment(small).bytes <= 50_000
        assert l1.bytes <= 200_000
    assert l1.bytes > 150_000
    assert l1.usage()["small"].evictions > 0


def test_keys_read_once_do_not_push_out_a_hot_one() -> None:
    """A scan over many cold keys leaves what is read again and again where it is."""
    plan = a_plan("scan", max_bytes=100_000)
    l1 = L1Cache(1_000_000)
    hot = [f"hot{number}" for number in range(20)]
    for row_id in hot:
        put(l1, plan, row_id, found())
    for number in range(5_000):
        put(l1, plan, f"cold{number}", found())
        if number % 10 == 0:
            for row_id in hot:
                look(l1, plan, row_id)
    assert all(row_id in l1.segment(plan).entries for row_id in hot)


def test_negatives_take_a_small_share_and_found_rows_stay() -> None:
    """A flood of ids that do not exist evicts other such ids, not rows."""
    plan = a_plan("misses", max_bytes=1_000_000)
    l1 = L1Cache(10_000_000)
    for number in range(500):
        put(l1, plan, f"row{number}", found())
    for number in range(5_000):
        put(l1, plan, f"no{number}", MISSING)
    segment = l1.segment(plan)
    assert segment.negative_bytes <= NEGATIVE_SHARE * 1_000_000
    assert all(f"row{number}" in segment.entries for number in range(500))


def test_bytes_are_counted_exactly_through_every_change() -> None:
    """Puts, replacements, other shapes, drops and evictions end at zero."""
    plan = a_plan("sums", max_bytes=40_000)
    l1 = L1Cache(10_000_000)
    dice = random.Random(7)
    for _ in range(3_000):
        row_id = dice.choice(["a", "é", "日本", *map(str, range(300))])
        action = dice.random()
        if action < 0.6:
            put(l1, plan, row_id, found(dice.randrange(300)) if dice.random() < 0.8 else MISSING)
        elif action < 0.8:
            l1.drop(RowKey(plan, row_id))
        else:
            look(l1, plan, row_id)
    for row_id in list(l1.segment(plan).entries):
        l1.drop(RowKey(plan, row_id))
    assert (l1.segment(plan).bytes, l1.segment(plan).negative_bytes, l1.bytes) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["record", "timeline"])
def test_the_weight_is_what_memory_it_takes(kind: str) -> None:
    """What L1 counts is within a fifth of what the process allocates for it."""
    features = {"a": "String", "b": "Int64"}
    plan = a_plan("heavy", features=features, timeline=kind == "timeline", max_bytes=1 << 30)
    l1 = L1Cache(1 << 30)
    count = 400 if plan.is_timeline else 5_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        state = records(40, number) if plan.is_timeline else found(100, number)
        put(l1, plan, f"id-{number:07d}", state, NOW_US + number)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.8 < l1.bytes / taken < 1.2


def records(count: int, number: int) -> Timeline:
    """A whole timeline of small records."""
    registers = {
        f"{tick:010d}": Record(
            Kind.FOUND, NOW_US + tick, NOW_US + number, NOW_US, None, {0: b'"abcdefgh"', 1: b"12345"}
        )
        for tick in range(count)
    }
    return Timeline(NOW_US, "", "", 0, NOW_US + number, registers)


def test_a_timeline_is_held_in_little_more_than_its_own_bytes() -> None:
    """Fragments are held once: fifty records cost less than twice their JSON."""
    features = {"a": "String", "b": "Int64", "c": "Float64", "d": "String"}
    plan = a_plan("lean", features=features, timeline=True, max_limit=50, default_limit=30)
    values = {0: b'"' + b"a" * 60 + b'"', 1: b"1234567", 2: b"1.5", 3: b'"' + b"d" * 60 + b'"'}
    registers = {
        f"{tick:010d}": Record(Kind.FOUND, NOW_US + tick, NOW_US, tick * SECOND, None, values)
        for tick in range(1_000_000_000, 1_000_000_050)
    }
    pack = pack_state(plan, "1", Timeline(NOW_US, "", "", 0, NOW_US, registers), NOW_US)
    entry = make_entry(plan, pack, NOW_US, 0, 0)
    json_bytes = 50 * (len(b'{"timestamp":1000000000,"features":{"a":,"b":,"c":,"d":}},') + 134)
    assert weight_of("1", entry) < 2 * json_bytes


def test_the_ring_does_not_grow_with_keys_that_come_and_go() -> None:
    """Places of ids that were dropped or changed sides are given up."""
    plan = a_plan("flip", max_bytes=1_000_000)
    l1 = L1Cache(10_000_000)
    for number in range(20_000):
        put(l1, plan, "a", found() if number % 2 else MISSING)
        if number % 3 == 0:
            l1.drop(RowKey(plan, "a"))
    segment = l1.segment(plan)
    assert len(segment.found) + len(segment.missing) < 5_000


def test_a_group_that_is_gone_leaves_nothing() -> None:
    """A catalog without the group frees its bytes: at once on the books, step by step in memory."""
    l1 = L1Cache(10_000_000)
    gone = a_plan("gone")
    for number in range(2_000):
        put(l1, gone, str(number), found())
    ready = l1.segment(gone).keep_ready()
    assert ready is not None
    ready.add("1", b"x", NOW_US)
    assert sys.getrefcount(gone) > 2_000
    l1.follow(ReadPlan(a_catalog(a_group("other"))))
    assert (l1.bytes, dict(l1.usage())) == (0, {})
    steps = 1
    while l1.tend(NOW_US):
        steps += 1
    assert 4 <= steps <= 6
    assert sys.getrefcount(gone) < 10


def test_a_lowered_limit_is_reached_step_by_step() -> None:
    """An edit that takes most of a group's room evicts so many at once and ends at the new limit."""
    plan = a_plan("less", max_bytes=10_000_000)
    l1 = L1Cache(100_000_000)
    for number in range(5_000):
        put(l1, plan, str(number), found())
    l1.follow(ReadPlan(a_catalog(a_group("less", max_bytes=100_000))))
    assert l1.tend(NOW_US)
    assert l1.usage()["less"].evictions == MOST_EVICTIONS
    while l1.tend(NOW_US):
        pass
    assert 50_000 < l1.bytes <= 100_000


def test_in_a_full_process_all_groups_give_way_by_the_same_share() -> None:
    """Who was promised four times as much keeps four times as much; who takes less keeps that."""
    limits = {"large": 400_000, "middle": 100_000, "modest": 100_000}
    plans = {name: a_plan(name, max_bytes=limit) for name, limit in limits.items()}
    l1 = L1Cache(300_000)
    for number in range(3_000):
        put(l1, plans["large"], str(number), found())
        put(l1, plans["middle"], str(number), found())
        put(l1, plans["modest"], str(number % 20), found())
    taken = {name: l1.segment(plan).bytes for name, plan in plans.items()}
    assert taken["large"] / taken["middle"] == pytest.approx(4, rel=0.1)
    assert len(l1.segment(plans["modest"]).entries) == 20


def test_on_second_hit_a_load_comes_in_at_its_second_time() -> None:
    """The first load is served and not held; the second is, and from then on each one replaces it."""
    policy = msgspec.structs.replace(a_policy(), local_admission="OnSecondHit")
    plan = a_plan("door", policy=policy)
    l1 = L1Cache(10_000_000)
    pack = pack_state(plan, "a", found(), NOW_US)
    for held in (False, True, True):
        entry = l1.put_loaded(plan, "a", pack, NOW_US)
        assert entry.row == pack.row
        assert (l1.held(plan, "a", NOW_US) is not None) is held
    usage = l1.usage()["door"]
    assert (usage.stores, usage.turned_away) == (1, 1)


def test_a_write_comes_in_whatever_admission_says() -> None:
    """Admission governs loads; what this sidecar wrote is held at once."""
    policy = msgspec.structs.replace(a_policy(), local_admission="OnSecondHit")
    plan = a_plan("writes", policy=policy)
    l1 = L1Cache(10_000_000)
    put(l1, plan, "a", found())
    assert l1.held(plan, "a", NOW_US) is not None


def test_many_entries_are_nothing_to_the_collector() -> None:
    """Entries, orders and ready rows of 50,000 ids are a few hundred objects that the collector looks at.

    Nor are there long lists of ids among them, which it would have to walk through.
    """
    plan = a_plan("many", max_bytes=1 << 30)
    l1 = L1Cache(1 << 30)
    ready = l1.segment(plan).keep_ready()
    assert ready is not None
    gc.collect()
    objects, items = walked_through()
    for number in range(50_000):
        put(l1, plan, str(number), found(number=number))
        ready.add(str(number), b"x", NOW_US + number * 10_000)
    gc.collect()
    more_objects, more_items = walked_through()
    assert more_objects - objects < 500
    assert more_items - items < 5_000


def walked_through() -> tuple[int, int]:
    """How many objects the collector looks at, and how many items in containers of them."""
    tracked = gc.get_objects()
    return len(tracked), sum(len(one) for one in tracked if type(one) in {list, dict, set, deque})


def test_jitter_only_shortens_and_soft_and_hard_shorten_together() -> None:
    """No entry lives longer than its policy says, and soft never passes hard."""
    plan = a_plan("jitter", soft=100, hard=200, jitter_percent=50, remote="Disabled")
    softs = set()
    for number in range(50):
        l1 = L1Cache(1_000_000, dice=lambda draw=number / 50: draw)  # type: ignore[misc]
        put(l1, plan, "a", found())
        entry = l1.segment(plan).entries["a"]
        soft, hard = (entry.soft_us - NOW_US) / SECOND, (entry.hard_us - NOW_US) / SECOND
        assert 50 <= soft <= 100
        assert hard == pytest.approx(2 * soft, abs=1e-5)
        softs.add(soft)
    assert len(softs) == 50


def test_the_early_refresh_drawn_once_is_the_one_rolled_at_every_read() -> None:
    """Both ways the same share of entries is refreshed early, at the same mean distance from soft."""
    plan = a_plan("early", soft=60, hard=120, early_factor=1.0, remote="Disabled")
    dice = random.Random(42)
    rate = 2.0
    drawn = [_drawn(plan, dice, rate) for _ in range(4_000)]
    rolled = [_rolled(dice, rate) for _ in range(1_500)]
    share_drawn, share_rolled = (sum(x > 0 for x in xs) / len(xs) for xs in (drawn, rolled))
    assert share_drawn == pytest.approx(share_rolled, abs=0.04)
    assert share_drawn > 0.9, "a hot key is refreshed before it turns soft"
    mean_drawn, mean_rolled = (sum(xs) / len(xs) for xs in (drawn, rolled))
    assert mean_drawn == pytest.approx(mean_rolled, rel=0.1)


def _drawn(plan: GroupPlan, dice: random.Random, rate: float) -> float:
    """Seconds before soft at which the first read after the drawn moment comes."""
    entry = make_entry(plan, pack_state(plan, "a", found(), NOW_US), NOW_US, 0, 0)
    now_us = NOW_US + 30 * SECOND
    entry.reads = int(rate * 30)
    moment_us = early_refresh_us(entry, now_us, 1_000, dice.random())
    first_read_us = moment_us + dice.expovariate(rate) * SECOND
    return max(entry.soft_us - first_read_us, 0) / SECOND


def _rolled(dice: random.Random, rate: float) -> float:
    """The same with the dice rolled at every read."""
    window_us = early_window_us(1.0, reads_per_second=rate, load_us=1_000, soft_ttl_us=60 * SECOND)
    due = Deadlines(60 * SECOND, 120 * SECOND)
    now_us = 30.0 * SECOND
    while True:
        now_us += dice.expovariate(rate) * SECOND
        if now_us >= due.soft_us:
            return 0
        if judge(int(now_us), due, window_us, dice.random) is Freshness.EARLY:
            return (due.soft_us - now_us) / SECOND


def test_a_hot_key_is_refreshed_early_and_served_meanwhile() -> None:
    """Before soft an early refresh is due by the dice, once the read rate is known."""
    plan = a_plan("hot", soft=60, hard=120, early_factor=1.0, remote="Disabled")
    l1 = L1Cache(1_000_000, dice=lambda: 1 - math.exp(-1))
    put(l1, plan, "a", found())
    outcomes = [look(l1, plan, "a", NOW_US + tick * SECOND // 10) for tick in range(600)]
    assert set(outcomes[:300]) == {Freshness.FRESH}
    assert Freshness.EARLY in outcomes
    assert Freshness.SOFT not in outcomes
    assert look(l1, plan, "a", NOW_US + 61 * SECOND) is Freshness.SOFT


def test_a_renewal_left_to_others_is_due_again_after_a_while_and_not_before() -> None:
    """Until then the entry is fresh, and past it soft; its hard deadline does not move."""
    plan = a_plan(soft=10, hard=60)
    l1, key = L1Cache(1_000_000), RowKey(plan, "a")
    put(l1, plan, "a", found())
    for at_us in (NOW_US + SECOND, NOW_US + 20 * SECOND):
        entry = l1.renew_at(key, at_us, at_us - SECOND)
        assert entry is not None
        assert look(l1, plan, "a", at_us - 1) is Freshness.FRESH
        assert look(l1, plan, "a", at_us) is Freshness.SOFT
        assert look(l1, plan, "a", NOW_US + 60 * SECOND) is Freshness.EXPIRED
        assert entry.hard_us == NOW_US + 60 * SECOND


def test_a_renewal_left_to_others_never_outlives_the_hard_deadline() -> None:
    """What is past hard is loaded, not waited for; and what shows nothing is no answer."""
    plan = a_plan(soft=10, hard=60)
    l1, key, hard_us = L1Cache(1_000_000), RowKey(plan, "a"), NOW_US + 60 * SECOND
    assert l1.renew_at(key, hard_us, NOW_US) is None
    put(l1, plan, "a", found())
    entry = l1.renew_at(key, hard_us + SECOND, hard_us - 1)
    assert entry is not None
    assert entry.retry_at_us == hard_us
    assert l1.renew_at(key, hard_us + SECOND, hard_us) is None
