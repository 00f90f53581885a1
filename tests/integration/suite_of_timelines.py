"""What every L3 store does with timelines: pages, ranges, erased ids. Part of `store_suite`."""

from __future__ import annotations

from tests.builders import a_plan
from tests.integration.store_calls import (
    NOW,
    SECOND,
    a_delete,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    erase,
    live,
    page,
    write,
    write_one,
    written,
)

from pannier.keys import FENCE_SORT_KEY, sort_key_range
from pannier_sidecar.tiers.l3 import Store


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

    async def test_rows_of_the_group_as_it_was_with_another_key_are_left_out(self, store: Store) -> None:
        """They lie where its records are looked for, and have no timestamp of its own form."""
        plan = a_timeline()
        records = a_plan(plan.name, table=plan.table)
        milliseconds = a_plan(plan.name, table=plan.table, timeline=True, unit="Milliseconds")
        await written(store, a_put(records, values={1: b"1"}))
        await written(store, a_put(milliseconds, values={1: b"2"}, sort_key="1700000000123"))
        await written(store, a_put(plan, values={1: b"3"}, sort_key=at(100)))
        answer = await page(store, plan)
        assert (live(answer), answer.exhausted) == ([at(100)], True)

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

    async def test_a_deleted_record_stays_deleted_when_its_id_is_erased(self, store: Store) -> None:
        """A live write that is older than the delete looks for no fence: the tombstone refuses it."""
        plan = a_timeline(tombstone_seconds=60)
        second = NOW // SECOND
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(second - 2)))
        await written(store, a_delete(plan, sort_key=at(second - 2), event_time_us=NOW))
        erasure = await erase(store, plan, now_us=NOW + SECOND)
        assert erasure.finished
        older = a_put(plan, values={1: b"2"}, sort_key=at(second - 2))
        assert (await write_one(store, older, now=NOW + SECOND)).verdict == "ignored_deleted"
        await erase(store, plan, fence=erasure.fence, now_us=NOW + 11 * SECOND)
        assert (await page(store, plan, now=NOW + 11 * SECOND)).rows == ()

    async def test_deletes_of_a_moment_ago_do_not_hold_up_a_removal(self, store: Store) -> None:
        """More of them than go into one page lie before what is to be removed."""
        plan = a_timeline(tombstone_seconds=60)
        second = NOW // SECOND
        for start in (0, 20):
            deletes = (a_delete(plan, sort_key=at(start + i), event_time_us=NOW) for i in range(20))
            await write(store, *deletes)
        await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(second - i)) for i in range(1, 4)))
        erasure = await erase(store, plan, max_rows=5, now_us=NOW + SECOND)
        while not erasure.finished:
            erasure = await erase(store, plan, max_rows=5, fence=erasure.fence, now_us=NOW + SECOND)
        assert erasure.fence.expires_at is not None
        assert (await page(store, plan, now=erasure.fence.expires_at * SECOND)).rows == ()

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
