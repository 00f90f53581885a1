"""The HTTP API as apps use it: reads, writes, one row as a resource, groups, OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio
from tests.openapi_schemas import conform_to
from tests.sidecars import RECORDS, Client, a_sidecar

from pannier.catalog import Catalog

BIG = 2**63 - 1


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with a_sidecar(tmp_path) as running:
        yield running


async def click(client: Client, row_id: str, timestamp: int, session: str = "s") -> dict[str, Any]:
    (verdict,) = await client.write(
        {
            "group": "clicks",
            "id": row_id,
            "timestamp": timestamp,
            "features": {"article": f"a{timestamp}", "session": session},
        }
    )
    return verdict


async def test_a_request_over_groups_is_answered_in_order(client: Client) -> None:
    """Reads, ids and duplicates come back as they were asked, each row with its status."""
    await client.write({"group": "user_facts", "id": "1", "features": {"city": "Seoul", "visits": 3}})
    await click(client, "1", 100)
    answer = await client.read(
        {"group": "user_facts", "ids": ["1", "2", "1"], "features": ["visits"]},
        {"group": "clicks", "ids": ["1", "2"]},
    )
    conform_to(answer.json, "ReadAnswer")
    assert answer.headers["Content-Type"] == "application/json"
    found = {"id": "1", "status": "found", "features": {"visits": 3}}
    assert answer.json["results"] == [
        {"group": "user_facts", "rows": [found, {"id": "2", "status": "missing"}, found]},
        {
            "group": "clicks",
            "rows": [
                {
                    "id": "1",
                    "status": "found",
                    "records": [{"timestamp": 100, "features": {"article": "a100", "session": "s"}}],
                },
                {"id": "2", "status": "missing", "records": []},
            ],
        },
    ]


async def test_defaults_are_named(client: Client) -> None:
    """What the row lacks and the spec supplies is served and listed; a stored null stays null."""
    await client.write({"group": "user_facts", "id": "1", "features": {"visits": None}})
    (row,) = await client.rows("user_facts", "1")
    assert row["features"] == {"city": "nowhere", "visits": None}
    assert row["defaulted"] == ["city"]


async def test_explain_tells_tier_age_and_timings(client: Client) -> None:
    """The first read comes from L3, the next from L1; Server-Timing names the stages."""
    await client.read({"group": "user_facts", "ids": ["new"]})
    await client.write({"group": "user_facts", "id": "1", "features": {"visits": 1}})
    cold = await client.read({"group": "user_facts", "ids": ["2"]}, explain=True)
    conform_to(cold.json, "ReadAnswer")
    assert cold.json["results"][0]["rows"][0]["source"] == "l3"
    assert "total;dur=" in cold.headers["Server-Timing"]
    (warm,) = await client.rows("user_facts", "1", explain=True)
    assert warm["source"] == "l1"
    assert warm["age_seconds"] >= 0
    assert warm["event_time"].endswith("Z")
    plain = await client.read({"group": "user_facts", "ids": ["1"]})
    assert "Server-Timing" not in plain.headers
    assert "source" not in plain.json["results"][0]["rows"][0]


async def test_a_hit_answers_the_same_bytes_as_the_miss_before(client: Client) -> None:
    """The spliced answer of the fast path is the answer of the slow one."""
    for number in range(20):
        await click(client, "1", 1000 + number)
    await client.write({"group": "user_facts", "id": "1", "features": {"tags": ["b", "a"], "visits": BIG}})
    asked: list[dict[str, Any]] = [
        {"group": "clicks", "ids": ["1", "x"], "limit": 7},
        {"group": "user_facts", "ids": ["1"]},
    ]
    answers = [(await client.read(*asked)).body for _ in range(4)]
    assert len(set(answers)) == 1


async def test_timelines_slice_by_limit_and_range(client: Client) -> None:
    """Newest first, at most the limit, bounds inclusive, `more` where older ones exist."""
    for timestamp in range(10, 16):
        await click(client, "1", timestamp)
    (row,) = await client.rows("clicks", "1")
    assert [record["timestamp"] for record in row["records"]] == [15, 14, 13]
    assert row["more"] is True
    answer = await client.row("clicks", "1", "since=11&until=12&limit=5")
    conform_to(answer.json, "RowDocument")
    assert [record["timestamp"] for record in answer.json["records"]] == [12, 11]
    assert "more" not in answer.json
    nothing = (await client.row("clicks", "1", "since=100")).json
    assert (nothing["status"], nothing["records"]) == ("found", [])


async def test_large_integers_stay_exact(client: Client) -> None:
    """Int64 is exact as a number, and a string for who asks for strings, in reads of either form."""
    await client.write({"group": "user_facts", "id": "1", "features": {"visits": BIG, "city": "x"}})
    assert (await client.rows("user_facts", "1"))[0]["features"]["visits"] == BIG
    body = {"reads": [{"group": "user_facts", "ids": ["1"]}]}
    strings = await client.send("POST", "/v1/features/read?int64=string", body)
    assert strings.json["results"][0]["rows"][0]["features"]["visits"] == str(BIG)
    assert (await client.row("user_facts", "1", "int64=string")).json["features"]["visits"] == str(BIG)
    assert (await client.row("user_facts", "1", "int64=number")).json["features"]["visits"] == BIG


async def test_one_row_as_a_resource(client: Client) -> None:
    """PUT, GET, HEAD and DELETE of one address, each telling what became of it."""
    path = "/v1/groups/user_facts/rows/7"
    put = await client.send("PUT", path, {"features": {"city": "Jeju"}})
    conform_to(put.json, "WriteResult")
    assert (put.status, put.json["verdict"], put.json["id"]) == (200, "written", "7")
    got = await client.send("GET", path)
    conform_to(got.json, "RowDocument")
    assert got.json == {"group": "user_facts", "id": "7", "status": "found", "features": {"city": "Jeju"}}
    head = await client.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    deleted = await client.send("DELETE", path)
    assert (deleted.status, deleted.json["verdict"]) == (200, "written")
    assert (await client.send("GET", path)).json["status"] == "missing"


async def test_a_write_is_read_at_once(client: Client) -> None:
    """Through one sidecar a client reads its own writes, also over a cached miss."""
    for number in range(5):
        row_id = f"r{number}"
        assert (await client.rows("user_facts", row_id))[0]["status"] == "missing"
        await client.write({"group": "user_facts", "id": row_id, "features": {"visits": number}})
        assert (await client.rows("user_facts", row_id))[0]["features"]["visits"] == number


async def test_event_time_orders_writes(client: Client) -> None:
    """An older event is ignored with a reason; a repeat with the echoed event time is idempotent."""
    write = {
        "group": "user_facts",
        "id": "1",
        "features": {"visits": 2},
        "event_time": "2024-01-02T00:00:00Z",
    }
    older = {**write, "features": {"visits": 1}, "event_time": "2024-01-01T00:00:00Z"}
    first, second, third = [(await client.write(w))[0] for w in (write, older, write)]
    assert [r["verdict"] for r in (first, second, third)] == ["written", "ignored_older", "written"]
    assert first["event_time"] == "2024-01-02T00:00:00.000000Z"
    assert (await client.rows("user_facts", "1"))[0]["features"]["visits"] == 2


async def test_deleting_an_instant_and_an_id(client: Client) -> None:
    """?timestamp= deletes all records of an instant, &tie_breaker= one; without, the whole id."""
    for session in ("x", "y"):
        await click(client, "1", 50, session)
    await click(client, "1", 60)

    def shown(row: dict[str, Any]) -> list[tuple[int, str]]:
        return [(r["timestamp"], r["features"]["session"]) for r in row["records"]]

    assert shown((await client.row("clicks", "1")).json) == [(60, "s"), (50, "y"), (50, "x")]
    one = await client.row("clicks", "1", "timestamp=50&tie_breaker=y", "DELETE")
    assert one.status == 200, one.body
    assert shown((await client.row("clicks", "1")).json) == [(60, "s"), (50, "x")]
    instant = await client.row("clicks", "1", "timestamp=1970-01-01T00:00:50Z", "DELETE")
    assert instant.status == 200, instant.body
    assert shown((await client.row("clicks", "1")).json) == [(60, "s")]
    assert (await client.row("clicks", "1", method="DELETE")).status == 200
    assert (await client.row("clicks", "1")).json["records"] == []
    late = await click(client, "1", 55)
    assert late["verdict"] == "ignored_deleted"


async def test_put_takes_the_timestamp_from_the_query_too(client: Client) -> None:
    """The address of a record may hold its instant; given twice it is refused."""
    body = {"features": {"session": "s", "article": "a"}}
    path = "/v1/groups/clicks/rows/1?timestamp=77"
    assert (await client.send("PUT", path, body)).json["timestamp"] == 77
    twice = await client.send("PUT", path, {**body, "timestamp": 77})
    assert (twice.status, twice.faults) == (422, [("?timestamp", "InvalidValue")])


async def test_invalidate_forgets_what_caches_hold(client: Client) -> None:
    """After another writer changed the store, an invalidated id is read from L3 again."""
    await client.write({"group": "user_facts", "id": "1", "features": {"visits": 1}})
    await client.rows("user_facts", "1")
    answer = await client.send("POST", "/v1/features/invalidate", {"group": "user_facts", "ids": ["1", "2"]})
    conform_to(answer.json, "InvalidateAnswer")
    assert answer.json == {"group": "user_facts", "invalidated": 2}
    (row,) = await client.rows("user_facts", "1", explain=True)
    assert (row["source"], row["features"]["visits"]) == ("l3", 1)
    unknown = await client.send("POST", "/v1/features/invalidate", {"group": "nope", "ids": []})
    assert (unknown.status, unknown.reason) == (404, "UnknownGroup")
    many = {"group": "user_facts", "ids": ["1"] * 1001}
    assert (await client.send("POST", "/v1/features/invalidate", many)).reason == "TooManyIds"


async def test_groups_are_described_with_their_policy(client: Client) -> None:
    """The list names all groups; one group shows features, key, limits and the resolved policy."""
    listed = (await client.send("GET", "/v1/groups")).json
    conform_to(listed, "GroupList")
    assert [(g["group"], g["kind"]) for g in listed["groups"]] == [
        ("clicks", "timeline"),
        ("user_facts", "record"),
    ]
    shown = (await client.send("GET", "/v1/groups/clicks")).json
    conform_to(shown, "GroupDocument")
    assert shown["revision"] == listed["revision"]
    assert shown["key"]["sortKey"]["tieBreaker"] == "session"
    assert shown["query"] == {"defaultLimit": 3, "maxLimit": 10}
    assert shown["policy"]["local"]["softTTLSeconds"] > 0
    assert [f["state"] for f in shown["features"]] == ["Active", "Active"]


async def test_the_openapi_document_is_served(client: Client) -> None:
    """The document that describes the data port is on the data port."""
    answer = await client.send("GET", "/openapi.json")
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")


async def test_a_group_to_read_only_is_not_written(tmp_path: Path) -> None:
    """Writing what this namespace may only read is a 403 alone and invalid in a batch."""
    async with a_sidecar(tmp_path) as client:
        plan = client.sidecar.plan.current
        assert plan is not None
        groups = [msgspec.structs.replace(group.group, access="Read") for group in plan.groups.values()]
        client.sidecar.plan.adopt(Catalog(revision=plan.revision + 1, groups=tuple(groups)))
        put = await client.send("PUT", "/v1/groups/user_facts/rows/1", {"features": {"city": "x"}})
        assert (put.status, put.reason) == (403, "AccessDenied")
        assert (await client.row("user_facts", "1", method="DELETE")).status == 403
        (verdict,) = await client.write({"group": "user_facts", "id": "1", "features": {"city": "x"}})
        assert (verdict["verdict"], verdict["reason"]) == ("invalid", "AccessDenied")
        assert (await client.rows("user_facts", "1"))[0]["status"] == "missing"


async def test_large_bodies_with_expect_continue(client: Client) -> None:
    """A client that waits for 100 Continue gets it, and its body is read."""
    body = b'{"reads":[{"group":"user_facts","ids":["1"]}]}'
    head = f"POST /v1/features/read HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    reader, writer = await asyncio.open_connection(*client.sidecar.data.tcp_addresses[0])
    writer.write(head.encode() + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"id":"1","status":"missing"}]}]}')


async def test_pipelined_requests_keep_their_order(client: Client) -> None:
    """Several requests in one packet are answered one after the other."""
    await client.write({"group": "user_facts", "id": "1", "features": {"visits": 1}})
    bodies = [f'{{"reads":[{{"group":"user_facts","ids":["{i}"]}}]}}'.encode() for i in (1, 2, 1, 3)]
    request = b"".join(
        b"POST /v1/features/read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for body in bodies
    )
    reader, writer = await asyncio.open_connection(*client.sidecar.data.tcp_addresses[0])
    writer.write(request)
    answers = b""
    while answers.count(b"HTTP/1.1 200") < 4 or not answers.endswith(b"]}]}"):
        answers += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    positions = [answers.index(b'"id":"%d"' % i) for i in (1, 2, 3)]
    assert positions == sorted(positions)


async def test_a_client_that_leaves_does_not_undo_its_write(client: Client) -> None:
    """A write whose client closed the connection is stored all the same."""
    body = b'{"features":{"visits":5}}'
    _, writer = await asyncio.open_connection(*client.sidecar.data.tcp_addresses[0])
    writer.write(
        b"PUT /v1/groups/user_facts/rows/gone HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while (await client.rows("user_facts", "gone"))[0]["status"] != "found":
            await client.send("POST", "/v1/features/invalidate", {"group": "user_facts", "ids": ["gone"]})


async def test_rows_survive_a_restart(tmp_path: Path) -> None:
    """What was acknowledged is there after the sidecar started again on the same data."""
    async with a_sidecar(tmp_path, RECORDS) as client:
        await client.write({"group": "user_facts", "id": "1", "features": {"visits": 9}})
    async with a_sidecar(tmp_path, RECORDS) as client:
        assert (await client.rows("user_facts", "1"))[0]["features"]["visits"] == 9
