"""What only stores on DynamoDB must do: the stored bytes, the count of round trips, rows of other writers.

`test_store_dynamodb_local` and `test_store_dynoxide` run it behind the store suite, each on its emulator.
"""

from __future__ import annotations

import pytest
from tests.builders import a_plan
from tests.integration.dynamodb_stores import Item, a_store, another_writer, stored_item
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    NOW,
    SECOND,
    TABLE,
    a_delete,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    erase,
    live,
    page,
    read,
    write_one,
    written,
)
from tests.integration.suite_of_round_trips import RoundTripSuite

from pannier.errors import ValueRefused
from pannier.keys import HIGHEST_SORT_KEY
from pannier_sidecar.errors import TierMisconfigured
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.dynamodb_client import deadline_after
from pannier_sidecar.tiers.items import OnBadValue
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore


class StoredBytesSuite:
    """The attributes of design section 3."""

    async def test_the_founding_documents_item(self, store: DynamoDBStore) -> None:
        """pk, sk and v are those of the founding document."""
        plan = a_plan(
            "recent_user_clicked_fleaMarketArticles",
            table=TABLE,
            timeline=True,
            width=9,
            features={"article_id": "String", "session": "String"},
        )
        stamp = 987_654_321 * SECOND
        put = a_put(plan, "1234", {0: b'"a"', 1: b'"1111"'}, sort_key="987654321", event_time_us=stamp)
        row = await written(store, put)
        assert await stored_item(store, plan, "1234", "987654321") == {
            "pk": {"S": "recent_user_clicked_fleaMarketArticles#1234"},
            "sk": {"S": "987654321"},
            "v": {"M": {"0": {"S": "a"}, "1": {"S": "1111"}}},
            "w": {"N": str(stamp)},
            "wx": {"M": {}},
            "r": {"N": str(row.revision)},
        }

    async def test_a_tombstone_has_every_attribute_that_a_merge_needs(self, store: DynamoDBStore) -> None:
        """V and wx are there, empty, so that a later merge is one round trip."""
        plan = a_stored_plan()
        row = await written(store, a_delete(plan, event_time_us=5))
        item = await stored_item(store, plan, "1")
        assert item["d"] == {"BOOL": True}
        assert (item["v"], item["wx"], item["w"]) == ({"M": {}}, {"M": {}}, {"N": "5"})
        assert item["expires_at"] == {"N": str(row.expires_at)}

    async def test_created_tables_expire_rows_by_the_expiry_attribute(self, store: DynamoDBStore) -> None:
        """Development tables have the TTL that the operator gives the others."""
        answer = await store._client.call(
            "describe_time_to_live", deadline_after(BUDGET_SECONDS), TableName=TABLE
        )
        assert answer["TimeToLiveDescription"]["AttributeName"] == "expires_at"


class ForeignRowsSuite:
    """Tables that other programs write."""

    async def test_a_row_without_stamps_reads_as_revision_one(self, store: DynamoDBStore) -> None:
        """Stamps 0, so that every write is accepted."""
        plan = a_stored_plan()
        await another_writer(store, plan, {"v": {"M": {"0": {"S": "theirs"}, "1": {"N": "1"}}}})
        row = await read(store, plan)
        assert row is not None
        assert (row.revision, row.event_time_us, row.stamps_us) == (1, 0, {})
        merged = await written(store, a_put(plan, values={1: b"2"}, event_time_us=0))
        assert merged.values == {0: b'"theirs"', 1: b"2"}
        assert merged.revision == NOW + 1

    async def test_a_replace_takes_a_foreign_row_over(self, store: DynamoDBStore) -> None:
        """And later writes find its stamps."""
        plan = a_stored_plan()
        await another_writer(store, plan, {"v": {"M": {"0": {"S": "theirs"}}}, "other": {"S": "kept"}})
        row = await written(store, a_put(plan, values={1: b"2"}, event_time_us=9, mode="replace"))
        assert (row.values, row.event_time_us) == ({1: b"2"}, 9)
        assert (await stored_item(store, plan, "1"))["other"] == {"S": "kept"}
        assert (
            await write_one(store, a_put(plan, values={1: b"3"}, event_time_us=8))
        ).verdict == "ignored_older"

    async def test_a_foreign_timeline_record_has_the_time_of_its_key(self, store: DynamoDBStore) -> None:
        """So a fence hides the older ones and leaves the newer ones alone."""
        plan = a_timeline()
        await erase(store, plan, now_us=200 * SECOND)
        for second in (199, 201):
            await another_writer(store, plan, {"v": {"M": {"1": {"N": "1"}}}}, sort_key=at(second))
        assert live(await page(store, plan, now=200 * SECOND)) == [at(201)]

    @pytest.mark.parametrize(
        "item",
        [
            {},
            {"v": {"S": "no map"}, "wx": {"S": "no map"}, "w": {"S": "x"}, "r": {"S": "x"}},
            {"v": {"M": {}}, "w": {"N": "1E+3"}, "wx": {"M": {"0": {"S": "x"}, "name": {"N": "1"}}}},
            {"v": {"M": {}}, "expires_at": {"S": "tomorrow"}, "d": {"S": "no"}},
            {"v": {"M": {}}, "wx": {"M": {"1": {"N": "0.5"}}}, "expires_at": {"N": "99999999999.5"}},
            {"v": {"M": {"01": {"S": "x"}, "1" + "0" * 30: {"S": "x"}}}, "wx": {"M": {"00": {"N": "1"}}}},
            {"v": {"M": {}}, "w": {"N": "-1E+30"}, "r": {"N": "1E+30"}, "expires_at": {"N": "1E+30"}},
        ],
    )
    async def test_odd_attributes_are_read_as_nothing_and_written_over(
        self, store: DynamoDBStore, item: Item
    ) -> None:
        """Whatever stands where Pannier's attributes belong, a read answers and a write succeeds."""
        plan = a_stored_plan()
        await another_writer(store, plan, item)
        row = await read(store, plan)
        assert row is not None
        assert row.values == {}
        merged = await written(store, a_put(plan, values={0: b'"mine"'}, event_time_us=NOW))
        assert merged.values == {0: b'"mine"'}
        assert await read(store, plan) == merged

    async def test_rows_under_keys_that_are_no_timestamps_are_left_out_of_a_timeline(
        self, store: DynamoDBStore
    ) -> None:
        """Wherever they lie among its records, and whatever the range."""
        plan = a_timeline()
        await written(store, a_put(plan, values={1: b"1"}, sort_key=at(100)))
        for sort_key in ("!", "0", "00000000100", f"{at(100)}x", "abc", "meta"):
            await another_writer(store, plan, {"v": {"M": {"1": {"N": "2"}}}}, sort_key=sort_key)
        for high in (HIGHEST_SORT_KEY, f"{at(200)}$"):
            found = await page(store, plan, limit=5, high=high)
            assert (live(found), found.exhausted) == ([at(100)], True)

    async def test_a_value_of_another_type_is_left_out_and_reported(self, emulator_url: str) -> None:
        """The row is served without it, a merge of others keeps it as it was."""
        heard: list[tuple[str, str, str]] = []

        def hear(plan: GroupPlan, name: str, refusal: ValueRefused) -> None:
            heard.append((plan.name, name, refusal.reason))

        on_bad_value: OnBadValue = hear
        async with a_store(emulator_url, on_bad_value=on_bad_value) as store:
            plan = a_stored_plan()
            theirs = {"0": {"S": "fine"}, "1": {"S": "no number"}, "name": {"S": "no id"}}
            await another_writer(store, plan, {"v": {"M": theirs}})
            row = await read(store, plan)
            assert row is not None
            assert row.values == {0: b'"fine"'}
            assert {(group, name) for group, name, _ in heard} == {(plan.name, "1"), (plan.name, "name")}
            await written(store, a_put(plan, values={0: b'"new"'}, event_time_us=5))
            assert (await stored_item(store, plan, "1"))["v"] == {"M": {**theirs, "0": {"S": "new"}}}


class TablesSuite:
    """Tables that are not what they should be."""

    async def test_a_missing_table_is_misconfigured_not_missing_rows(self, store: DynamoDBStore) -> None:
        """Its keys are unknown, its writes failed, and other tables are answered in the same call."""
        gone, here = a_stored_plan(table="no.such.table"), a_stored_plan()
        row = await written(store, a_put(here, values={0: b'"x"'}))
        keys = [RowKey(gone, "1"), RowKey(here, "1"), RowKey(gone, "2"), RowKey(here, "2")]
        rows = await store.read_records(keys, strong=True, timeout_seconds=BUDGET_SECONDS)
        assert isinstance(rows[0], TierMisconfigured)
        assert isinstance(rows[2], TierMisconfigured)
        assert rows[1::2] == [row, None]
        outcome = await write_one(store, a_put(gone, values={0: b'"x"'}))
        assert (outcome.verdict, outcome.reason) == ("failed", "TierMisconfigured")
        assert "no.such.table" in outcome.message
        timeline = a_timeline(table="no.such.table")
        query = TimelineQuery(timeline, "1", 5, "0", "~")
        (answer,) = await store.read_timelines([query], strong=True, timeout_seconds=9, now_us=NOW)
        assert isinstance(answer, TierMisconfigured)
        with pytest.raises(TierMisconfigured):
            await erase(store, timeline)
        assert isinstance((await store.check([gone, here]))[gone.name], TierMisconfigured)

    async def test_a_table_with_other_keys_is_misconfigured(self, store: DynamoDBStore) -> None:
        """Check says which keys it has; reads and writes say unknown and failed."""
        plan = a_stored_plan(table=f"{a_stored_plan().name}.wrong")
        await store._client.call(
            "create_table",
            deadline_after(BUDGET_SECONDS),
            TableName=plan.table,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        fault = (await store.check([plan]))[plan.name]
        assert isinstance(fault, TierMisconfigured)
        assert "id (hash, N)" in str(fault)
        (row,) = await store.read_records([RowKey(plan, "1")], strong=True, timeout_seconds=BUDGET_SECONDS)
        assert isinstance(row, TierMisconfigured)
        assert (await write_one(store, a_put(plan, values={0: b'"x"'}))).verdict == "failed"


class DynamoDBSuite(StoredBytesSuite, RoundTripSuite, ForeignRowsSuite, TablesSuite):
    """All of it."""
