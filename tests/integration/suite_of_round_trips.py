"""How often a store on DynamoDB asks it. Part of `dynamodb_suite`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.fault_proxy import FaultProxy
from tests.integration.dynamodb_stores import a_store
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    NOW,
    SECOND,
    a_delete,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    erase,
    write,
    write_one,
    written,
)

from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore


class RoundTripSuite:
    """How often DynamoDB is asked."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def proxy(self, emulator_url: str) -> AsyncIterator[FaultProxy]:
        async with FaultProxy(emulator_url) as running:
            yield running

    @pytest_asyncio.fixture(loop_scope="module")
    async def counted(self, proxy: FaultProxy) -> AsyncIterator[DynamoDBStore]:
        async with a_store(proxy.url) as opened:
            proxy.calls.clear()
            yield opened

    async def test_the_common_writes_take_one_round_trip(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """Merge, unset, replace, delete, revival, force; records new, repeated and corrected."""
        plan, timeline, tied = a_stored_plan(), a_timeline(), a_timeline(tie_breaker="count")
        puts = [
            a_put(plan, values={0: b'"a"'}, event_time_us=10, mode="replace"),
            a_put(plan, values={0: b'"b"', 1: b"1"}, event_time_us=20),
            a_put(plan, values={1: b"2"}, event_time_us=20),
            a_put(plan, unset=frozenset({1}), event_time_us=30),
            a_put(plan, values={1: b"4"}, mode="force", event_time_us=15),
            a_put(plan, "2", {0: b'"c"'}, mode="replace"),
            a_delete(plan, "2", event_time_us=NOW + 1),
            a_put(plan, "2", {0: b'"d"'}, event_time_us=NOW + 2),
            a_put(timeline, values={0: b'"e"'}, sort_key=at(NOW // SECOND)),
            a_put(tied, values={0: b'"f"', 1: b"1"}, sort_key=at(NOW // SECOND, 1)),
            a_put(tied, values={0: b'"g"', 1: b"1"}, sort_key=at(NOW // SECOND, 1)),
        ]
        for put in puts:
            proxy.calls.clear()
            await written(
                counted, put, now=NOW + (put is puts[-1])
            )  # a correction comes after what it corrects
            assert proxy.calls == {"UpdateItem": 1}, put

    async def test_what_calls_for_a_decision_takes_two(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """A first merge, a partly late one, a rewritten record; what is ignored takes one."""
        plan, timeline = a_stored_plan(), a_timeline()
        puts = [
            (a_put(plan, values={0: b'"a"'}, event_time_us=10), 2),
            (a_put(plan, values={0: b'"b"', 1: b"1"}, event_time_us=5), 2),
            (a_put(plan, values={0: b'"b"'}, event_time_us=5), 1),
            (a_put(plan, values={0: b'"c"'}, event_time_us=20, mode="replace"), 2),
            (a_put(timeline, values={0: b'"d"'}, sort_key=at(NOW // SECOND)), 1),
            (a_put(timeline, values={0: b'"e"'}, sort_key=at(NOW // SECOND)), 2),
        ]
        for put, trips in puts:
            proxy.calls.clear()
            await write_one(counted, put)
            assert proxy.calls == {"UpdateItem": trips}, put

    async def test_fences_of_late_events_are_asked_for_together(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """One batched read for all of them; live events cost nothing."""
        plan = a_timeline()
        await write(counted, *(a_put(plan, f"{i}", {1: b"1"}, sort_key=at(NOW // SECOND)) for i in range(5)))
        assert proxy.calls == {"UpdateItem": 5}
        await write(
            counted, *(a_put(plan, f"{i}", {1: b"1"}, sort_key=at(9), check_fence=True) for i in range(5))
        )
        assert proxy.calls == {"UpdateItem": 10, "BatchGetItem": 1}

    async def test_reads_take_one_round_trip_for_a_hundred_keys(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """Each key once, whoever asks for it twice."""
        plan, other = a_stored_plan(), a_stored_plan()
        keys = [RowKey(plan, f"{i % 70}") for i in range(140)] + [RowKey(other, f"{i}") for i in range(40)]
        await counted.read_records(keys, strong=False, timeout_seconds=BUDGET_SECONDS)
        assert proxy.calls == {"BatchGetItem": 2}

    async def test_the_fence_rides_on_a_newest_first_query(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """Only ranges that end below it ask for it, all of one call together."""
        plan = a_timeline()
        await write(counted, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(40)))
        await erase(counted, plan, max_rows=1)
        proxy.calls.clear()
        whole = TimelineQuery(plan, "1", 10, "0", "~")
        ranged = TimelineQuery(plan, "1", 10, at(100), at(120))
        await counted.read_timelines([whole], strong=False, timeout_seconds=BUDGET_SECONDS, now_us=NOW)
        assert proxy.calls == {"Query": 1}
        await counted.read_timelines([ranged, ranged, whole], strong=False, timeout_seconds=9, now_us=NOW)
        assert proxy.calls == {"Query": 4, "BatchGetItem": 1}

    async def test_erasing_costs_a_query_a_write_and_the_removal(
        self, counted: DynamoDBStore, proxy: FaultProxy
    ) -> None:
        """The fence is one write, its end another, whatever the number of rows."""
        plan = a_timeline()
        await write(counted, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(60)))
        proxy.calls.clear()
        await erase(counted, plan)
        assert proxy.calls == {"Query": 2, "UpdateItem": 2, "BatchWriteItem": 3}
