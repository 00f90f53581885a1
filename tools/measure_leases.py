"""What a lease costs: per key loaded from L3, per key read from L2, and against the ways not taken.

    PYTHONPATH=contract:sidecar:. .venv/bin/python tools/measure_leases.py

Starts redis-server and dynoxide of its own and stops them. CPU is this process's own, and what Redis reports
of itself; medians of interleaved rounds. ADR 0011 holds the numbers.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis
import uvloop
from tests.builders import a_plan
from tests.integration.l2_support import NOW_US, Counts
from tests.servers import AWS_TEST_ENVIRONMENT, Dynoxide, RedisServer

from pannier.keys import cache_key, lease_key
from pannier_sidecar.clock import SystemClock
from pannier_sidecar.entry.record import Kind, Record
from pannier_sidecar.lease import Lease
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Put, RowKey
from pannier_sidecar.tiers import l2_leases
from pannier_sidecar.tiers.l2_redis import RedisTier
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBSettings, DynamoDBStore
from pannier_sidecar.tiers.redis_pipe import Command, Exchange, exchange_at

ROUNDS = 7
KEYS_PER_ROUND = 1_000
BATCHES = (1, 20, 100)
VALUE = b'"' + b"x" * 2_000 + b'"'
READ_OR_LEASE = b"""
-- the way not taken: a read that takes the lease by itself where nothing is held
local held = redis.call('GET', KEYS[1])
if held then return held end
return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""

Step = Callable[[Sequence[RowKey]], Awaitable[object]]


class Cost(NamedTuple):
    """Of one key."""

    client_us: float
    redis_us: float
    wall_us: float


def leases_on(keys: Sequence[RowKey]) -> list[Lease]:
    """Ask for each key's lease as one load does."""
    return [Lease(key, "0123456789abcdef:1", 60_000) for key in keys]


def a_record(number: int) -> Record:
    """Make what L3 said."""
    return Record(Kind.FOUND, NOW_US + number, NOW_US, NOW_US, None, {0: VALUE})


def name_of(key: RowKey) -> str:
    """Its Redis key."""
    return cache_key(key.plan.cache_prefix, key.id)


def lease_name_of(key: RowKey) -> str:
    """The Redis key of its lease."""
    return lease_key(key.plan.cache_prefix, key.id)


def ways(tier: RedisTier, pipe: Exchange, store: DynamoDBStore, sha: str) -> dict[str, Step]:
    """Everything that is measured, in order: each step finds what the steps before it left."""

    def single(of_key: Callable[[RowKey], Command]) -> Step:
        async def send(keys: Sequence[RowKey]) -> object:
            return await pipe.send([of_key(key) for key in keys])

        return send

    async def release(keys: Sequence[RowKey]) -> object:
        return await pipe.send(l2_leases.releases(leases_on(keys), together=True))

    return {
        "L2 read, nothing held": tier.read,
        "lease and look again": lambda keys: tier.lease(leases_on(keys)),
        "L3 read": lambda keys: store.read_records(keys, strong=False, timeout_seconds=60),
        "merge": lambda keys: tier.merge([(key, a_record(0)) for key in keys]),
        "merge, and let go": lambda keys: tier.merge([(key, a_record(1)) for key in keys], leases_on(keys)),
        "L2 read, all held, not decoded": lambda keys: pipe.send([("MGET", *map(name_of, keys))]),
        "not taken: a script that reads or leases, all held, not decoded": single(
            lambda key: ("EVALSHA", sha, 2, name_of(key), lease_name_of(key), "token", 60_000)
        ),
        "not taken: SET NX for each key": single(
            lambda key: ("SET", lease_name_of(key), "token", "NX", "PX", 60_000)
        ),
        "(leases away)": release,
        "not taken: letting go by a call for each key": single(
            lambda key: ("EVAL", l2_leases.RELEASE_SCRIPT, 1, lease_name_of(key), "token")
        ),
    }


async def cost(step: Step, batches: Sequence[Sequence[RowKey]], server: Any) -> Cost:
    """Run a step over all batches, one after the other."""

    def redis_cpu() -> float:
        used = server.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    keys = sum(map(len, batches))
    in_redis, began, started = redis_cpu(), time.process_time(), time.perf_counter()
    for batch in batches:
        await step(batch)
    used, took = time.process_time() - began, time.perf_counter() - started
    return Cost(*(1e6 * each / keys for each in (used, redis_cpu() - in_redis, took)))


async def filled(store: DynamoDBStore, plan: GroupPlan, ids: Sequence[str]) -> list[RowKey]:
    """Put rows into L3."""
    blank = Put(
        plan=plan, id="", sort_key="null", mode="force", values={0: VALUE}, event_time_us=1, expires_at=None
    )
    puts = [msgspec.structs.replace(blank, id=row_id) for row_id in ids]
    await store.write(puts, timeout_seconds=60, now_us=NOW_US)
    return [RowKey(plan, row_id) for row_id in ids]


async def measure(redis_url: str, dynamodb_url: str) -> None:
    """Print a table for each size of batch."""
    plan = a_plan("leases")
    server: Any = redis.Redis.from_url(redis_url, protocol=2)
    tier = RedisTier(redis_url, clock=SystemClock(), metrics=Counts(), timeout_seconds=10)
    async with (
        tier,
        exchange_at(redis_url, "l2") as pipe,
        DynamoDBStore(DynamoDBSettings(endpoint_url=dynamodb_url)) as store,
    ):
        await store.create_tables([plan])
        steps = ways(tier, pipe, store, server.script_load(READ_OR_LEASE))
        keys = await filled(store, plan, [str(number) for number in range(KEYS_PER_ROUND)])
        for size in BATCHES:
            batches = [keys[at : at + size] for at in range(0, len(keys), size)]
            rounds: dict[str, list[Cost]] = {}
            for _ in range(ROUNDS):
                server.flushdb()
                for name, step in steps.items():
                    rounds.setdefault(name, []).append(await cost(step, batches, server))
            show(size, rounds)
    server.close()


def show(size: int, rounds: dict[str, list[Cost]]) -> None:
    """Print medians per key."""
    print(f"\n| {size} keys at once, us per key | client CPU | Redis CPU | wall |\n|---|---|---|---|")
    medians = {
        name: Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
        for name, costs in rounds.items()
        if not name.startswith("(")
    }
    for name, each in medians.items():
        print(f"| {name} | {each.client_us:.1f} | {each.redis_us:.1f} | {each.wall_us:.1f} |")
    let_go = medians["merge, and let go"].client_us - medians["merge"].client_us
    added = medians["lease and look again"].client_us + let_go
    load = sum(medians[name].client_us for name in ("L2 read, nothing held", "L3 read", "merge"))
    print(f"A lease adds {added:.1f} us of client CPU per key to {load:.1f}, {added / load:.0%}.")


def main() -> None:
    """Start the servers, measure, stop them."""
    os.environ.update(AWS_TEST_ENVIRONMENT)
    with RedisServer() as server, Dynoxide() as dynamodb:
        uvloop.run(measure(server.url, dynamodb.url))


if __name__ == "__main__":
    main()
