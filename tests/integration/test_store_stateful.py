"""Random histories of reads, writes, deletes and erases on every store, against a plain model."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.integration.every_store import KINDS, a_store_of
from tests.integration.plain_store import FEATURES, SECOND, PlainStore
from tests.integration.store_calls import (
    NOW,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    erase,
    live,
    page,
    read,
    write_one,
)

from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Erasure, Mode, Put
from pannier_sidecar.tiers.l3 import Store

TOMBSTONE_SECONDS = 40
T = TypeVar("T")

row_ids = st.sampled_from(["a", "a", "a", "b"])
values = st.dictionaries(st.sampled_from(sorted(FEATURES)), st.integers(0, 9).map(lambda n: b"%d" % n))
features = st.frozensets(st.sampled_from(sorted(FEATURES)), max_size=2)
modes: st.SearchStrategy[Mode] = st.sampled_from(["merge", "merge", "replace", "force"])
seconds = st.integers(-30, 30)
lives = st.sampled_from([None, -1, 3, 3, 20])


class StoreMachine(RuleBasedStateMachine):
    """One record group and one timeline group; the clock moves only by its rule."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        super().__init__()
        self.store = store
        self.runner = runner
        self.now = NOW
        kinds = {f"f{i}": "Int64" for i in FEATURES}
        fields: dict[str, Any] = {"features": kinds, "tombstone_seconds": TOMBSTONE_SECONDS}
        self.records = a_stored_plan(retention_basis="EventTime", **fields)
        self.timelines = a_timeline(**fields)
        self.record_model = PlainStore()
        self.timeline_model = PlainStore()
        self.unfinished: dict[str, Erasure] = {}

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def expiry(self, life: int | None) -> int | None:
        return None if life is None else self.now // SECOND + life

    def compare(self, model: PlainStore, put: Put) -> None:
        expected = model.write(put, self.now)
        outcome = self.run(write_one(self.store, put, self.now))
        assert outcome.verdict == expected, outcome

    @rule(row_id=row_ids, values=values, unset=features, mode=modes, second=st.none() | seconds, life=lives)
    def write_record(  # noqa: PLR0917 (one draw each)
        self,
        row_id: str,
        values: dict[int, bytes],
        unset: frozenset[int],
        mode: Mode,
        second: int | None,
        life: int | None,
    ) -> None:
        """Write some features, or none where the whole row is meant."""
        if mode == "merge" and not values and not unset:
            return
        if mode == "force" and not values:
            return
        put = a_put(
            self.records,
            row_id,
            values,
            mode=mode,
            unset=(unset - values.keys()) if mode == "merge" else frozenset(),
            event_time_us=None if second is None else self.now + second * SECOND,
            expires_at=self.expiry(life),
        )
        self.compare(self.record_model, put)

    def delete(self, plan: GroupPlan, row_id: str, **fields: Any) -> Put:
        end = self.now // SECOND + TOMBSTONE_SECONDS
        return a_put(plan, row_id, mode="replace", tombstone=True, expires_at=end, **fields)

    @rule(row_id=row_ids, second=st.none() | seconds)
    def delete_record(self, row_id: str, second: int | None) -> None:
        """Leave a tombstone, now or at an event time."""
        stamp = None if second is None else self.now + second * SECOND
        self.compare(self.record_model, self.delete(self.records, row_id, event_time_us=stamp))

    @rule(row_id=row_ids, values=values, mode=modes, second=seconds, life=lives)
    def write_event(
        self, row_id: str, values: dict[int, bytes], mode: Mode, second: int, life: int | None
    ) -> None:
        """Write a record of a timeline, of the past or the future."""
        if mode == "merge" and not values:
            return
        sort_key = at(self.now // SECOND + second)
        put = a_put(
            self.timelines,
            row_id,
            values,
            sort_key=sort_key,
            mode=mode,
            expires_at=self.expiry(life),
            check_fence=True,
        )
        self.compare(self.timeline_model, put)

    @rule(row_id=row_ids, second=seconds)
    def delete_instant(self, row_id: str, second: int) -> None:
        """Delete one record of a timeline."""
        sort_key = at(self.now // SECOND + second)
        self.compare(
            self.timeline_model, self.delete(self.timelines, row_id, sort_key=sort_key, check_fence=True)
        )

    @rule(row_id=row_ids, max_rows=st.integers(1, 50))
    def erase_id(self, row_id: str, max_rows: int) -> None:
        """Erase a whole id; removal may stop half-way."""
        self.finish_erasures()
        fence = self.timeline_model.erase(row_id, self.now, TOMBSTONE_SECONDS)
        erasure = self.run(erase(self.store, self.timelines, row_id, now_us=self.now, max_rows=max_rows))
        assert erasure.fence.event_time_us == fence
        if not erasure.finished:
            self.unfinished[row_id] = erasure

    @rule()
    def finish_erasures(self) -> None:
        """Go on with the removal under fences, row by row."""
        for row_id, erasure in self.unfinished.items():
            finished = False
            while not finished:
                again = self.run(
                    erase(
                        self.store, self.timelines, row_id, now_us=self.now, max_rows=1, fence=erasure.fence
                    )
                )
                finished = again.finished
        self.unfinished.clear()

    @rule(step=st.sampled_from([1, 4, 4, 50]))
    def pass_time(self, step: int) -> None:
        """Let time pass: rows, tombstones and fences end."""
        self.finish_erasures()
        self.now += step * SECOND

    @rule()
    def pass_the_next_expiry(self) -> None:
        """Let just enough time pass for some row to end, with all that it protected."""
        rows = [*self.record_model.rows.values(), *self.timeline_model.rows.values()]
        ends = [row.expires_at for row in rows if row.expires_at is not None]
        ahead = [end * SECOND for end in ends if end * SECOND > self.now]
        if ahead:
            self.finish_erasures()
            self.now = min(ahead)

    @rule(row_id=row_ids, limit=st.integers(1, 4), low=seconds, high=seconds)
    def read_range(self, row_id: str, limit: int, low: int, high: int) -> None:
        """Read the newest of a range."""
        bounds = at(self.now // SECOND + low), at(self.now // SECOND + high) + "$"
        expected = [
            sort_key
            for sort_key, _ in self.timeline_model.timeline(row_id, self.now)
            if bounds[0] <= sort_key <= bounds[1]
        ]
        if bounds[0] > bounds[1]:
            return
        answer = self.run(
            page(self.store, self.timelines, row_id, limit=limit, low=bounds[0], high=bounds[1], now=self.now)
        )
        assert live(answer) == expected[:limit]
        if answer.exhausted:
            assert len(expected) <= limit

    @invariant()
    def rows_are_the_models(self) -> None:
        """After every step every row reads as the model says."""
        for row_id in ("a", "b"):
            row = self.run(read(self.store, self.records, row_id))
            expected = self.record_model.row(row_id, "null", self.now)
            if row is None or row.is_expired(self.now) or row.deleted:
                assert expected is None or expected.is_deleted
            else:
                assert expected is not None
                assert (row.values, expected.is_deleted) == (expected.values, False)
                assert row.expires_at == expected.expires_at
            answer = self.run(page(self.store, self.timelines, row_id, now=self.now))
            found = {row.sort_key: row.values for row in answer.rows}
            seen = [(sort_key, found[sort_key]) for sort_key in live(answer)]
            assert seen == self.timeline_model.timeline(row_id, self.now)
            assert answer.exhausted


@pytest.mark.parametrize("kind", KINDS)
def test_every_history_comes_to_what_the_model_says(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Verdicts and everything readable, after each step."""

    def machine() -> RuleBasedStateMachine:
        return StoreMachine(store, runner)

    examples = 150 if kind == "embedded" else 10
    with asyncio.Runner() as runner:
        context = a_store_of(kind, request, tmp_path)
        store = runner.run(context.__aenter__())
        try:
            run_state_machine_as_test(
                cast("type[RuleBasedStateMachine]", machine),
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            runner.run(context.__aexit__(None, None, None))
