"""Entries of an older epoch count as soft-expired at their next look, and cost nothing until then."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import a_catalog, a_group

from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.packing import pack_state
from pannier_sidecar.plan import GroupPlan, ReadPlan
from pannier_sidecar.row import RowKey
from pannier_sidecar.tiers.l1_entry import LocalEntry
from pannier_sidecar.tiers.l1_local import L1Cache
from pannier_sidecar.tiers.ready_rows import ReadyRows
from pannier_sidecar.tiers.terms import NOT_HELD, Terms

NOW_US = ManualClock().now_us()


def a_plan(**policy: Any) -> ReadPlan:
    return ReadPlan(a_catalog(a_group("users", schema_hash="same", **policy)))


def put(l1: L1Cache, plan: GroupPlan, row_id: str, epoch: int | None = None) -> LocalEntry:
    state = Record(Kind.FOUND, NOW_US, NOW_US, NOW_US, None, {0: b'"x"'})
    return l1.put(plan, row_id, pack_state(plan, row_id, state, NOW_US), NOW_US, epoch)


def test_a_load_that_began_before_a_gap_ends_in_the_epoch_of_its_beginning() -> None:
    """What was announced during the gap may be missing in what it brings."""
    l1, plan = L1Cache(1 << 20), a_plan().groups["users"]
    began = l1.epoch
    l1.doubt(["users"])
    assert put(l1, plan, "a", began).terms is not l1.segment(plan).terms
    assert l1.look(plan, "a", NOW_US, 0)[1] is Freshness.SOFT
    put(l1, plan, "b", l1.epoch)
    l1.doubt(["others"])
    put(l1, plan, "c", l1.epoch - 1)
    assert l1.look(plan, "b", NOW_US, 0)[1] is l1.look(plan, "c", NOW_US, 0)[1] is Freshness.FRESH


def test_entries_keep_their_deadlines_as_long_as_nobody_can_tell_news() -> None:
    """An outage of Redis must not send every read on to L3; the doubt waits until Redis answers."""
    can_refresh = False
    l1, plan = L1Cache(1 << 20, can_refresh=lambda: can_refresh), a_plan(soft=10).groups["users"]
    put(l1, plan, "a")
    l1.doubt(["users"])
    assert l1.look(plan, "a", NOW_US, 0)[1] is Freshness.FRESH
    assert l1.look(plan, "a", NOW_US + 10_000_000, 0)[1] is Freshness.SOFT
    l1.amend(RowKey(plan, "a"), held(l1, plan, "a"), held(l1, plan, "a").pack, NOW_US)
    assert l1.look(plan, "a", NOW_US, 0)[1] is Freshness.FRESH
    can_refresh = True
    assert l1.look(plan, "a", NOW_US, 0)[1] is Freshness.SOFT


def test_an_edited_policy_keeps_the_doubt() -> None:
    """A new plan gives an entry new deadlines; that messages were missed it cannot mend."""
    l1, old, new = L1Cache(1 << 20), a_plan(soft=10), a_plan(soft=100)
    l1.follow(old)
    put(l1, old.groups["users"], "a")
    put(l1, old.groups["users"], "b")
    l1.doubt(["users"])
    l1.follow(new)
    plan = new.groups["users"]
    assert l1.look(plan, "a", NOW_US, 0)[1] is Freshness.SOFT
    put(l1, plan, "b")
    assert l1.look(plan, "b", NOW_US + 50_000_000, 0)[1] is Freshness.FRESH
    assert held(l1, plan, "b").terms is l1.segment(plan).terms


def test_a_new_plan_alone_makes_nothing_soft() -> None:
    """An edit of another group, or of a TTL, is no gap."""
    l1, old, new = L1Cache(1 << 20), a_plan(), a_plan()
    put(l1, old.groups["users"], "a")
    l1.follow(new)
    assert l1.look(new.groups["users"], "a", NOW_US, 0)[1] is Freshness.FRESH
    entry = held(l1, new.groups["users"], "a")
    assert entry.terms is l1.segment(new.groups["users"]).terms


def test_what_is_put_under_a_plan_that_was_left_is_looked_at_again() -> None:
    """A request that began before an edit ends under the plan it began with."""
    l1, old, new = L1Cache(1 << 20), a_plan(), a_plan()
    l1.follow(old)
    put(l1, old.groups["users"], "a")
    l1.follow(new)
    late = put(l1, old.groups["users"], "a")
    assert late.terms is not l1.segment(new.groups["users"]).terms
    renewed = held(l1, new.groups["users"], "a")
    assert renewed.plan is new.groups["users"]
    assert renewed.terms is l1.segment(renewed.plan).terms


def test_rows_that_wait_ready_are_handed_over_to_be_freed_slowly() -> None:
    """Freeing very many at once would stall every request; `L1Cache.tend` does it bit by bit."""
    ready = ReadyRows()
    ready.add("a", b"x", NOW_US)
    assert ready.hand_over() == {"a": b"x"}
    assert (ready.rows, ready.hand_over()) == ({}, {})
    l1, plan = L1Cache(1 << 20), a_plan().groups["users"]
    place = l1.segment(plan).keep_ready()
    assert place is not None
    for i in range(600):
        place.add(str(i), b"x", NOW_US)
    l1.doubt(["users"])
    assert [l1.tend(NOW_US), l1.tend(NOW_US)] == [True, False]


def test_doubt_empties_the_ready_rows_of_the_group() -> None:
    """The quickest path asks for no epoch, so nothing may wait there."""
    l1, plan = L1Cache(1 << 20), a_plan().groups["users"]
    ready = l1.segment(plan).keep_ready()
    assert ready is not None
    ready.add("a", b"x", NOW_US + 1)
    l1.doubt(["others"])
    assert ready.rows
    l1.doubt(["users"])
    assert not ready.rows


def test_terms_say_what_they_are() -> None:
    """For whoever debugs."""
    assert repr(NOT_HELD) == "<Terms epoch -1 of None>"
    assert repr(Terms(None, 3)) == "<Terms epoch 3 of None>"


def held(l1: L1Cache, plan: GroupPlan, row_id: str) -> LocalEntry:
    entry = l1.held(plan, row_id, NOW_US)
    assert entry is not None
    return entry


@pytest.mark.parametrize("rows", [0, 5])
def test_a_segment_that_never_was_has_nothing_to_doubt(rows: int) -> None:
    """Groups that nobody read yet."""
    l1 = L1Cache(1 << 20)
    for _ in range(rows):
        l1.doubt(["users"])
    assert l1.epoch == rows
