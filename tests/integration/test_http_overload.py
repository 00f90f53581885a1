"""More asked of a sidecar than it may have under way, over HTTP: refused at once, over when the load is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.fault_proxy import FaultProxy, held
from tests.openapi_schemas import conform_to
from tests.servers import free_port
from tests.sidecars import Answer, Client, a_sidecar

from pannier_sidecar.overload import INTERVAL_US, LEAST

AT_ONCE = 5


def on_dynamodb(proxy: FaultProxy, **more: str) -> dict[str, Any]:
    return {
        "store": "dynamodb",
        "dynamodb_endpoint_url": proxy.url,
        "table_prefix": f"t{free_port()}",
        "request_timeout_ms": "20000",
        "l3_timeout_ms": "20000",
        "write_timeout_ms": "20000",
        "reads_in_flight": str(AT_ONCE),
        "writes_in_flight": str(AT_ONCE),
        **more,
    }


def visits(number: int, row_id: str) -> dict[str, Any]:
    return {"group": "user_facts", "id": row_id, "features": {"visits": number}}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll over HTTP until something is so: the sidecar tells nobody when it has noticed."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def in_flight(client: Client, room: str) -> int:
    """How many the sidecar says are under way."""
    number: int = (await client.admin("/v1/status")).json["in_flight"][room]["in_flight"]
    return number


async def is_in_flight(client: Client, room: str, expected: int) -> bool:
    return await in_flight(client, room) == expected


def is_refusal(answer: Answer) -> None:
    assert (answer.status, answer.reason) == (503, "Overloaded"), answer.body
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    conform_to(answer.json, "ProblemDetails")


async def test_reads_beyond_the_bound_are_refused_at_once_and_l1_answers_on(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """L3 hangs and the seats are taken: others get 503 with Retry-After, hits are served, healing ends it."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy, a_sidecar(tmp_path, **on_dynamodb(proxy)) as client:
        await client.write(visits(1, "warm"))
        assert (await client.rows("user_facts", "warm"))[0]["status"] == "found"
        proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
        loading = [asyncio.create_task(client.rows("user_facts", f"cold{n}")) for n in range(AT_ONCE)]
        await until(lambda: is_in_flight(client, "read", AT_ONCE))
        refused = [
            await client.read({"group": "user_facts", "ids": ["warm", f"more{n}"]}) for n in range(20)
        ] + [await client.row("user_facts", "one"), await client.row("user_facts", "one", "int64=string")]
        for answer in refused:
            is_refusal(answer)
        # what L1 knows is answered in every form
        for options in ({}, {"explain": True}):
            assert (await client.rows("user_facts", "warm", **options))[0]["features"]["visits"] == 1
        assert (await client.row("user_facts", "warm")).status == 200
        assert await in_flight(client, "read") == AT_ONCE
        assert proxy.calls["BatchGetItem"] <= AT_ONCE + 1  # nothing of what was refused was asked for
        proxy.heal()
        gate.set()
        assert [row["status"] for rows in await asyncio.gather(*loading) for row in rows] == [
            "missing"
        ] * AT_ONCE
        await until(lambda: is_in_flight(client, "read", 0))
        assert (await client.rows("user_facts", "more1"))[0]["status"] == "missing"
        metrics = (await client.admin("/metrics")).body.decode()
        assert f'pannier_shed_total{{kind="read"}} {len(refused)}.0' in metrics
        assert f'pannier_problems_total{{reason="Overloaded"}} {len(refused)}.0' in metrics
        assert 'pannier_in_flight{room="read"} 0.0' in metrics


async def test_writes_beyond_the_bound_are_refused_before_anything_is_stored(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """A refused write stored nothing, and says that repeating it is safe; those under way go on."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy, a_sidecar(tmp_path, **on_dynamodb(proxy)) as client:
        proxy.on("UpdateItem", held(until=(gate := asyncio.Event())))
        writing = [asyncio.create_task(client.write(visits(n, f"w{n}"))) for n in range(AT_ONCE)]
        await until(lambda: is_in_flight(client, "write", AT_ONCE))
        await until(lambda: _has_calls(proxy, "UpdateItem", AT_ONCE))
        refused = [
            await client.send("POST", "/v1/features/write", {"writes": [visits(9, "late")]}),
            await client.send("PUT", "/v1/groups/user_facts/rows/late", {"features": {"visits": 9}}),
            await client.row("user_facts", "w0", method="DELETE"),
        ]
        for answer in refused:
            is_refusal(answer)
            assert "nothing of this one was stored" in answer.json["detail"]
        assert proxy.calls["UpdateItem"] == AT_ONCE
        # reads have seats of their own
        assert (await client.rows("user_facts", "late"))[0]["status"] == "missing"
        proxy.heal()
        gate.set()
        verdicts = [verdict["verdict"] for (verdict,) in await asyncio.gather(*writing)]
        assert verdicts == ["written"] * AT_ONCE
        await until(lambda: is_in_flight(client, "write", 0))
        (verdict,) = await client.write(visits(9, "late"))
        assert verdict["verdict"] == "written"


async def test_a_write_whose_client_has_gone_keeps_its_seat_to_its_end(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Clients that hang up do not make room for more than the bound."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy, a_sidecar(tmp_path, **on_dynamodb(proxy)) as client:
        proxy.on("UpdateItem", held(until=(gate := asyncio.Event())))
        writing = [asyncio.create_task(client.write(visits(n, f"w{n}"))) for n in range(AT_ONCE)]
        await until(lambda: is_in_flight(client, "write", AT_ONCE))
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        is_refusal(await client.send("POST", "/v1/features/write", {"writes": [visits(9, "late")]}))
        proxy.heal()
        gate.set()
        await until(lambda: is_in_flight(client, "write", 0))
        rows = await client.rows("user_facts", *(f"w{n}" for n in range(AT_ONCE)))
        assert [row["features"]["visits"] for row in rows] == list(range(AT_ONCE))


async def _has_calls(proxy: FaultProxy, operation: str, expected: int) -> bool:
    return proxy.calls[operation] == expected


async def test_a_full_core_lets_fewer_in_although_the_bound_is_far(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """While the event loop stays late, reads beyond a few are refused; in time again, all are let in."""
    del aws_credentials
    late_us, now_us = 50_000, 0
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, reads_in_flight="40", writes_in_flight="40", l3_reads_in_flight="100")
        async with a_sidecar(tmp_path, **flags) as client:
            admission = client.sidecar.admission
            proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
            loading = [asyncio.create_task(client.rows("user_facts", f"cold{n}")) for n in range(LEAST)]
            await until(lambda: is_in_flight(client, "read", LEAST))
            for _ in range(30):
                now_us += INTERVAL_US
                admission.observe(late_us, now_us)
            is_refusal(await client.read({"group": "user_facts", "ids": ["more"]}))
            assert (await client.write(visits(1, "warm")))[0]["verdict"] == "written"
            assert (await client.rows("user_facts", "warm"))[0]["features"]["visits"] == 1
            proxy.heal()
            gate.set()
            await asyncio.gather(*loading)
            await until(lambda: is_in_flight(client, "read", 0))
            proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
            loading = []
            for number in range(40):  # each that is let in shows that one more may be
                now_us += INTERVAL_US
                admission.observe(0, now_us)
                loading.append(asyncio.create_task(client.rows("user_facts", f"again{number}")))
                await until(lambda: is_in_flight(client, "read", len(loading)))
            proxy.heal()
            gate.set()
            assert {row["status"] for rows in await asyncio.gather(*loading) for row in rows} == {"missing"}
