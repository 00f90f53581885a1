"""Eight workers race conditional writes on a few rows of each store, against per-feature last-writer-wins."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.integration.every_store import KINDS, a_store_of
from tests.integration.store_calls import BUDGET_SECONDS, NOW, SECOND, a_delete, a_put, a_stored_plan, read
from tests.last_writer import LastWriter

from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, PutOutcome, Row
from pannier_sidecar.tiers.l3 import Store

WORKERS = 8
WRITES_PER_WORKER = 30
ROWS = ("1", "2", "3")
SKEW_US = 3600 * SECOND
"""How far the clocks of every other worker are ahead."""

Written = list[tuple[Put, PutOutcome]]


def a_random_put(plan: GroupPlan, dice: random.Random, ticket: int) -> Put:
    """Make a merge, replace, unset or delete; three in ten are late. No two have one event time."""
    late = dice.randrange(1, 60) if dice.random() < 0.3 else 0
    stamp = (ticket - late + 100) * 10_000 + ticket
    row_id = dice.choice(ROWS)
    value = b"%d" % ticket
    kind = dice.choices(("merge", "unset", "replace", "delete"), (60, 10, 20, 10))[0]
    if kind == "delete":
        return a_delete(plan, row_id, event_time_us=stamp)
    if kind == "unset":
        return a_put(plan, row_id, unset=frozenset(dice.sample(range(6), 2)), event_time_us=stamp)
    if kind == "replace":
        return a_put(plan, row_id, dict.fromkeys(range(6), value), mode="replace", event_time_us=stamp)
    return a_put(plan, row_id, dict.fromkeys(dice.sample(range(6), 2), value), event_time_us=stamp)


async def race(store: Store, plan: GroupPlan, seed: int) -> Written:
    """Let the workers write, each with dice and a clock of its own; tickets are handed out as they come."""
    tickets = itertools.count(1)
    log: Written = []

    async def worker(number: int) -> None:
        dice = random.Random(seed * WORKERS + number)
        for turn in range(WRITES_PER_WORKER):
            put = a_random_put(plan, dice, next(tickets))
            now = NOW + turn + SKEW_US * (number % 2)
            (outcome,) = await store.write([put], timeout_seconds=BUDGET_SECONDS, now_us=now)
            log.append((put, outcome))

    async with asyncio.TaskGroup() as tasks:
        for number in range(WORKERS):
            tasks.create_task(worker(number))
    return log


@pytest.mark.parametrize("kind", KINDS)
async def test_eight_workers_come_to_last_writer_wins(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Every row holds each feature's newest write; every accepted write had a revision of its own."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    plan = a_stored_plan(features={f"f{i}": "Int64" for i in range(6)})
    async with a_store_of(kind, request, tmp_path) as store:
        log = await race(store, plan, seed)
        verdicts = Counter(outcome.verdict for _, outcome in log)
        assert set(verdicts) <= {"written", "ignored_older", "ignored_deleted"}, verdicts
        assert verdicts["written"] > WORKERS * WRITES_PER_WORKER // 3
        for row_id in ROWS:
            mine = [(put, outcome) for put, outcome in log if put.id == row_id]
            expected = LastWriter.of(put for put, _ in mine)
            row = await read(store, plan, row_id)
            assert isinstance(row, Row)
            assert (row.values, row.deleted) == (expected.values, not expected.exists)
            states = [outcome.row for _, outcome in mine if outcome.verdict == "written"]
            revisions = [state.revision for state in states if state is not None]
            assert len(revisions) == len(states) == len(set(revisions))
            assert row.revision == max(revisions)
            assert row == max((state for state in states if state), key=lambda state: state.revision)
