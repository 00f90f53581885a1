"""A late answer of DynamoDB, seen over HTTP: it is asked a second time, once, and not too often."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fault_proxy import FaultProxy, held, throttled
from tests.integration.test_http_overload import on_dynamodb, until, visits
from tests.sidecars import Client, a_sidecar

from pannier_sidecar.hedging import FIRST_SAMPLES

WARM = 3 * FIRST_SAMPLES


async def warm(client: Client) -> None:
    """Load until the sidecar knows how long that takes."""
    for number in range(WARM):
        await client.rows("user_facts", f"warm{number}")


async def hedges(client: Client) -> dict[str, int]:
    text = (await client.admin("/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("pannier_hedges_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


async def test_a_late_first_call_is_answered_by_the_second(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """One call never comes back: the row is answered all the same, for exactly one call more."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, reads_in_flight="100", hedge_percent="100")
        async with a_sidecar(tmp_path, **flags) as client:
            await client.write(visits(7, "late"))
            await warm(client)
            before, calls = await hedges(client), proxy.calls["BatchGetItem"]
            assert WARM <= calls <= WARM + before.get("sent", 0)
            proxy.on("BatchGetItem", held(), times=1)
            await client.send("POST", "/v1/features/invalidate", {"group": "user_facts", "ids": ["late"]})
            (row,) = await client.rows("user_facts", "late")
            assert (row["status"], row["features"]["visits"]) == ("found", 7)
            after = await hedges(client)
            assert proxy.calls["BatchGetItem"] == calls + 2
            assert after["sent"] == before.get("sent", 0) + 1
            assert after["won"] == before.get("won", 0) + 1


async def test_second_calls_stay_within_their_share(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """Everything hangs at once: of all loads so far at most one in twenty is asked for twice."""
    del aws_credentials
    at_once = 20
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, reads_in_flight="100")
        async with a_sidecar(tmp_path, **flags) as client:
            await warm(client)
            withheld = (await hedges(client)).get("withheld", 0)
            proxy.on("BatchGetItem", held(until=(gate := asyncio.Event())))
            loading = [asyncio.create_task(client.rows("user_facts", f"cold{n}")) for n in range(at_once)]
            share = (WARM + at_once) // 20

            async def all_are_late() -> bool:
                seen = await hedges(client)
                return seen.get("withheld", 0) - withheld >= at_once - share

            await until(all_are_late)
            sent = (await hedges(client)).get("sent", 0)
            assert sent <= share
            assert WARM + at_once <= proxy.calls["BatchGetItem"] <= WARM + at_once + sent
            proxy.heal()
            gate.set()
            assert {row["status"] for rows in await asyncio.gather(*loading) for row in rows} == {"missing"}


async def test_nothing_is_asked_twice_while_dynamodb_throttles_and_no_write_ever(
    tmp_path: Path, aws_credentials: dict[str, str], dynoxide_url: str
) -> None:
    """A throttled read is retried after a pause and not hedged; a late write waits for its one answer."""
    del aws_credentials
    async with FaultProxy(dynoxide_url) as proxy:
        flags = on_dynamodb(proxy, reads_in_flight="100", hedge_percent="100", l3_timeout_ms="1000")
        async with a_sidecar(tmp_path, **flags) as client:
            await client.write(visits(0, "w"))
            calls = proxy.calls["UpdateItem"]
            await warm(client)
            sent = (await hedges(client)).get("sent", 0)
            proxy.on("BatchGetItem", throttled())
            (row,) = await client.rows("user_facts", "cold")
            assert (row["status"], row["reason"]) == ("unknown", "TierThrottled")
            assert (await hedges(client)).get("sent", 0) == sent
            proxy.heal()
            proxy.on("UpdateItem", held(until=(gate := asyncio.Event())))
            writing = asyncio.create_task(client.write(visits(1, "w")))
            await until(lambda: _is_written_once_more(proxy, calls))
            await warm(client)
            gate.set()
            ((verdict,),) = [await writing]
            assert verdict["verdict"] == "written"
            assert proxy.calls["UpdateItem"] == calls + 1


async def _is_written_once_more(proxy: FaultProxy, calls: int) -> bool:
    return proxy.calls["UpdateItem"] == calls + 1
