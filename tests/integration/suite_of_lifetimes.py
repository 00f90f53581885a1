"""How rows end in every L3 store: retention and tombstones. Part of `store_suite`."""

from __future__ import annotations

import pytest
from tests.integration.store_calls import (
    NOW,
    SECOND,
    a_delete,
    a_put,
    a_stored_plan,
    read,
    write_one,
    written,
)

from pannier_sidecar.row import (
    Mode,
)
from pannier_sidecar.tiers.l3 import Store


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
