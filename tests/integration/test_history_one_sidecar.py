"""Any history through one sidecar: concurrent clients while Redis dies, hangs, forgets and returns.

Checked of every read: it shows no less than what this sidecar had acknowledged when it began (of another
writer's rows: no less than the bound allows), nothing that never was, and *unknown* only where L3 failed.
After the storm every tier says what L3 says. The seed stands in the name of a failing test;
``PANNIER_HISTORY_SEEDS=100`` runs that many.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
from pathlib import Path
from typing import Any, Final

import pytest
from tests.integration.history import MAX_LIMIT, SECOND, Question
from tests.integration.lagging_store import LaggingStore
from tests.integration.serving import Core, serving
from tests.integration.storm_clients import BOUND_US, Clients, a_policy, the_groups
from tests.servers import AWS_TEST_ENVIRONMENT, RedisServer

from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.entry import record, timeline
from pannier_sidecar.entry.record import Kind
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.tiers.dynamodb_client import DynamoDBSettings
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

SEEDS: Final = range(int(os.environ.get("PANNIER_HISTORY_SEEDS", "3")))
NOW_US: Final = 4_000_000_000_000_000
"""Ahead of every real clock: an emulator that removes expired rows must not meddle."""
_runs = itertools.count()


class Weather:
    """What goes wrong around the clients of a sidecar."""

    def __init__(self, clients: Clients, redis: RedisServer, dice: random.Random, namespace: str) -> None:
        self._clients = clients
        self._core = clients.core
        self._redis = redis
        self._dice = dice
        self._namespace = namespace

    async def go_on(self) -> None:
        """One thing after the other, until the clients are done."""
        bad = (self._restart_redis, self._hang_redis, self._empty_redis, self._fail_l3)
        other = (self._evict, self._evict, self._swap_catalog, *[self._wait_long] * 6)
        while not self._clients.is_over:
            for _ in range(self._dice.randrange(4)):
                await asyncio.sleep(0.005)
                self._clients.pass_time(self._dice.uniform(0.1, 3))
            await self._dice.choice([*bad, *other])()

    async def clear_up(self) -> None:
        """Nothing goes wrong any more: what waits for Redis arrives, and the bound of all else passes."""
        core = self._core
        assert core.writer is not None
        await core.loader.settled()
        for _ in range(20):
            self._clients.pass_time(6)  # the circuit tries again
            if await core.writer.drain(1):
                break
        else:
            raise AssertionError(f"writes never reached Redis: {core.writer!r}")
        self._clients.pass_time(BOUND_US / SECOND + 1)
        core.deploy(*the_groups(self._namespace))

    async def _restart_redis(self) -> None:
        self._redis.kill()
        await asyncio.sleep(self._dice.uniform(0, 0.05))
        await asyncio.to_thread(self._redis.restart)

    async def _hang_redis(self) -> None:
        self._redis.pause()
        await asyncio.sleep(self._dice.uniform(0, 0.1))
        self._redis.resume()

    async def _empty_redis(self) -> None:
        await asyncio.to_thread(self._redis.flush)

    async def _evict(self) -> None:
        for plan in self._core.plan.groups.values():
            self._core.l1.segment(plan).clear()

    async def _swap_catalog(self) -> None:
        self._core.deploy(*the_groups(self._namespace, **a_policy(self._dice)))

    async def _fail_l3(self) -> None:
        self._clients.l3_down_until = math.inf
        self._core.store.fail()
        await asyncio.sleep(self._dice.uniform(0, 0.02))
        self._core.store.recover()
        self._clients.l3_down_until = asyncio.get_running_loop().time()

    async def _wait_long(self) -> None:
        """Let much time pass where nothing is under way: no load and no message takes half a minute."""
        await self._clients.pause()
        await self._core.loader.settled()
        await self._core.shadow.settled()
        assert self._core.writer is not None
        await self._core.writer.drain(0.1)
        self._clients.pass_time(self._dice.choice([5, 9, 30, 61, 90]))
        self._clients.go_on()


async def storm(core: Core, redis: RedisServer, seed: int, namespace: str) -> Clients:
    """Run clients in bad weather, and wait until it has passed."""
    dice = random.Random(seed)
    clients = Clients(core, dice)
    weather = Weather(clients, redis, dice, namespace)
    async with asyncio.TaskGroup() as both:
        both.create_task(clients.run())
        both.create_task(weather.go_on())
    await weather.clear_up()
    return clients


async def check_reads(clients: Clients) -> None:
    """Every question is answered with the last content."""
    core, now_us = clients.core, clients.times_us[-1:]
    for history in clients.histories:
        for question in [Question(), *([Question(MAX_LIMIT)] if history.is_timeline else [])]:
            row = await core.row(history.group, history.id, explain=False, **question.fields)
            assert row in history.possible(history.last_acknowledged, question, now_us), history.id


async def check_tiers(clients: Clients, tier: RedisTier) -> None:
    """What L1 and Redis hold is what L3 holds."""
    core, now_us = clients.core, clients.core.clock.now_us()
    for history in clients.histories:
        key = RowKey(core.plan.groups[history.group], history.id)
        truth = shown(await said_by_l3(core, key), now_us)
        held = core.l1.held(key.plan, key.id, now_us)
        (shared,) = await tier.read([key])
        assert not isinstance(shared, TierError)
        in_l2 = shown(shared, now_us) if shared is not None else "load"
        assert in_l2 in {truth, "load"}, history.id
        if held is None:  # not while Redis says that something newer than all it knows may be there
            assert in_l2 == "load", history.id
        else:
            assert shown(held.state(), now_us) == truth, history.id


async def said_by_l3(core: Core, key: RowKey) -> State:
    """What the store holds, as an entry."""
    now_us = core.clock.now_us()
    if not key.plan.is_timeline:
        (row,) = await core.store.read_records([key], strong=True, timeout_seconds=5)
        assert not isinstance(row, TierError)
        return record.from_row(row, read_start_us=now_us)
    query = TimelineQuery(key.plan, key.id, 1 << 20, LOWEST_SORT_KEY, HIGHEST_SORT_KEY)
    (page,) = await core.store.read_timelines([query], strong=True, timeout_seconds=5, now_us=now_us)
    assert not isinstance(page, TierError)
    return timeline.snapshot(page, read_start_us=now_us, capacity=1 << 20)


def shown(state: State, now_us: int) -> str:
    """What an entry says, as text to compare."""
    if isinstance(state, Timeline):
        bounds: dict[str, Any] = {"low": LOWEST_SORT_KEY, "high": HIGHEST_SORT_KEY, "now_us": now_us}
        answer = timeline.answer(state, limit=MAX_LIMIT, **bounds)
        if answer is None:
            return "load"
        return repr([(key, sorted(state.registers[key].values.items())) for key in answer.sort_keys])
    if state.kind is Kind.MARKER:
        return "load"
    return repr((state.revision, sorted(state.values.items()))) if state.is_live(now_us) else "nothing"


async def check_history(
    seed: int, store: Store, redis: RedisServer, clock: ManualClock, directory: Path
) -> None:
    """One run on one store."""
    namespace = f"h{os.getpid()}n{next(_runs)}"
    lagging = LaggingStore(store, clock, random.Random(seed))
    async with serving(
        directory,
        *the_groups(namespace, **a_policy(random.Random(seed))),
        redis_url=redis.url,
        clock=clock,
        store=lagging,
        l2_timeout_seconds=0.05,
    ) as core:
        clients = await storm(core, redis, seed, namespace)
        assert not clients.faults, f"{len(clients.faults)} of {clients.reads} reads:\n" + "\n".join(
            clients.faults[:3]
        )
        for _ in range(2):
            await check_reads(clients)
            await core.settle()
        async with RedisTier(redis.url, clock=clock, metrics=core.metrics, timeout_seconds=5.0) as tier:
            await check_tiers(clients, tier)


@pytest.mark.parametrize("seed", SEEDS)
async def test_reads_show_what_was_acknowledged_whatever_redis_does(
    seed: int, redis_server: RedisServer, tmp_path: Path
) -> None:
    """On the embedded store."""
    clock = ManualClock(NOW_US)
    async with EmbeddedStore(tmp_path, clock) as store:
        await check_history(seed, store, redis_server, clock, tmp_path)


@pytest.mark.dynamodb
@pytest.mark.parametrize("seed", SEEDS)
async def test_reads_show_what_was_acknowledged_on_dynamodb(
    seed: int, redis_server: RedisServer, dynoxide_url: str, tmp_path: Path
) -> None:
    """On dynoxide, where reads and writes interleave at every step of theirs."""
    settings = DynamoDBSettings(
        endpoint_url=dynoxide_url,
        region_name=AWS_TEST_ENVIRONMENT["AWS_DEFAULT_REGION"],
        access_key_id=AWS_TEST_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        secret_access_key=AWS_TEST_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    )
    async with DynamoDBStore(settings) as store:
        await check_history(seed, store, redis_server, ManualClock(NOW_US), tmp_path)
