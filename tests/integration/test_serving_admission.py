"""Groups that wait for the second hit: first a ghost, then the value, whoever asks; writes always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from tests.builders import a_group, a_policy
from tests.integration.test_serving_l2 import forget, two_sidecars

from pannier.catalog import CatalogGroup
from pannier.policy import WritePolicy
from pannier_sidecar.entry import envelope

pytestmark = pytest.mark.redis
GHOST_BYTES = 40


def a_waiting_group(
    *, timeline: bool, write_policy: WritePolicy = "WriteThrough", local: str = "Always"
) -> CatalogGroup:
    """A group whose L2 takes a value on its second load."""
    policy = a_policy(write_policy=write_policy, soft=60, hard=600)
    policy = msgspec.structs.replace(policy, remote_admission="OnSecondHit", local_admission=local)
    return a_group(timeline=timeline, policy=policy)


def held(client: Any) -> int:
    """Bytes that Redis holds under the only key there is, field names left out; 0 = no key."""
    keys = client.keys("*")
    assert len(keys) <= 1
    if not keys:
        return 0
    if client.type(keys[0]) == b"hash":
        return sum(map(len, client.hvals(keys[0])))
    return len(client.get(keys[0]))


def calls_of(client: Any) -> tuple[int, int]:
    """How many scripts Redis has run (merges, leases), and how many reading commands."""
    stats = client.info("commandstats")
    calls = {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "evalsha", "eval")}
    scripts = calls["evalsha"] + calls["eval"] - stats.get("cmdstat_evalsha", {}).get("failed_calls", 0)
    return scripts, calls["get"]


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
async def test_the_first_load_leaves_a_ghost_and_the_second_the_value(
    tmp_path: Path, redis_url: str, *, timeline: bool
) -> None:
    """One sidecar asks, then another: that is twice, and a third reader finds the value in Redis."""
    item: dict[str, Any] = {"features": {"item": "x" * 500}, **({"timestamp": 1} if timeline else {})}
    async with two_sidecars(tmp_path, redis_url, (a_waiting_group(timeline=timeline),)) as (one, two):
        client: Any = redis.Redis.from_url(redis_url)
        await one.write("clicks", "a", **item)
        await one.settle()
        for core in (one, two):  # so that Redis knows every script
            await core.row("clicks", "other")
            await core.settle()
        one.clock.advance(61)  # what was written of late counts as a touch of its own
        client.flushall()
        forget(one)
        costs = []
        for core, source, bytes_held in ((one, "l3", False), (two, "l3", True), (one, "l2", True)):
            before = calls_of(client)
            forget(core)
            assert (await core.row("clicks", "a"))["source"] == source
            await core.settle()
            costs.append(tuple(after - then for after, then in zip(calls_of(client), before, strict=True)))
            assert (held(client) > 500) is bytes_held
            assert held(client) > 0
        assert costs[0] == costs[1], "a ghost costs what the value would"
        assert costs[2] == (0, 0 if timeline else 1)
        turned_away = [dict(core.metrics.backfills.items()).get(("turned_away",), 0) for core in (one, two)]
        assert turned_away == [1, 0]
        client.close()


async def test_a_ghost_lives_as_long_as_the_value_would_be_served(tmp_path: Path, redis_url: str) -> None:
    """And it is small."""
    async with two_sidecars(tmp_path, redis_url, (a_waiting_group(timeline=False),)) as (one, two):
        client: Any = redis.Redis.from_url(redis_url)
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(61)
        client.flushall()
        await two.row("clicks", "a")
        await two.settle()
        assert held(client) < GHOST_BYTES
        assert 590_000 < client.pttl(client.keys("*")[0]) <= 600_000
        client.close()


@pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
@pytest.mark.parametrize("write_policy", ["WriteThrough", "Invalidate"])
async def test_a_write_leaves_its_revision_whatever_admission_says(
    tmp_path: Path, redis_url: str, *, timeline: bool, write_policy: WritePolicy
) -> None:
    """No key is too new for a write: its state, or a marker, is in Redis, over a ghost or over nothing."""
    group = a_waiting_group(timeline=timeline, write_policy=write_policy, local="OnSecondHit")
    item: dict[str, Any] = {"features": {"item": "new"}, **({"timestamp": 1} if timeline else {})}
    async with two_sidecars(tmp_path, redis_url, (group,)) as (one, two):
        client: Any = redis.Redis.from_url(redis_url)
        assert (await two.row("clicks", "a"))["status"] == "missing"
        await two.settle()
        await one.write("clicks", "a", **item)
        await one.settle()
        key = client.keys("*")[0]
        if timeline:
            known = envelope.decode_timeline(client.hgetall(key), now_us=one.clock.now_us())
            assert max(register.revision for register in known.registers.values()) > 1
        else:
            assert envelope.decode_record(client.get(key), now_us=one.clock.now_us()).revision > 1
        forget(two)
        row = await two.row("clicks", "a")
        assert row["status"] == "found"
        client.close()


async def test_that_there_is_no_such_row_is_stored_at_once(tmp_path: Path, redis_url: str) -> None:
    """A ghost would take as much room, so the next sidecar is spared the load."""
    async with two_sidecars(tmp_path, redis_url, (a_waiting_group(timeline=False),)) as (one, two):
        assert (await one.row("clicks", "none"))["status"] == "missing"
        await one.settle()
        assert (await two.row("clicks", "none"))["source"] == "l2"
        assert two.store.reads == []


async def test_a_ghost_does_not_hide_what_may_be_served_stale(tmp_path: Path, redis_url: str) -> None:
    """With L3 down, what L1 still holds past its deadline is served, also where L2 has but a ghost."""
    async with two_sidecars(tmp_path, redis_url, (a_waiting_group(timeline=False),)) as (one, two):
        client: Any = redis.Redis.from_url(redis_url)
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        one.clock.advance(61)
        client.flushall()
        await two.row("clicks", "a")
        await two.settle()
        one.clock.advance(601)
        two.store.fail()
        row = await two.row("clicks", "a")
        assert (row["status"], row.get("stale")) == ("found", True)
        client.close()


async def test_behind_its_own_door_l1_takes_a_row_on_its_second_load(tmp_path: Path, redis_url: str) -> None:
    """The first answer comes from L3, the second from L2, the third from L1; each is the same row."""
    policy = msgspec.structs.replace(a_policy(soft=60, hard=600), local_admission="OnSecondHit")
    async with two_sidecars(tmp_path, redis_url, (a_group(policy=policy),)) as (one, two):
        await one.write("clicks", "a", features={"item": "x"})
        await one.settle()
        redis.Redis.from_url(redis_url).flushall()
        rows = []
        for _ in range(3):
            rows.append(await two.row("clicks", "a"))
            await two.settle()
        assert [row["source"] for row in rows] == ["l3", "l2", "l1"]
        assert {row["features"]["item"] for row in rows} == {"x"}
