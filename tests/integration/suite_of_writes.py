"""What every L3 store does with writes of rows. Part of `store_suite`."""

from __future__ import annotations

import asyncio

from tests.integration.store_calls import (
    NOW,
    SECOND,
    a_delete,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    read,
    write,
    write_one,
    written,
)

from pannier_sidecar.tiers.l3 import Store


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
