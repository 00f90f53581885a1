"""A tier whose bulkhead is full, seen over HTTP: its rows are unknown at once, all others are served."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

from tests.fault_proxy import FaultProxy, held
from tests.integration.test_http_overload import in_flight, is_in_flight, on_dynamodb, until, visits
from tests.servers import RedisServer
from tests.sidecars import RECORDS, TIMELINE, Client, a_sidecar

from pannier_sidecar.clock import ManualClock

MANY = 12


def a_record_group(**cache: Any) -> dict[str, Any]:
    manifest = copy.deepcopy(RECORDS)
    manifest["spec"]["cache"] = {"profile": "Hot", "remote": {"state": "Disabled"}, **cache}
    return manifest


async def sheds(client: Client, kind: str) -> int:
    number: int = (await client.admin("/v1/status")).json["shed"].get(kind, 0)
    return number


async def test_beyond_the_bulkhead_of_l3_rows_are_unknown_and_others_are_answered(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Two calls hang, two wait, the rest is refused: never missing, never cached, over with the overload."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, reads_in_flight="100", l3_reads_in_flight="2", loop_delay_ms="0")
        clock = ManualClock()
        groups = a_record_group(local={"softTTLSeconds": 10, "hardTTLSeconds": 60}), TIMELINE
        async with a_sidecar(tmp_path, *groups, clock=clock, **flags) as client:
            await client.write(visits(1, "warm"))
            proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
            loading = [asyncio.create_task(client.rows("user_facts", f"cold{n}")) for n in range(MANY)]
            answered, waiting = await asyncio.wait(loading, return_when=asyncio.FIRST_COMPLETED)
            while len(waiting) > 2:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                answered |= done
            for row in (rows.result()[0] for rows in answered):
                assert (row["status"], row["reason"]) == ("unknown", "TierOverloaded")
            assert proxy.calls["BatchGetItem"] == 2
            assert await sheds(client, "l3_read") == MANY - 2
            # within hard it is served, although its refresh found no room; beside it the other row is unknown
            clock.advance(11)
            warm, cold = await client.rows("user_facts", "warm", "more")
            assert (warm["status"], warm["features"]["visits"], "stale" in warm) == ("found", 1, False)
            assert (cold["status"], cold["reason"]) == ("unknown", "TierOverloaded")
            readiness = await client.admin("/readyz")
            assert (readiness.status, readiness.json["degraded"]) == (200, [])
            proxy.heal()
            gate.set()
            await asyncio.gather(*waiting)
            await until(lambda: is_in_flight(client, "l3_read", 0))
            statuses = [
                row["status"] for row in await client.rows("user_facts", *(f"cold{n}" for n in range(MANY)))
            ]
            assert statuses == ["missing"] * MANY


async def test_stale_rows_are_served_while_the_bulkhead_is_full(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Within staleIfErrorSeconds a row past its hard TTL is served marked, like in an outage."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, l3_reads_in_flight="1", loop_delay_ms="0")
        clock = ManualClock()
        group = a_record_group(local={"hardTTLSeconds": 60}, staleIfErrorSeconds=300)
        async with a_sidecar(tmp_path, group, clock=clock, **flags) as client:
            await client.write(visits(1, "warm"))
            proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
            loading = [asyncio.create_task(client.rows("user_facts", f"cold{n}")) for n in range(2)]
            await until(lambda: is_in_flight(client, "l3_read", 1))
            clock.advance(61)
            (row,) = await client.rows("user_facts", "warm")
            assert (row["status"], row["stale"], row["features"]["visits"]) == ("found", True, 1)
            proxy.heal()
            gate.set()
            await asyncio.gather(*loading)


async def test_beyond_the_bulkhead_of_writes_they_have_surely_failed(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """The verdict is failed with its reason, not unknown; reads have room of their own."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, writes_in_flight="100", l3_writes_in_flight="1", loop_delay_ms="0")
        async with a_sidecar(tmp_path, **flags) as client:
            proxy.on("UpdateItem", held(until=(gate := asyncio.Event())))
            writing = [asyncio.create_task(client.write(visits(n, f"w{n}"))) for n in range(3)]
            answered, waiting = await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
            ((verdict,),) = [task.result() for task in answered]
            assert (verdict["verdict"], verdict["reason"]) == ("failed", "TierOverloaded")
            put = await client.send("PUT", "/v1/groups/user_facts/rows/x", {"features": {"visits": 1}})
            assert (put.status, put.json["verdict"]) == (503, "failed")
            erased = await client.row("clicks", "x", method="DELETE")
            assert (erased.status, erased.json["verdict"]) == (503, "failed")
            assert (await client.rows("user_facts", "cold"))[0]["status"] == "missing"
            assert await in_flight(client, "l3_write") == 1
            proxy.heal()
            gate.set()
            await asyncio.gather(*waiting)
            await until(lambda: is_in_flight(client, "l3_write", 0))


async def test_a_full_bulkhead_of_redis_sends_nothing_to_l3_and_opens_no_circuit(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """While Redis hangs, reads beyond the bulkhead are unknown at once, and L3 hears nothing of them."""
    flags: dict[str, Any] = {
        "redis_url": redis_server.url,
        "l2_timeout_ms": "20000",
        "l2_reads_in_flight": "1",
    }
    async with a_sidecar(tmp_path, request_timeout_ms="30000", **flags) as client:
        await client.rows("user_facts", "warm")
        looked_up = await _l3_lookups(client)
        redis_server.pause()
        first = asyncio.create_task(client.rows("user_facts", "cold0"))
        await until(lambda: is_in_flight(client, "l2_read", 1))
        second = asyncio.create_task(client.rows("user_facts", "cold1"))
        await until(lambda: _waits(client))
        for n in range(5):
            (row,) = await client.rows("user_facts", f"more{n}")
            assert (row["status"], row["reason"]) == ("unknown", "TierOverloaded")
        assert (await client.rows("user_facts", "warm"))[0]["status"] == "missing"
        assert await _l3_lookups(client) == looked_up
        status = (await client.admin("/v1/status")).json
        assert status["tiers"]["l2"]["circuit"] == "closed"
        assert status["tiers"]["l2"]["errors"] == {}
        redis_server.resume()
        assert [(await task)[0]["status"] for task in (first, second)] == ["missing", "missing"]
        await until(lambda: is_in_flight(client, "l2_read", 0))


async def _waits(client: Client) -> bool:
    return bool((await client.admin("/v1/status")).json["in_flight"]["l2_read"]["waiting"])


async def _l3_lookups(client: Client) -> str:
    text = (await client.admin("/metrics")).body.decode()
    return next(line for line in text.splitlines() if line.startswith("pannier_l3_lookups_total{"))
