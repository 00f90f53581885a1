"""What every L3 store must do, as one suite: the three `test_store_*` modules run it on their stores.

A module gives a ``store`` fixture and inherits `StoreSuite`. Each test names its groups apart, so a store
may be shared and keeps what earlier tests left.
"""

# Longer than 300 lines because a store conforms to all of it or does not conform: one class, inherited whole.

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

import pytest
from tests.builders import a_plan

from pannier.keys import FENCE_SORT_KEY, HIGHEST_SORT_KEY, LOWEST_SORT_KEY, sort_key_range, tie_breaker_text
from pannier.keys import sort_key as stored_sort_key
from pannier.values import is_opaque, opaque
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import (
    Erasure,
    Fragments,
    Mode,
    Put,
    PutOutcome,
    Row,
    RowKey,
    TimelinePage,
    TimelineQuery,
)
from pannier_sidecar.tiers.l3 import Store

NOW = 4_000_000_000_000_000
"""Ahead of every real clock: an emulator that removes expired rows must not meddle."""
SECOND = 1_000_000
TABLE = "conformance"
BUDGET_SECONDS = 30.0
"""Far more than any call needs: emulators on a busy machine stall."""

_names = itertools.count()


def a_stored_plan(**fields: Any) -> GroupPlan:
    """Make a plan of a group nobody used before, in the table that the suite shares."""
    return a_plan(f"g{os.getpid()}_{next(_names)}", **{"table": TABLE, **fields})


def a_timeline(**fields: Any) -> GroupPlan:
    """Make a timeline plan with ten-digit seconds."""
    return a_stored_plan(timeline=True, **fields)


def at(second: int, tie_breaker: str | int | None = None) -> str:
    """Compose the sort key of a timeline record."""
    return stored_sort_key(f"{second:010d}", None if tie_breaker is None else tie_breaker_text(tie_breaker))


def a_put(plan: GroupPlan, row_id: str = "1", values: Fragments | None = None, **fields: Any) -> Put:
    """Make a put; of a timeline, the event time is that of its sort key."""
    sort_key = fields.pop("sort_key", "null")
    mode: Mode = "replace" if plan.is_timeline else "merge"
    if plan.is_timeline:
        fields.setdefault("event_time_us", int(sort_key[:10]) * SECOND)
    known: dict[str, Any] = {"mode": mode, "event_time_us": None, "expires_at": None, **fields}
    return Put(plan=plan, id=row_id, sort_key=sort_key, values=values or {}, **known)


def a_delete(plan: GroupPlan, row_id: str = "1", *, now: int = NOW, **fields: Any) -> Put:
    """Make the tombstone put of a row."""
    known: dict[str, Any] = {
        "mode": "replace",
        "tombstone": True,
        "expires_at": now // SECOND + plan.retention.tombstone_seconds,
        **fields,
    }
    return a_put(plan, row_id, {}, **known)


async def write(store: Store, *puts: Put, now: int = NOW) -> list[PutOutcome]:
    """Write puts in one call."""
    return await store.write(puts, timeout_seconds=BUDGET_SECONDS, now_us=now)


async def write_one(store: Store, put: Put, now: int = NOW) -> PutOutcome:
    """Write one put."""
    (outcome,) = await write(store, put, now=now)
    return outcome


async def written(store: Store, put: Put, now: int = NOW) -> Row:
    """Write one put, which must be accepted, and return the row it left."""
    outcome = await write_one(store, put, now)
    assert outcome.verdict == "written", outcome
    assert outcome.row is not None
    return outcome.row


async def read(store: Store, plan: GroupPlan, row_id: str = "1") -> Row | None:
    """Read one record, strongly."""
    (row,) = await store.read_records([RowKey(plan, row_id)], strong=True, timeout_seconds=BUDGET_SECONDS)
    assert not isinstance(row, TierError), row
    return row


async def page(
    store: Store,
    plan: GroupPlan,
    row_id: str = "1",
    *,
    limit: int = 50,
    low: str = LOWEST_SORT_KEY,
    high: str = HIGHEST_SORT_KEY,
    now: int = NOW,
) -> TimelinePage:
    """Read one timeline, strongly."""
    query = TimelineQuery(plan, row_id, limit, low, high)
    (answer,) = await store.read_timelines([query], strong=True, timeout_seconds=BUDGET_SECONDS, now_us=now)
    assert not isinstance(answer, TierError), answer
    return answer


async def erase(store: Store, plan: GroupPlan, row_id: str = "1", **fields: Any) -> Erasure:
    """Erase one id."""
    known: dict[str, Any] = {"timeout_seconds": BUDGET_SECONDS, "now_us": NOW, **fields}
    return await store.erase(plan, row_id, **known)


def live(answer: TimelinePage) -> list[str]:
    """Sort keys of the rows that readers would see."""
    fence = answer.fence.event_time_us if answer.fence else -1
    return [row.sort_key for row in answer.rows if not row.deleted and row.newest_stamp_us > fence]


class MergeSuite:
    """Writes of named features."""

    async def test_a_merge_changes_only_the_features_it_names(self, store: Store) -> None:
        """Features that a merge does not name stay as they are."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"a"', 1: b"1"}, event_time_us=10))
        row = await written(store, a_put(plan, values={1: b"2"}, event_time_us=20))
        assert row.values == {0: b'"a"', 1: b"2"}
        assert await read(store, plan) == row

    async def test_a_late_merge_is_judged_feature_by_feature(self, store: Store) -> None:
        """A late x is not dropped because y is newer, and does not overwrite a newer x."""
        plan = a_stored_plan(features={"x": "Int64", "y": "Int64"})
        await written(store, a_put(plan, values={1: b"9"}, event_time_us=90))
        assert (await written(store, a_put(plan, values={0: b"5"}, event_time_us=50))).values == {
            0: b"5",
            1: b"9",
        }
        outcome = await write_one(store, a_put(plan, values={0: b"7", 1: b"7"}, event_time_us=70))
        assert (outcome.verdict, outcome.ignored) == ("written", frozenset({1}))
        assert outcome.row is not None
        assert outcome.row.values == {0: b"7", 1: b"9"}

    async def test_a_merge_older_than_all_it_names_is_ignored(self, store: Store) -> None:
        """The refusal brings the stored row, and nothing changes."""
        plan = a_stored_plan()
        row = await written(store, a_put(plan, values={0: b'"new"'}, event_time_us=20))
        outcome = await write_one(store, a_put(plan, values={0: b'"old"'}, event_time_us=19))
        assert (outcome.verdict, outcome.row, outcome.reason) == ("ignored_older", row, "Older")
        assert await read(store, plan) == row

    async def test_equal_event_times_are_accepted(self, store: Store) -> None:
        """A repeat is idempotent and the later arrival wins."""
        plan = a_stored_plan()
        first = await written(store, a_put(plan, values={0: b'"a"'}, event_time_us=20))
        again = await written(store, a_put(plan, values={0: b'"a"'}, event_time_us=20))
        assert again.values == first.values
        assert (await written(store, a_put(plan, values={0: b'"b"'}, event_time_us=20))).values == {0: b'"b"'}

    async def test_without_event_time_a_write_comes_after_everything_stored(self, store: Store) -> None:
        """Where the stored stamp is ahead of the clock the write takes that plus one."""
        plan = a_stored_plan()
        ahead = NOW + 7 * SECOND
        await written(store, a_put(plan, values={0: b'"ahead"'}, event_time_us=ahead))
        outcome = await write_one(store, a_put(plan, values={0: b'"later"'}))
        assert (outcome.verdict, outcome.event_time_us) == ("written", ahead + 1)
        assert outcome.row is not None
        assert outcome.row.values == {0: b'"later"'}

    async def test_writes_without_event_time_at_one_instant_follow_each_other(self, store: Store) -> None:
        """The clock need not move between two writes for the second to win."""
        plan = a_stored_plan()
        first = await write_one(store, a_put(plan, values={0: b'"1"'}))
        second = await write_one(store, a_put(plan, values={0: b'"2"'}))
        assert (first.event_time_us, second.event_time_us) == (NOW, NOW + 1)
        assert second.row is not None
        assert second.row.values == {0: b'"2"'}

    async def test_unset_removes_a_feature_and_null_does_not(self, store: Store) -> None:
        """Absent, null, empty and a null element are four different values."""
        plan = a_stored_plan(
            features={"gone": "String", "null": "String", "empty": "List<Int64>", "nulls": "List<Int64>"}
        )
        await written(
            store, a_put(plan, values={0: b'"x"', 1: b"null", 2: b"[]", 3: b"[null]"}, event_time_us=10)
        )
        row = await written(store, a_put(plan, unset=frozenset({0}), event_time_us=20))
        assert row.values == {1: b"null", 2: b"[]", 3: b"[null]"}
        late = await write_one(store, a_put(plan, values={0: b'"late"'}, event_time_us=15))
        assert late.verdict == "ignored_older"
        assert await read(store, plan) == row

    async def test_more_features_than_one_expression_takes(self, store: Store) -> None:
        """A merge of 128 features obeys the same rules as a small one."""
        plan = a_stored_plan(features={f"f{i}": "Int64" for i in range(128)})
        wide = dict.fromkeys(range(128), b"1")
        assert (await written(store, a_put(plan, values=wide, event_time_us=10))).values == wide
        await written(store, a_put(plan, values={5: b"5"}, event_time_us=50))
        outcome = await write_one(
            store, a_put(plan, values=dict.fromkeys(range(128), b"2"), event_time_us=20)
        )
        assert (outcome.verdict, outcome.ignored) == ("written", frozenset({5}))
        assert outcome.row is not None
        assert outcome.row.values == {**dict.fromkeys(range(128), b"2"), 5: b"5"}

    async def test_a_merge_that_names_nothing_is_invalid(self, store: Store) -> None:
        """It would neither write a value nor mean anything."""
        plan = a_stored_plan()
        assert (await write_one(store, a_put(plan))).verdict == "invalid"
        assert await read(store, plan) is None

    async def test_concurrent_merges_of_different_features_all_land(self, store: Store) -> None:
        """Each of twenty parallel writers finds its own feature stored, under a revision of its own."""
        plan = a_stored_plan(features={f"f{i}": "Int64" for i in range(20)})
        rows = await asyncio.gather(
            *(written(store, a_put(plan, values={i: b"1"}, event_time_us=100 + i)) for i in range(20))
        )
        stored = await read(store, plan)
        assert stored is not None
        assert stored.values == dict.fromkeys(range(20), b"1")
        assert len({row.revision for row in rows}) == 20


class ReplaceSuite:
    """Writes of whole rows, and ``force``."""

    async def test_a_replace_drops_what_it_does_not_name(self, store: Store) -> None:
        """The row is what the replace says."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"a"', 1: b"1"}, event_time_us=10))
        row = await written(store, a_put(plan, values={0: b'"b"'}, event_time_us=20, mode="replace"))
        assert (row.values, row.event_time_us, row.stamps_us) == ({0: b'"b"'}, 20, {})

    async def test_a_replace_keeps_features_stamped_newer(self, store: Store) -> None:
        """A late replace takes its place below the merges that came after it."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={1: b"9"}, event_time_us=90))
        replace = a_put(plan, values={0: b'"r"', 1: b"5"}, event_time_us=50, mode="replace")
        outcome = await write_one(store, replace)
        assert (outcome.verdict, outcome.ignored) == ("written", frozenset({1}))
        assert outcome.row is not None
        assert outcome.row.values == {0: b'"r"', 1: b"9"}
        assert (outcome.row.event_time_us, outcome.row.stamps_us) == (50, {1: 90})

    async def test_a_replace_older_than_the_last_one_is_ignored(self, store: Store) -> None:
        """A full write stamps every feature."""
        plan = a_stored_plan()
        row = await written(store, a_put(plan, values={0: b'"new"'}, event_time_us=20, mode="replace"))
        older = a_put(plan, values={0: b'"old"', 1: b"1"}, event_time_us=19, mode="replace")
        assert (await write_one(store, older)).verdict == "ignored_older"
        assert (
            await write_one(store, a_put(plan, values={1: b"1"}, event_time_us=19))
        ).verdict == "ignored_older"
        assert await read(store, plan) == row

    async def test_a_replace_without_event_time_takes_all_stamps_over(self, store: Store) -> None:
        """It comes after partial writes ahead of the clock too."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={1: b"1"}, event_time_us=NOW + SECOND))
        outcome = await write_one(store, a_put(plan, values={0: b'"all"'}, mode="replace"))
        assert (outcome.verdict, outcome.event_time_us) == ("written", NOW + SECOND + 1)
        assert outcome.row is not None
        assert outcome.row.values == {0: b'"all"'}

    async def test_force_ignores_event_time(self, store: Store) -> None:
        """A backfill overwrites newer features, and only those it names."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"new"', 1: b"1"}, event_time_us=90))
        row = await written(store, a_put(plan, values={0: b'"fixed"'}, event_time_us=10, mode="force"))
        assert row.values == {0: b'"fixed"', 1: b"1"}
        assert await read(store, plan) == row

    async def test_force_without_event_time_comes_after_everything_stored(self, store: Store) -> None:
        """Its stamp is above what it overwrote, so what was older before stays older."""
        plan = a_stored_plan()
        ahead = NOW + SECOND
        await written(store, a_put(plan, values={0: b'"x"'}, event_time_us=ahead))
        row = await written(store, a_put(plan, values={0: b'"fixed"'}, mode="force"))
        assert row.stamps_us == {0: ahead + 1}

    async def test_force_does_not_pass_a_tombstone(self, store: Store) -> None:
        """What was deleted above its event time stays deleted."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"x"'}, event_time_us=10))
        await written(store, a_delete(plan, event_time_us=50))
        below = a_put(plan, values={0: b'"back"'}, event_time_us=49, mode="force")
        assert (await write_one(store, below)).verdict == "ignored_deleted"
        above = a_put(plan, values={0: b'"new life"'}, event_time_us=50, mode="force")
        assert (await written(store, above)).values == {0: b'"new life"'}

    async def test_force_on_a_timeline_replaces_the_record(self, store: Store) -> None:
        """It is a full write there, as a plain write is."""
        plan = a_timeline()
        await written(store, a_put(plan, values={0: b'"a"', 1: b"1"}, sort_key=at(100)))
        row = await written(store, a_put(plan, values={0: b'"b"'}, sort_key=at(100), mode="force"))
        assert row.values == {0: b'"b"'}


class RevisionSuite:
    """The order of observed states."""

    async def test_a_revision_starts_at_the_clock_and_rises_with_every_write(self, store: Store) -> None:
        """Also where the clock steps back, and for late and repeated writes."""
        plan = a_stored_plan()
        first = await written(store, a_put(plan, values={0: b'"a"'}, event_time_us=10))
        assert first.revision == NOW + 1
        second = await written(store, a_put(plan, values={0: b'"b"'}, event_time_us=20), now=NOW - 5 * SECOND)
        late = await written(store, a_put(plan, values={1: b"1"}, event_time_us=5), now=NOW + 5 * SECOND)
        deleted = await written(store, a_delete(plan, event_time_us=30))
        assert [second.revision, late.revision, deleted.revision] == [NOW + 2, NOW + 3, NOW + 4]

    async def test_a_batch_applies_puts_of_one_item_in_order(self, store: Store) -> None:
        """The last of several writes of one row in one call is what stays."""
        plan = a_stored_plan()
        puts = [a_put(plan, values={0: b'"%d"' % i}, event_time_us=10) for i in range(6)]
        outcomes = await write(store, *puts)
        revisions = [outcome.row.revision for outcome in outcomes if outcome.row]
        assert revisions == sorted(revisions)
        assert len(set(revisions)) == 6
        row = await read(store, plan)
        assert row is not None
        assert row.values == {0: b'"5"'}


class RetentionSuite:
    """Rows whose time passes."""

    async def test_a_write_treats_an_expired_row_as_absent(self, store: Store) -> None:
        """Its features are gone, its stamps bind nobody, its revision continues."""
        plan = a_stored_plan()
        old = await written(
            store,
            a_put(plan, values={0: b'"old"', 1: b"1"}, event_time_us=NOW, expires_at=NOW // SECOND + 10),
        )
        later = NOW + 11 * SECOND
        stored = await read(store, plan)
        assert stored is not None
        assert stored.is_expired(later)
        row = await written(store, a_put(plan, values={1: b"2"}, event_time_us=NOW - 5), now=later)
        assert row.values == {1: b"2"}
        assert row.stamps_us == {1: NOW - 5}
        assert row.revision == old.revision + 1
        assert row.expires_at is None

    @pytest.mark.parametrize("mode", ["replace", "force"])
    async def test_full_and_forced_writes_treat_an_expired_row_as_absent(
        self, store: Store, mode: Mode
    ) -> None:
        """An expired tombstone protects nothing any more."""
        plan = a_stored_plan()
        await written(store, a_delete(plan, event_time_us=NOW, expires_at=NOW // SECOND + 10))
        put = a_put(plan, values={0: b'"x"'}, event_time_us=5, mode=mode)
        assert (await written(store, put, now=NOW + 11 * SECOND)).values == {0: b'"x"'}

    async def test_a_write_that_would_be_expired_is_not_stored(self, store: Store) -> None:
        """Late backfills of old events do not stay for ever."""
        plan = a_stored_plan()
        outcome = await write_one(store, a_put(plan, values={0: b'"x"'}, expires_at=NOW // SECOND))
        assert outcome.verdict == "ignored_expired"
        assert await read(store, plan) is None

    async def test_every_accepted_write_restamps_the_row(self, store: Store) -> None:
        """Retention is per row: longer, shorter and none at all."""
        plan = a_stored_plan()
        for expires_at in (NOW // SECOND + 500, NOW // SECOND + 100, None, NOW // SECOND + 50):
            put = a_put(plan, values={0: b'"x"'}, event_time_us=10, expires_at=expires_at)
            assert (await written(store, put)).expires_at == expires_at

    async def test_a_late_event_does_not_shorten_the_life_of_newer_features(self, store: Store) -> None:
        """Where retention counts from event time, a late merge keeps the later end."""
        plan = a_stored_plan(retention=1000, retention_basis="EventTime")
        second = NOW // SECOND
        await written(store, a_put(plan, values={0: b'"x"'}, event_time_us=NOW, expires_at=second + 1000))
        late = a_put(plan, values={1: b"1"}, event_time_us=NOW - 500 * SECOND, expires_at=second + 500)
        assert (await written(store, late)).expires_at == second + 1000
        newest = a_put(plan, values={1: b"2"}, event_time_us=NOW, expires_at=second + 900)
        assert (await written(store, newest)).expires_at == second + 900


class DeleteSuite:
    """Tombstones."""

    async def test_a_delete_is_a_full_write_of_nothing(self, store: Store) -> None:
        """The tombstone is read as such, ends with the group's tombstone time, and its revision rises."""
        plan = a_stored_plan(tombstone_seconds=3600)
        before = await written(store, a_put(plan, values={0: b'"x"', 1: b"1"}, event_time_us=10))
        row = await written(store, a_delete(plan, event_time_us=20))
        assert (row.deleted, row.values, row.stamps_us, row.event_time_us) == (True, {}, {}, 20)
        assert row.expires_at == NOW // SECOND + 3600
        assert row.revision > before.revision
        assert await read(store, plan) == row

    async def test_a_row_that_never_was_gets_a_tombstone_too(self, store: Store) -> None:
        """So that a late write does not create what was deleted before it came."""
        plan = a_stored_plan()
        await written(store, a_delete(plan, event_time_us=20))
        assert (
            await write_one(store, a_put(plan, values={0: b'"x"'}, event_time_us=19))
        ).verdict == "ignored_deleted"
        replace = a_put(plan, values={0: b'"x"'}, event_time_us=19, mode="replace")
        assert (await write_one(store, replace)).verdict == "ignored_deleted"

    async def test_a_newer_write_revives_a_row_without_its_former_features(self, store: Store) -> None:
        """What was deleted does not shine through."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"x"', 1: b"1"}, event_time_us=10))
        await written(store, a_delete(plan, event_time_us=20))
        row = await written(store, a_put(plan, values={1: b"2"}, event_time_us=21))
        assert (row.deleted, row.values, row.expires_at) == (False, {1: b"2"}, None)

    async def test_a_late_delete_spares_features_stamped_newer(self, store: Store) -> None:
        """The row goes on with them, and does not end like a tombstone."""
        plan = a_stored_plan()
        end = NOW // SECOND + 9_999_999
        put = a_put(plan, values={0: b'"old"'}, event_time_us=10, expires_at=end)
        await written(store, put)
        await written(store, a_put(plan, values={1: b"1"}, event_time_us=30, expires_at=end))
        outcome = await write_one(store, a_delete(plan, event_time_us=20))
        assert (outcome.verdict, outcome.ignored) == ("written", frozenset({1}))
        assert outcome.row is not None
        assert (outcome.row.deleted, outcome.row.values, outcome.row.expires_at) == (False, {1: b"1"}, end)

    async def test_a_delete_without_event_time_is_never_refused(self, store: Store) -> None:
        """It comes after stamps ahead of the clock."""
        plan = a_stored_plan()
        await written(store, a_put(plan, values={0: b'"x"'}, event_time_us=NOW + 9 * SECOND))
        row = await written(store, a_delete(plan))
        assert (row.deleted, row.event_time_us) == (True, NOW + 9 * SECOND + 1)


class TimelineSuite:
    """Many records of one id."""

    async def test_the_founding_documents_record(self, store: Store) -> None:
        """Timestamp 987654321 of nine digits is its own sort key."""
        plan = a_stored_plan(timeline=True, width=9, features={"article_id": "String", "session": "String"})
        put = a_put(
            plan,
            "1234",
            {0: b'"a"', 1: b'"1111"'},
            sort_key="987654321",
            event_time_us=987_654_321 * SECOND,
        )
        row = await written(store, put)
        assert (await page(store, plan, "1234")).rows == (row,)
        assert row.values == {0: b'"a"', 1: b'"1111"'}

    async def test_the_newest_rows_come_first_up_to_the_limit(self, store: Store) -> None:
        """A page says whether it reached the end of the range."""
        plan = a_timeline()
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in (3, 1, 4, 0, 2)))
        first = await page(store, plan, limit=2)
        assert (live(first), first.exhausted, first.fence) == ([at(104), at(103)], False, None)
        whole = await page(store, plan, limit=6)
        assert (len(whole.rows), whole.exhausted) == (5, True)
        assert (await page(store, plan, "nobody")).rows == ()

    async def test_a_range_takes_its_bounds_in(self, store: Store) -> None:
        """Both ends are inclusive, with a tie-breaker every record of the last instant."""
        plan = a_timeline(tie_breaker="count")
        for second in (100, 101, 102):
            for tie in (-3, 9, 10):
                await written(store, a_put(plan, values={1: b"%d" % tie}, sort_key=at(second, tie)))
        low, high = sort_key_range(100, 101, plan.width)
        answer = await page(store, plan, low=low, high=high)
        newest_first = [at(second, tie) for second in (101, 100) for tie in (10, 9, -3)]
        assert (live(answer), answer.exhausted) == (newest_first, True)

    async def test_a_range_that_no_time_lies_in_is_empty(self, store: Store) -> None:
        """Whatever its bounds, it is an answer and no error."""
        plan = a_timeline()
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(100)))
        for since, until in ((200, 150), (200, 300), (0, 50), (None, -1), (10**11, None)):
            low, high = sort_key_range(since, until, plan.width)
            answer = await page(store, plan, low=low, high=high)
            assert (answer.rows, answer.exhausted) == ((), True)

    async def test_pages_go_on_past_tombstones_and_expired_rows(self, store: Store) -> None:
        """The limit counts live rows; tombstones are given, expired rows are not."""
        plan = a_timeline()
        records = [a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(4)]
        gone = [a_delete(plan, sort_key=at(200 + i)) for i in range(15)]
        ended = [
            a_put(plan, values={1: b"1"}, sort_key=at(300 + i), expires_at=NOW // SECOND + 1)
            for i in range(15)
        ]
        assert {outcome.verdict for outcome in await write(store, *records, *gone, *ended)} == {"written"}
        answer = await page(store, plan, limit=3, now=NOW + 2 * SECOND)
        assert live(answer) == [at(103), at(102), at(101)]
        assert [row.sort_key for row in answer.rows if row.deleted] == [at(214 - i) for i in range(15)]
        assert len(answer.rows) == 18
        assert not answer.exhausted

    async def test_a_rewritten_record_says_so(self, store: Store) -> None:
        """Only where other features stood at the same instant and no tie-breaker keeps events apart."""
        plan, tied = a_timeline(), a_timeline(tie_breaker="count")
        first = a_put(plan, values={0: b'"a"'}, sort_key=at(100))
        other = a_put(plan, values={0: b'"b"'}, sort_key=at(100))
        assert [(await write_one(store, put)).replaced for put in (first, first, other)] == [
            False,
            False,
            True,
        ]
        await written(store, a_delete(plan, sort_key=at(100)))
        assert not (await write_one(store, first)).replaced
        for value in (b'"a"', b'"b"'):
            put = a_put(tied, values={0: value, 1: b"1"}, sort_key=at(100, 1))
            assert not (await write_one(store, put)).replaced

    async def test_a_deleted_instant_stays_deleted_for_older_writes_only(self, store: Store) -> None:
        """A record's event time is its timestamp: a rewrite of the same instant ties and is accepted."""
        plan = a_timeline()
        await written(store, a_put(plan, values={0: b'"a"'}, sort_key=at(100)))
        await written(store, a_delete(plan, sort_key=at(100)))
        assert live(await page(store, plan)) == []
        await written(store, a_put(plan, values={0: b'"b"'}, sort_key=at(100)))
        assert live(await page(store, plan)) == [at(100)]


class EraseSuite:
    """Deletes of whole ids."""

    async def test_an_erased_id_is_gone_and_nothing_late_brings_it_back(self, store: Store) -> None:
        """The fence hides what is older, whether its sort key existed or not; newer records are seen."""
        plan = a_timeline()
        now = 1_000 * SECOND
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(3)), now=now)
        erasure = await erase(store, plan, now_us=now)
        assert (erasure.removed, erasure.finished, erasure.fence.event_time_us) == (3, True, now)
        assert (erasure.fence.sort_key, erasure.fence.deleted) == (FENCE_SORT_KEY, True)
        late = a_put(plan, values={0: b'"personal"'}, sort_key=at(99), check_fence=True)
        outcome = await write_one(store, late, now=now + SECOND)
        assert (outcome.verdict, outcome.row) == ("ignored_deleted", erasure.fence)
        forced = a_put(plan, values={0: b'"x"'}, sort_key=at(100), mode="force", check_fence=True)
        assert (await write_one(store, forced, now=now + SECOND)).verdict == "ignored_deleted"
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(1_001)), now=now + SECOND)
        answer = await page(store, plan, now=now + 2 * SECOND)
        assert (live(answer), answer.fence) == ([at(1_001)], erasure.fence)

    async def test_what_was_erased_stays_gone_when_the_fence_ends(self, store: Store) -> None:
        """Rows are removed, not only hidden; so is a late one that found the fence."""
        plan = a_timeline(tombstone_seconds=60)
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(3)))
        await erase(store, plan)
        await write_one(store, a_put(plan, values={1: b"1"}, sort_key=at(105), check_fence=True))
        answer = await page(store, plan, now=NOW + 61 * SECOND)
        assert (answer.rows, answer.fence, answer.exhausted) == ((), None, True)

    async def test_a_live_event_that_slipped_under_the_fence_is_hidden(self, store: Store) -> None:
        """Readers do not rely on the writer having looked; a second pass removes it."""
        plan = a_timeline(tombstone_seconds=60)
        erasure = await erase(store, plan)
        await write_one(store, a_put(plan, values={1: b"1"}, sort_key=at(NOW // SECOND)))
        assert live(await page(store, plan)) == []
        again = await erase(store, plan, fence=erasure.fence)
        assert (again.fence, again.finished) == (erasure.fence, True)
        assert (await page(store, plan, now=NOW + 61 * SECOND)).rows == ()

    async def test_a_fence_rises_above_records_of_the_future(self, store: Store) -> None:
        """Planned events of an erased id are erased as well."""
        plan = a_timeline()
        future = NOW // SECOND + 86_400
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(second)) for second in (100, future)))
        erasure = await erase(store, plan)
        assert (erasure.fence.event_time_us, erasure.removed) == (future * SECOND, 2)
        assert live(await page(store, plan)) == []

    async def test_a_ranged_read_finds_the_fence_beside_its_range(self, store: Store) -> None:
        """A range that ends below the fence hides what the fence hides."""
        plan = a_timeline()
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(5)))
        erasure = await erase(store, plan, max_rows=2)
        assert not erasure.finished
        low, high = sort_key_range(100, 104, plan.width)
        answer = await page(store, plan, low=low, high=high)
        assert (live(answer), answer.fence) == ([], erasure.fence)

    async def test_removal_goes_on_where_it_stopped(self, store: Store) -> None:
        """A crash after the fence leaves nothing visible, and whoever comes next finishes."""
        plan = a_timeline()
        for start in (0, 30):
            await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(start + i)) for i in range(30)))
        erasure = await erase(store, plan, max_rows=25)
        assert (erasure.removed, erasure.finished) == (25, False)
        assert live(await page(store, plan)) == []
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(NOW // SECOND + 3)))
        passes = []
        while not erasure.finished:
            erasure = await erase(store, plan, max_rows=25, fence=erasure.fence, now_us=NOW + 9 * SECOND)
            passes.append(erasure.removed)
        assert sum(passes) == 35
        assert live(await page(store, plan)) == [at(NOW // SECOND + 3)]

    async def test_a_second_delete_takes_what_came_after_the_first(self, store: Store) -> None:
        """Without the first fence an erase is a new delete."""
        plan = a_timeline()
        first = await erase(store, plan)
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(NOW // SECOND + 3)))
        second = await erase(store, plan, now_us=NOW + 9 * SECOND)
        assert second.fence.revision > first.fence.revision
        assert second.fence.event_time_us == NOW + 9 * SECOND
        assert live(await page(store, plan)) == []

    async def test_fences_of_one_id_leave_the_others_alone(self, store: Store) -> None:
        """Also an id that begins like the erased one."""
        plan = a_timeline()
        for row_id in ("1", "1#", "10"):
            await written(store, a_put(plan, row_id, {1: b"1"}, sort_key=at(100)))
        await erase(store, plan, "1")
        assert [live(await page(store, plan, row_id)) for row_id in ("1", "1#", "10")] == [
            [],
            [at(100)],
            [at(100)],
        ]


class BulkSuite:
    """Many keys, many groups, every value."""

    async def test_answers_are_aligned_with_the_keys_asked(self, store: Store) -> None:
        """Duplicates and absent ids included, over more than one chunk and two groups in one table."""
        one, two = a_stored_plan(), a_stored_plan()
        puts = [
            a_put(plan, f"{i}", {0: b'"%s %d"' % (plan.name.encode(), i)})
            for plan in (one, two)
            for i in range(60)
        ]
        assert {outcome.verdict for outcome in await write(store, *puts)} == {"written"}
        keys = [RowKey(plan, f"{i}") for i in range(70) for plan in (one, two, one)]
        rows = await store.read_records(keys, strong=False, timeout_seconds=BUDGET_SECONDS)
        for key, row in zip(keys, rows, strict=True):
            if int(key.id) >= 60:
                assert row is None
            else:
                assert isinstance(row, Row)
                assert row.values == {0: b'"%s %s"' % (key.plan.name.encode(), key.id.encode())}

    async def test_timelines_are_answered_in_the_order_asked(self, store: Store) -> None:
        """Ranged, whole and absent ones in one call."""
        plan = a_timeline()
        for row_id in ("a", "b"):
            await write(store, *(a_put(plan, row_id, {1: b"1"}, sort_key=at(100 + i)) for i in range(3)))
        low, high = sort_key_range(100, 101, plan.width)
        asked = [("b", 5, low, high), ("x", 5, "0", "~"), ("a", 1, "0", "~"), ("b", 5, low, high)]
        queries = [TimelineQuery(plan, *fields) for fields in asked]
        pages = await store.read_timelines(queries, strong=False, timeout_seconds=BUDGET_SECONDS, now_us=NOW)
        found = [live(answer) for answer in pages if not isinstance(answer, TierError)]
        assert found == [[at(101), at(100)], [], [at(102)], [at(101), at(100)]]

    async def test_nothing_asked_is_nothing_done(self, store: Store) -> None:
        """Empty calls have empty answers."""
        assert await store.read_records([], strong=False, timeout_seconds=1) == []
        assert await store.read_timelines([], strong=False, timeout_seconds=1, now_us=NOW) == []
        assert await store.write([], timeout_seconds=1, now_us=NOW) == []

    @pytest.mark.parametrize("row_id", ["#", "a#b", "nül\u0000l", "ключ", "😀", "x" * 1800, " ", "~", "null"])
    async def test_any_id_is_an_id(self, store: Store, row_id: str) -> None:
        """Ids are compared as bytes."""
        plan = a_stored_plan(max_id_bytes=1800)
        row = await written(store, a_put(plan, row_id, {0: b'"x"'}))
        assert await read(store, plan, row_id) == row
        assert await read(store, plan, row_id[:-1] + "?") is None

    async def test_every_type_comes_back_as_it_was(self, store: Store) -> None:
        """Canonical fragments are stable through the store."""
        values = {
            "String": '"ü \\" 😀"',
            "Int64": "-9223372036854775808",
            "Float64": "-1.5",
            "Bool": "true",
            "Bytes": '"AP8="',
            "Timestamp": '"2013-01-01T05:00:00.000001Z"',
            "Json": '{"b":[1,null,{"a":1.5}]}',
            "List<String>": '["",null,"b"]',
            "List<Bytes>": '["AA==","/w=="]',
            "Set<String>": '["a","b"]',
            "Set<Int64>": "[-1,2,10]",
            "Set<Bytes>": '["AA==","AQ=="]',
            "Map<Float64>": '{"x":1.25,"y":null}',
            "Vector<3>": "[0.1,0.0,-2.5]",
        }
        plan = a_stored_plan(features={f"f{i}": kind for i, kind in enumerate(values)})
        fragments = {
            feature.id: feature.codec.parse(text.encode(), feature.name)
            for feature, text in zip(plan.features, values.values(), strict=True)
        }
        await written(store, a_put(plan, values=fragments))
        row = await read(store, plan)
        assert row is not None
        assert row.values == fragments

    async def test_features_of_a_newer_catalog_survive_an_older_writer(self, store: Store) -> None:
        """An id that the plan does not know travels as an opaque fragment and is kept by merges."""
        new = a_stored_plan(features={"a": "String", "b": "String"})
        old = a_plan(new.name, table=TABLE, features={"a": "String"})
        await written(store, a_put(new, values={0: b'"a"', 1: b'"b"'}, event_time_us=10))
        await written(store, a_put(old, values={0: b'"c"'}, event_time_us=20))
        await written(store, a_put(old, unset=frozenset({0}), event_time_us=30))
        row = await read(store, new)
        assert row is not None
        assert row.values == {1: b'"b"'}

    async def test_an_opaque_value_can_be_written_back(self, store: Store) -> None:
        """A fragment without a known type is stored as the attribute it was."""
        plan = a_stored_plan(features={"a": "String"})
        fragment = opaque({"L": [{"N": "1"}, {"B": b"\x00"}]})
        row = await written(store, a_put(plan, values={7: fragment}))
        assert is_opaque(row.values[7])
        assert await read(store, plan) == row

    async def test_an_item_over_the_limit_is_refused(self, store: Store) -> None:
        """What DynamoDB could not hold no store takes, in one write or in several."""
        plan = a_stored_plan(features={f"f{i}": {"type": "String", "max_bytes": 500_000} for i in range(2)})
        half = b'"' + b"x" * 250_000 + b'"'
        outcome = await write_one(store, a_put(plan, "whole", {0: half, 1: half}))
        assert (outcome.verdict, outcome.reason) == ("invalid", "ItemTooLarge")
        assert await read(store, plan, "whole") is None
        row = await written(store, a_put(plan, "parts", {0: half}))
        outcome = await write_one(store, a_put(plan, "parts", {1: half}))
        assert (outcome.verdict, outcome.reason) == ("invalid", "ItemTooLarge")
        assert await read(store, plan, "parts") == row

    async def test_a_large_batch_of_large_rows(self, store: Store) -> None:
        """More than one answer of DynamoDB can hold."""
        plan = a_stored_plan(features={"f": {"type": "String", "max_bytes": 400_000}})
        large = b'"' + b"x" * 350_000 + b'"'
        await write(store, *(a_put(plan, f"{i}", {0: large}) for i in range(60)))
        keys = [RowKey(plan, f"{i}") for i in range(60)]
        rows = await store.read_records(keys, strong=True, timeout_seconds=BUDGET_SECONDS)
        assert all(isinstance(row, Row) and row.values == {0: large} for row in rows)

    async def test_a_store_says_of_its_groups_whether_they_can_be_used(self, store: Store) -> None:
        """And names itself in a log line."""
        plan, timeline = a_stored_plan(), a_timeline()
        assert await store.check([plan, timeline]) == {plan.name: None, timeline.name: None}
        await store.create_tables([plan])
        assert "Store" in repr(store)


class StoreSuite(
    MergeSuite, ReplaceSuite, RevisionSuite, RetentionSuite, DeleteSuite, TimelineSuite, EraseSuite, BulkSuite
):
    """All of it."""
