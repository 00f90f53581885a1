"""The hot path's answers on the wire: what they say of themselves, and connections that are not plain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from tests.sidecars import Client, a_sidecar

READ = {"reads": [{"group": "user_facts", "ids": ["1"]}]}
NOTES = "x" * 150_000


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with a_sidecar(tmp_path) as running:
        await running.write({"group": "user_facts", "id": "1", "features": {"notes": NOTES}})
        yield running


def request(body: bytes, version: str = "1.1", *headers: str) -> bytes:
    """A read request as bytes."""
    lines = [f"POST /v1/features/read HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def exchange(client: Client, sent: bytes) -> bytes:
    """Send bytes on a connection of its own, and read until it is closed."""
    address = client.sidecar.data.tcp_addresses[0]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(sent)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_hit_has_the_same_head_and_body_as_a_load(client: Client) -> None:
    """Which way an answer took cannot be told from it."""
    slow = await client.send("POST", "/v1/features/read?int64=number", READ)
    hot = await client.send("POST", "/v1/features/read", READ)
    assert hot.body == slow.body
    assert hot.headers.keys() == slow.headers.keys()
    assert {k: v for k, v in hot.headers.items() if k != "Date"} == {
        k: v for k, v in slow.headers.items() if k != "Date"
    }
    assert client.sidecar.metrics.group("user_facts").l1 == 2


async def test_old_and_closing_connections_are_answered_and_closed(client: Client) -> None:
    """HTTP/1.0 and ``Connection: close`` get their answer, and the end they asked for."""
    body = json.dumps(READ).encode()
    for sent in (request(body, "1.0"), request(body, "1.1", "Connection: close")):
        answer = await exchange(client, sent)
        head, _, answered = answer.partition(b"\r\n\r\n")
        assert b" 200 OK" in head
        assert json.loads(answered)["results"][0]["rows"][0]["features"]["notes"] == NOTES


async def test_pipelined_hits_come_back_in_order(client: Client) -> None:
    """Requests sent without waiting are answered one after the other on the same connection."""
    await client.write({"group": "user_facts", "id": "2", "features": {"city": "Busan"}})
    bodies = [json.dumps({"reads": [{"group": "user_facts", "ids": [i]}]}).encode() for i in "1212"]
    sent = b"".join(request(body) for body in bodies) + request(bodies[0], "1.1", "Connection: close")
    answer = await exchange(client, sent)
    found = [part[:3] for part in answer.split(b'"rows":[{"id":"')[1:]]
    assert found == [b'1",', b'2",', b'1",', b'2",', b'1",']


async def test_a_slow_reader_is_waited_for(client: Client) -> None:
    """Megabytes of answers to a client that does not read yet arrive whole once it does."""
    body = json.dumps({"reads": [{"group": "user_facts", "ids": ["1"] * 100}]}).encode()
    sent = request(body) + request(body, "1.1", "Connection: close")
    answer = await exchange(client, sent)
    assert answer.count(b'"status":"found"') == 200
    assert len(answer) > 2 * 100 * len(NOTES)


async def test_a_client_that_has_gone_harms_nobody(client: Client) -> None:
    """A connection cut before its answer is forgotten; the next one is served."""
    body = json.dumps({"reads": [{"group": "user_facts", "ids": ["1"] * 100}]}).encode()
    address = client.sidecar.data.tcp_addresses[0]
    for _ in range(5):
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(request(body) * 3)
        writer.transport.abort()
    assert (await client.send("POST", "/v1/features/read", READ)).status == 200
