"""Many readers of one key across sidecars: how often L3 is read, whoever dies, fails or is gone meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from tests.fault_proxy import Call
from tests.integration.fleet import SIDECARS, a_fleet, a_table_group, with_a_table
from tests.integration.test_http_lifecycle import serving as a_process
from tests.servers import HOST, RedisServer
from tests.sidecars import RECORDS, TIMELINE

from pannier_sidecar.errors import TierError, TierThrottled, TierUnavailable
from pannier_sidecar.lease import LeaseBounds

pytestmark = [pytest.mark.redis, pytest.mark.dynamodb]

READERS = 1_000
EVERYONE = pytest.mark.parametrize("timeline", [False, True], ids=["record", "timeline"])
ENDLESS = LeaseBounds(longest_us=3_600_000_000, shortest_us=3_600_000_000)
"""Who waits for such a lease to end waits for longer than any test."""


@EVERYONE
async def test_a_cold_key_is_loaded_once_for_all_sidecars(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """1,000 readers of a key that no cache holds: one sidecar reads L3, and all get the row."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "a", item="x")
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 2
        assert fleet.leases("clicks")["won"] == fleet.l3_reads
        assert sum(fleet.leases("clicks").values()) == SIDECARS


@EVERYONE
async def test_a_missing_key_is_looked_up_once_for_all_sidecars(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """That there is nothing comes through L2 as well."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "another", item="x")
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"missing"}
        assert fleet.l3_reads <= 2


@EVERYONE
async def test_a_hard_expired_key_is_loaded_once_for_all_sidecars(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """Every cache holds it past its hard deadline; all readers get what L3 says now."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.read_at_once("clicks", "a", SIDECARS)
        fleet.clock.advance(601)
        fleet.proxy.calls.clear()
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {(row["status"], row["age_seconds"]) for row in rows} == {("found", 0)}
        assert fleet.l3_reads <= 2


@EVERYONE
async def test_a_soft_expired_key_is_renewed_once_for_all_sidecars(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """Nobody waits; the sidecars that leave the renewal to another have it as soon as they look again."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.read_at_once("clicks", "a", SIDECARS)
        fleet.clock.advance(39)
        await fleet.read_at_once("clicks", "a", SIDECARS)
        fleet.clock.advance(12)
        fleet.proxy.calls.clear()
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["source"] for row in rows} == {"l1"}
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 2
        fleet.clock.advance(3)
        for _ in range(2):
            rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["age_seconds"] for row in rows} == {3}
        assert fleet.l3_reads <= 2


@EVERYONE
async def test_a_key_soft_in_l2_is_served_and_renewed_once(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """Sidecars without the key in L1 answer from L2, and one of them renews it behind the answer."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.sidecars[0].row("clicks", "a")
        await fleet.settle()
        fleet.clock.advance(51)
        fleet.proxy.calls.clear()
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 2


@EVERYONE
async def test_a_dead_lease_holder_costs_its_lease_and_no_herd(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any
) -> None:
    """Somebody took the lease and will never load; when it has run out one of those who wait takes over."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=timeline)) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.hold_lease("clicks", "a", for_ms=300)
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 3


@EVERYONE
@pytest.mark.parametrize("dead_ms", [0, 300], ids=["cold", "dead holder"])
async def test_a_group_that_stores_on_the_second_load_is_loaded_twice(
    tmp_path: Path, dynoxide_url: str, redis_url: str, *, timeline: Any, dead_ms: int
) -> None:
    """The first load leaves only a ghost; whoever takes over from there brings the value for all others."""
    group = a_table_group(timeline=timeline)
    policy = msgspec.structs.replace(group.policy, remote_admission="OnSecondHit")
    group = msgspec.structs.replace(group, policy=policy)
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group) as fleet:
        await fleet.write("clicks", "a", item="x")
        if dead_ms:
            await fleet.hold_lease("clicks", "a", for_ms=dead_ms)
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 2
        assert fleet.leases("clicks")["won"] == 2


@pytest.mark.parametrize(
    ("manifest", "operation", "features"),
    [(RECORDS, "BatchGetItem", {"city": "x"}), (TIMELINE, "Query", {"article": "x", "session": "1"})],
    ids=["record", "timeline"],
)
@pytest.mark.usefixtures("aws_credentials")
async def test_a_sidecar_killed_while_it_loads_costs_no_herd(
    tmp_path: Path,
    dynoxide_url: str,
    redis_url: str,
    *,
    manifest: dict[str, Any],
    operation: str,
    features: dict[str, str],
) -> None:
    """A process is killed -9 with the lease in its hand and its read of L3 unanswered."""
    specs, [group] = with_a_table(manifest, tmp_path)
    name = group.group_name
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group) as fleet:
        await fleet.write(name, "a", **features)
        loading = asyncio.Event()

        async def never_answered(call: Call) -> web.Response:
            loading.set()
            return await call.hold()

        fleet.proxy.on(operation, never_answered, times=1)
        flags = {
            "specs": specs,
            "store": "dynamodb",
            "dynamodb-endpoint-url": fleet.proxy.url,
            "redis-url": redis_url,
            "hedge-percent": "0",
            "http": f"{HOST}:0",
            "admin": f"{HOST}:0",
        }
        argv = [part for flag, value in flags.items() for part in (f"--{flag}", str(value))]
        async with a_process(*argv) as doomed, aiohttp.ClientSession() as session:
            await doomed.announced()
            reads = {"reads": [{"group": name, "ids": ["a"]}]}
            asked = asyncio.create_task(session.post(f"{doomed.data}/v1/features/read", json=reads))
            await loading.wait()
            doomed.process.kill()
            rows = await fleet.read_at_once(name, "a", READERS)
            with pytest.raises(aiohttp.ClientError):
                await asked
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads <= 3


async def test_a_lease_that_nobody_ends_is_waited_for_only_so_long(
    tmp_path: Path, dynoxide_url: str, redis_url: str
) -> None:
    """Then everybody loads by itself: a lease spares reads, it never withholds an answer."""
    bounds = LeaseBounds(longest_us=20_000, shortest_us=20_000)
    group = a_table_group(timeline=False)
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group, lease_bounds=bounds) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.hold_lease("clicks", "a", for_ms=3_600_000)
        rows = await fleet.read_at_once("clicks", "a", SIDECARS)
        assert {row["status"] for row in rows} == {"found"}
        assert set(fleet.leases("clicks")) <= {"gave_up", "waited"}
        assert fleet.leases("clicks")["gave_up"] == fleet.l3_reads


@EVERYONE
@pytest.mark.parametrize("error", [TierUnavailable("l3", "is down"), TierThrottled("l3", "slow down")])
async def test_a_holder_whose_read_fails_lets_the_others_go_on_at_once(
    tmp_path: Path, dynoxide_url: str, redis_url: str, timeline: Any, error: TierError
) -> None:
    """Its own readers hear of the failure; another sidecar loads although the lease had long to live."""
    group = a_table_group(timeline=timeline)
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group, lease_bounds=ENDLESS) as fleet:
        await fleet.write("clicks", "a", item="x")
        first, *others = fleet.sidecars
        first.store.hold()
        failing = asyncio.create_task(first.row("clicks", "a"))
        await first.store.reading.wait()
        waiting = [asyncio.create_task(core.row("clicks", "a")) for core in others]
        await asyncio.gather(*(core.waits_for_lease.wait() for core in others))
        first.store.error = error
        first.store.release()
        assert (await failing)["status"] == "unknown"
        assert {row["status"] for row in await asyncio.gather(*waiting)} == {"found"}
        assert fleet.leases("clicks") == {"won": 2, "waited": 2}


async def test_losers_of_a_renewal_do_not_ask_again_until_the_lease_may_be_over(
    tmp_path: Path, dynoxide_url: str, redis_url: str
) -> None:
    """However often the key is read meanwhile, each of them has looked at L2 once."""
    async with a_fleet(tmp_path, dynoxide_url, redis_url, a_table_group(timeline=False)) as fleet:
        await fleet.write("clicks", "a", item="x")
        await fleet.read_at_once("clicks", "a", SIDECARS)
        fleet.clock.advance(39)
        await fleet.read_at_once("clicks", "a", SIDECARS)
        fleet.clock.advance(12)
        first, *others = fleet.sidecars
        first.store.hold()
        await first.row("clicks", "a")
        await first.store.reading.wait()
        looks_before = sum(core.counters("clicks").refresh_soft for core in others)
        for _ in range(20):
            for core in others:
                assert (await core.row("clicks", "a"))["source"] == "l1"
                await core.settle()
        assert sum(core.counters("clicks").refresh_soft for core in others) == looks_before + len(others)
        assert fleet.leases("clicks")["left"] == len(others)
        first.store.release()


async def test_nobody_takes_an_older_value_from_the_holder_than_it_knows_of(
    tmp_path: Path, dynoxide_url: str, redis_url: str
) -> None:
    """A load that began before a write ends after it: who waits for it loads again, and sees the write."""
    group = a_table_group(timeline=False, write_policy="Invalidate")
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group) as fleet:
        await fleet.write("clicks", "a", item="old")
        slow, writer, reader, _ = fleet.sidecars
        slow.store.hold()
        outdated = asyncio.create_task(slow.row("clicks", "a"))
        await slow.store.reading.wait()
        await writer.write("clicks", "a", features={"item": "new"})
        await writer.settle()
        reading = [asyncio.create_task(core.row("clicks", "a")) for core in (writer, reader)]
        await asyncio.gather(writer.waits_for_lease.wait(), reader.waits_for_lease.wait())
        slow.store.release()
        assert [(await row)["features"] for row in reading] == [{"item": "new"}] * 2
        await outdated


async def test_without_redis_every_sidecar_loads_at_once(
    tmp_path: Path, dynoxide_url: str, redis_server: RedisServer
) -> None:
    """A Redis that is gone adds no waiting: each sidecar reads L3 by itself."""
    group = a_table_group(timeline=False)
    async with a_fleet(tmp_path, dynoxide_url, redis_server.url, group, lease_bounds=ENDLESS) as fleet:
        await fleet.write("clicks", "a", item="x")
        redis_server.kill()
        rows = await fleet.read_at_once("clicks", "a", READERS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads == SIDECARS
        assert not fleet.leases("clicks")


@pytest.mark.parametrize("fault", [RedisServer.kill, RedisServer.pause], ids=["dies", "hangs"])
async def test_a_redis_that_fails_while_others_wait_lets_them_go(
    tmp_path: Path, dynoxide_url: str, redis_server: RedisServer, fault: Callable[[RedisServer], None]
) -> None:
    """Whoever waits for the holder hears that Redis is gone, and loads by itself."""
    group = a_table_group(timeline=False)
    async with a_fleet(
        tmp_path, dynoxide_url, redis_server.url, group, lease_bounds=ENDLESS, l2_timeout_seconds=0.3
    ) as fleet:
        await fleet.write("clicks", "a", item="x")
        first, *others = fleet.sidecars
        first.store.hold()
        held = asyncio.create_task(first.row("clicks", "a"))
        await first.store.reading.wait()
        waiting = [asyncio.create_task(core.row("clicks", "a")) for core in others]
        await asyncio.gather(*(core.waits_for_lease.wait() for core in others))
        fault(redis_server)
        assert {row["status"] for row in await asyncio.gather(*waiting)} == {"found"}
        first.store.release()
        assert (await held)["status"] == "found"


@pytest.mark.parametrize(
    "policy", [{"remote": "Disabled"}, {"read_consistency": "Strong"}], ids=["no L2", "Strong"]
)
async def test_groups_that_l2_does_not_serve_take_no_leases(
    tmp_path: Path, dynoxide_url: str, redis_url: str, policy: dict[str, str]
) -> None:
    """Nothing could be waited for, so every sidecar loads, and Redis hears of no lease."""
    group = a_table_group(timeline=False, **policy)
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group, lease_bounds=ENDLESS) as fleet:
        await fleet.write("clicks", "a", item="x")
        rows = await fleet.read_at_once("clicks", "a", SIDECARS)
        assert {row["status"] for row in rows} == {"found"}
        assert fleet.l3_reads == SIDECARS
        assert not fleet.leases("clicks")
        assert await fleet.redis.keys("*:lease") == []


async def test_no_lease_outlives_its_load(tmp_path: Path, dynoxide_url: str, redis_url: str) -> None:
    """Found, missing, in one batch or alone: once loads have settled, Redis holds no lease."""
    group = a_table_group(timeline=False)
    async with a_fleet(tmp_path, dynoxide_url, redis_url, group, lease_bounds=ENDLESS) as fleet:
        await fleet.write("clicks", "a", item="x")
        ids = ["a", *(f"none{i}" for i in range(150))]
        reads = [core.read({"group": "clicks", "ids": ids}) for core in fleet.sidecars]
        for [result] in await asyncio.gather(*reads):
            assert [row["status"] for row in result["rows"]] == ["found"] + ["missing"] * 150
        await fleet.settle()
        assert await fleet.redis.keys("*:lease") == []
        assert fleet.leases("clicks")["won"] == len(ids)
