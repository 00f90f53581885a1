"""Tiers that fail below a running sidecar, seen over HTTP: it serves what it can, and says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.fault_proxy import FaultProxy, dropped, held, throttled
from tests.openapi_schemas import conform_to
from tests.servers import HOST, RedisServer, free_port
from tests.sidecars import RECORDS, Client, a_sidecar

from pannier_sidecar.clock import ManualClock

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def visits(number: int, row_id: str = "1") -> dict[str, Any]:
    return {"group": "user_facts", "id": row_id, "features": {"visits": number}}


async def written(client: Client, number: int, row_id: str = "1") -> None:
    (verdict,) = await client.write(visits(number, row_id))
    assert verdict["verdict"] == "written", verdict


async def read_visits(client: Client, row_id: str = "1") -> int | None:
    (row,) = await client.rows("user_facts", row_id)
    assert row["status"] == "found", row
    found: int | None = row["features"].get("visits")
    return found


async def degraded(client: Client) -> set[str]:
    """Parts that /readyz calls degraded; the sidecar itself must be ready."""
    answer = await client.admin("/readyz")
    assert answer.status == 200, answer.body
    return {note["part"] for note in answer.json["degraded"]}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll over HTTP until something is so: the sidecar tells nobody when it has noticed."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def tcp_server(talk: Talk) -> AsyncIterator[int]:
    """A server that speaks as it is told to; gives its port."""
    server = await asyncio.start_server(talk, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_without_redis_it_serves_from_l1_and_l3(tmp_path: Path) -> None:
    """Nobody listens where Redis should be: reads and writes go on, and the outage is logged once."""
    with capture_logs() as logs:
        async with a_sidecar(tmp_path, redis_url=f"redis://{HOST}:{free_port()}") as client:
            for number in range(5):
                await written(client, number)
                assert await read_visits(client) == number
                await client.rows("user_facts", f"cold{number}")
            assert "l2" in await degraded(client)
            status = (await client.admin("/v1/status")).json
            assert status["tiers"]["l2"]["circuit"] in {"open", "half_open"}
            assert status["tiers"]["l2"]["last_error"] == "TierUnavailable"
            metrics = (await client.admin("/metrics")).body.decode()
            assert 'pannier_tier_errors_total{reason="TierUnavailable",tier="l2"}' in metrics
    lost = [entry["tier"] for entry in logs if entry["event"] == "tier_lost"]
    assert sorted(lost) == ["l2", "l2_writes"]


async def test_redis_that_hangs_costs_its_timeout_once(tmp_path: Path, redis_server: RedisServer) -> None:
    """A stopped Redis is given up after its timeout, own writes are read, and it comes back."""
    async with a_sidecar(tmp_path, redis_url=redis_server.url, l2_timeout_ms="50") as client:
        await written(client, 1)
        assert await read_visits(client) == 1
        redis_server.pause()
        for number in range(2, 6):
            await written(client, number)
            assert await read_visits(client) == number
            assert (await client.rows("user_facts", f"cold{number}"))[0]["status"] == "missing"
        assert "l2" in await degraded(client)
        redis_server.resume()

        async def is_back() -> bool:
            await client.rows("user_facts", "probe", "1")
            await client.send("POST", "/v1/features/invalidate", {"group": "user_facts", "ids": ["probe"]})
            return "l2" not in await degraded(client)

        await until(is_back)
        assert await read_visits(client) == 5


async def test_redis_killed_under_load_loses_nothing(tmp_path: Path, redis_server: RedisServer) -> None:
    """Killed in the middle of reads and writes: no request fails, each client reads its own last write."""
    async with a_sidecar(tmp_path, redis_url=redis_server.url) as client:
        killed = asyncio.Event()

        async def one_client(name: str) -> int:
            number = 0
            while not killed.is_set() or number < 20:
                number += 1
                await written(client, number, name)
                assert await read_visits(client, name) == number
            return number

        work = [asyncio.create_task(one_client(f"user{n}")) for n in range(8)]
        async with asyncio.timeout(30):
            while not (await client.rows("user_facts", "user0"))[0].get("features", {}).get("visits", 0) > 3:
                pass
        redis_server.kill()
        killed.set()
        last = await asyncio.gather(*work)
        assert [await read_visits(client, f"user{n}") for n in range(8)] == last


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$-7\r\n", b"+OK\r\n" * 50, b"\x00\xff" * 500, b"*1\r\n"],
)
async def test_redis_that_answers_garbage_is_an_outage(tmp_path: Path, garbage: bytes) -> None:
    """Whatever speaks at Redis's address, it is never believed: answers come from L3."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                writer.write(garbage)
                await writer.drain()
        writer.close()

    async with (
        tcp_server(talk) as port,
        a_sidecar(tmp_path, redis_url=f"redis://{HOST}:{port}", l2_timeout_ms="50") as client,
    ):
        await written(client, 1)
        for row_id in ("1", "2", "3", "4"):
            expected = "found" if row_id == "1" else "missing"
            assert (await client.rows("user_facts", row_id))[0]["status"] == expected
        assert await read_visits(client) == 1


async def test_without_dynamodb_rows_are_unknown_and_writes_say_so(
    tmp_path: Path, aws_credentials: dict[str, str]
) -> None:
    """Nobody listens where DynamoDB should be: it starts and answers unknown, never missing."""
    del aws_credentials
    url = f"http://{HOST}:{free_port()}"
    flags: dict[str, Any] = {"store": "dynamodb", "dynamodb_endpoint_url": url, "create_tables": None}
    async with a_sidecar(tmp_path, **flags) as client:
        for group in ("user_facts", "clicks"):
            answer = await client.read({"group": group, "ids": ["1", "2"]}, explain=True)
            conform_to(answer.json, "ReadAnswer")
            assert [row["status"] for row in answer.json["results"][0]["rows"]] == ["unknown"] * 2
        (verdict,) = await client.write(visits(1))
        assert verdict["verdict"] in {"failed", "unknown"}
        put = await client.send("PUT", "/v1/groups/user_facts/rows/1", {"features": {"visits": 1}})
        assert put.status in {503, 504}
        conform_to(put.json, "VerdictProblem")
        assert put.json["verdict"] in {"failed", "unknown"}
        assert (await client.row("user_facts", "1", method="DELETE")).status in {503, 504}
        assert (await client.row("clicks", "1", method="DELETE")).status in {503, 504}

        async def is_told() -> bool:
            return await degraded(client) == {"l3:clicks", "l3:user_facts"}

        await until(is_told)


async def test_a_missing_table_is_told_per_group(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """A group without its table is unknown and named in status; --create-tables makes it."""
    del aws_credentials
    flags: dict[str, Any] = {
        "store": "dynamodb",
        "dynamodb_endpoint_url": dynoxide_url,
        "table_prefix": f"t{free_port()}",
    }
    async with a_sidecar(tmp_path, **flags, create_tables=None) as client:
        assert (await client.rows("user_facts", "1"))[0]["status"] == "unknown"
        put = await client.send("PUT", "/v1/groups/user_facts/rows/1", {"features": {"visits": 1}})
        assert put.status == 503, put.body

        async def is_told() -> bool:
            groups = (await client.admin("/v1/status")).json["groups"]
            return all(g["tableFault"] and g["tableFault"]["reason"] == "TierMisconfigured" for g in groups)

        await until(is_told)
    async with a_sidecar(tmp_path, **flags) as client:
        await written(client, 1)
        assert await read_visits(client) == 1
        assert await degraded(client) == set()


async def test_dynamodb_that_hangs_or_throttles_is_unknown_in_time(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Held, throttled and dropped calls end within the request's budget; other rows are answered."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags: dict[str, Any] = {
            "store": "dynamodb",
            "dynamodb_endpoint_url": proxy.url,
            "table_prefix": f"t{free_port()}",
            "l3_timeout_ms": "300",
        }
        async with a_sidecar(tmp_path, **flags) as client:
            await written(client, 1)
            for fault in (held(), throttled(), dropped()):
                proxy.on("BatchGetItem", fault)
                answer = await client.read({"group": "user_facts", "ids": ["1", "new"]}, timeout_ms=200)
                hit, miss = answer.json["results"][0]["rows"]
                assert (hit["status"], miss["status"]) == ("found", "unknown")
                proxy.heal()
            assert (await client.rows("user_facts", "newer"))[0]["status"] == "missing"


async def test_the_status_of_a_write_that_may_be_stored_is_not_that_of_one_that_is_not(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """A lost connection is `TierUnavailable`; a write that went out may be stored all the same."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags: dict[str, Any] = {
            "store": "dynamodb",
            "dynamodb_endpoint_url": proxy.url,
            "table_prefix": f"t{free_port()}",
        }
        async with a_sidecar(tmp_path, **flags) as client:
            said = (dropped(done=True), 504, "unknown"), (throttled(), 503, "failed")
            for fault, status, verdict in said:
                proxy.on("UpdateItem", fault)
                body = {"features": {"visits": 1}, "event_time": 1}
                for answer in (
                    await client.send("PUT", "/v1/groups/user_facts/rows/1", body),
                    await client.row("user_facts", "1", method="DELETE"),
                    await client.row("clicks", "1", method="DELETE"),
                ):
                    assert (answer.status, answer.json["verdict"]) == (status, verdict), answer.body
                    conform_to(answer.json, "VerdictProblem")
                proxy.heal()


async def test_stale_rows_are_marked_while_l3_is_down(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Past the hard TTL a held row is served marked while L3 fails, then unknown, and fresh after."""
    del aws_credentials
    manifest = copy.deepcopy(RECORDS)
    manifest["spec"]["cache"] = {
        "profile": "Hot",
        "local": {"hardTTLSeconds": 60},
        "remote": {"state": "Disabled"},
        "staleIfErrorSeconds": 300,
    }
    clock = ManualClock()
    async with FaultProxy(dynoxide_url) as proxy:
        flags: dict[str, Any] = {
            "store": "dynamodb",
            "dynamodb_endpoint_url": proxy.url,
            "table_prefix": f"t{free_port()}",
        }
        async with a_sidecar(tmp_path, manifest, clock=clock, **flags) as client:
            await written(client, 1)
            assert await read_visits(client) == 1
            proxy.on("BatchGetItem", dropped())
            clock.advance(61)
            (row,) = await client.rows("user_facts", "1", explain=True)
            assert (row["status"], row["stale"], row["features"]["visits"]) == ("found", True, 1)
            assert row["age_seconds"] == pytest.approx(61, abs=1)
            metrics = (await client.admin("/metrics")).body.decode()
            assert 'pannier_rows_read_total{group="user_facts",outcome="stale"} 1.0' in metrics
            clock.advance(301)
            assert (await client.rows("user_facts", "1"))[0]["status"] == "unknown"
            proxy.heal()
            clock.advance(2)
            (row,) = await client.rows("user_facts", "1")
            assert (row["status"], "stale" in row) == ("found", False)
