"""Through one sidecar a client always reads what was last acknowledged, whatever is cached or evicted.

Any sequence of writes, deletes, evictions and waiting is compared with a model that knows no caches.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import a_group
from tests.integration.serving import Core, serving

from pannier.catalog import CatalogGroup

pytestmark = pytest.mark.redis

IDS = ("a", "b")
_namespaces = itertools.count()

ids = st.sampled_from(IDS)
actions = st.one_of(
    st.tuples(st.just("write"), ids, st.sampled_from(["item", "count", "both"])),
    st.tuples(st.just("record"), ids, st.integers(0, 12)),
    st.tuples(st.just("record"), ids, st.integers(0, 12)),
    st.tuples(st.just("delete"), ids, st.none()),
    st.tuples(st.just("delete_instant"), ids, st.integers(0, 12)),
    st.tuples(st.just("erase"), ids, st.none()),
    st.tuples(st.just("evict"), ids, st.none()),
    st.tuples(st.just("settle"), ids, st.none()),
    st.tuples(st.just("wait"), ids, st.sampled_from([1, 7, 40, 70, 400])),
    st.tuples(st.just("read"), ids, st.integers(0, 12)),
)
policies = st.fixed_dictionaries(
    {
        "write_policy": st.sampled_from(["WriteThrough", "Invalidate"]),
        "local": st.sampled_from(["Enabled", "Enabled", "Shadow", "Disabled"]),
        "remote": st.sampled_from(["Enabled", "Enabled", "Shadow", "Disabled"]),
        "read_consistency": st.sampled_from(["Eventual", "Eventual", "Strong"]),
    }
)


class Model:
    """What was acknowledged."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.rows: dict[str, dict[str, Any]] = {}
        self.records: dict[str, dict[int, int]] = {}
        self.written = 0

    def row(self, row_id: str) -> dict[str, Any]:
        """A record as it must be read."""
        if row_id not in self.rows:
            return {"id": row_id, "status": "missing"}
        return {"id": row_id, "status": "found", "features": self.rows[row_id]}

    def trip(self, row_id: str, limit: int, since: int = 0) -> dict[str, Any]:
        """A timeline as it must be read."""
        held = self.records.get(row_id, {})
        if not held:
            return {"id": row_id, "status": "missing", "records": []}
        shown = sorted((tick for tick in held if tick >= since), reverse=True)
        records = [{"timestamp": tick, "features": {"count": held[tick]}} for tick in shown[:limit]]
        row = {"id": row_id, "status": "found", "records": records}
        return {**row, "more": True} if len(shown) > limit else row


async def act(core: Core, model: Model, action: tuple[str, str, Any]) -> None:
    """Do one thing to both."""
    what, row_id, value = action
    model.written += 1
    if what in {"write", "record"}:
        await write(core, model, row_id, value)
    elif what.startswith(("delete", "erase")):
        await delete(core, model, what, row_id, value)
    elif what == "evict":
        for plan in core.plan.groups.values():
            core.l1.segment(plan).clear()
    elif what == "settle":
        await core.settle()
    elif what == "wait":
        core.clock.advance(value)


async def write(core: Core, model: Model, row_id: str, value: str | int) -> None:
    """Write features of a record, or a record of a timeline."""
    if isinstance(value, int):
        tick = model.start + value
        result = await core.write("trips", row_id, timestamp=tick, features={"count": model.written})
        if result.verdict == "written":
            model.records.setdefault(row_id, {})[tick] = model.written
        return
    names = ("item", "count") if value == "both" else (value,)
    features = {name: str(model.written) if name == "item" else model.written for name in names}
    assert (await core.write("rows", row_id, features=features)).verdict == "written"
    model.rows[row_id] = {**model.rows.get(row_id, {}), **features}


async def delete(core: Core, model: Model, what: str, row_id: str, value: int) -> None:
    """Delete a record, an instant or a whole timeline."""
    if what == "delete":
        await core.writes.delete(core.plan, "rows", row_id)
        model.rows.pop(row_id, None)
    elif what == "delete_instant":
        tick = model.start + value
        await core.writes.delete(core.plan, "trips", row_id, timestamp=str(tick))
        model.records.get(row_id, {}).pop(tick, None)
    else:
        await core.writes.delete(core.plan, "trips", row_id)
        model.records.pop(row_id, None)


async def compare(core: Core, model: Model, since: int) -> None:
    """Read everything in several shapes and compare."""
    results = await core.read(
        {"group": "rows", "ids": list(IDS)},
        {"group": "trips", "ids": list(IDS)},
        {"group": "trips", "ids": list(IDS), "limit": 4},
        {"group": "trips", "ids": list(IDS), "since": since, "limit": 2},
    )
    assert results[0]["rows"] == [model.row(row_id) for row_id in IDS]
    assert results[1]["rows"] == [model.trip(row_id, 3) for row_id in IDS]
    assert results[2]["rows"] == [model.trip(row_id, 4) for row_id in IDS]
    assert results[3]["rows"] == [model.trip(row_id, 2, since) for row_id in IDS]


def groups(policy: dict[str, Any]) -> tuple[CatalogGroup, CatalogGroup]:
    """A record group and a timeline of their own, so that examples share one Redis."""
    fields: dict[str, Any] = {**policy, "namespace": f"n{next(_namespaces)}", "soft": 10, "hard": 60}
    return (
        a_group("rows", **fields),
        a_group("trips", timeline=True, features={"count": "Int64"}, max_limit=4, default_limit=3, **fields),
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=policies, steps=st.lists(actions, min_size=5, max_size=40), with_redis=st.booleans())
def test_reads_show_what_was_last_acknowledged(
    redis_url: str, policy: dict[str, Any], steps: list[tuple[str, str, Any]], *, with_redis: bool
) -> None:
    """After every step, in every shape."""

    async def run(directory: Path) -> None:
        url = redis_url if with_redis else None
        async with serving(directory, *groups(policy), redis_url=url) as core:
            model = Model(core.clock.now_us() // 1_000_000 - 5)
            for step in steps:
                await act(core, model, step)
                if step[0] == "read":
                    await compare(core, model, model.start + step[2])
            await compare(core, model, model.start)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))
