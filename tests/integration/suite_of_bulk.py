"""What every L3 store does with many keys and with every value. Part of `store_suite`."""

from __future__ import annotations

import pytest
from tests.builders import a_plan
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    NOW,
    TABLE,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    live,
    read,
    write,
    write_one,
    written,
)

from pannier.keys import sort_key_range
from pannier.values import is_opaque, opaque
from pannier_sidecar.errors import TierError
from pannier_sidecar.row import (
    Row,
    RowKey,
    TimelineQuery,
)
from pannier_sidecar.tiers.l3 import Store


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
