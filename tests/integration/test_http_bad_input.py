"""Bad input over HTTP: every kind gets a problem that names the field, and nothing is lost or half-done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.openapi_schemas import conform_to
from tests.sidecars import Answer, Client, a_sidecar

RECORD = {"group": "user_facts", "ids": ["1"]}
CLICKS = {"group": "clicks", "ids": ["1"]}


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with a_sidecar(tmp_path) as running:
        yield running


def fault(answer: Answer) -> tuple[int, str, str]:
    """Status, path and reason of the only fault."""
    conform_to(answer.json, "ProblemDetails")
    ((path, reason),) = answer.faults
    return answer.status, path, reason


@pytest.mark.parametrize(
    ("read", "status", "path", "reason"),
    [
        ({"group": "nope", "ids": ["1"]}, 404, "reads[0].group", "UnknownGroup"),
        ({**RECORD, "features": ["ctiy"]}, 422, "reads[0].features[0]", "UnknownFeature"),
        ({**RECORD, "id": ["1"]}, 422, "reads[0].id", "UnknownField"),
        ({"group": "user_facts"}, 422, "reads[0].ids", "MissingField"),
        ({"group": "user_facts", "ids": "1"}, 422, "reads[0].ids", "WrongType"),
        ({"group": "user_facts", "ids": ["1", 2]}, 422, "reads[0].ids[1]", "WrongType"),
        ({"group": "user_facts", "ids": ["1", None]}, 422, "reads[0].ids[1]", "WrongType"),
        ({"group": ["user_facts"], "ids": ["1"]}, 422, "reads[0].group", "WrongType"),
        ({"group": "user_facts", "ids": [""]}, 422, "reads[0].ids[0]", "InvalidId"),
        ({"group": "user_facts", "ids": ["x" * 65]}, 422, "reads[0].ids[0]", "IdTooLong"),
        ({**CLICKS, "limit": 1.5}, 422, "reads[0].limit", "WrongType"),
    ],
)
async def test_a_bad_read_alone_is_refused(
    client: Client, read: dict[str, Any], status: int, path: str, reason: str
) -> None:
    """The only read of a request being wrong makes the request a 404 or 422 that names the field."""
    assert fault(await client.read(read)) == (status, path, reason)


@pytest.mark.parametrize(
    ("read", "path"),
    [
        ({**CLICKS, "limit": 11}, "reads[0].limit"),
        ({**CLICKS, "limit": 0}, "reads[0].limit"),
        ({**CLICKS, "limit": -1}, "reads[0].limit"),
        ({**CLICKS, "since": 20, "until": 10}, "reads[0]"),
        ({**CLICKS, "since": "yesterday"}, "reads[0].since"),
        ({**CLICKS, "until": "2020-13-01T00:00:00Z"}, "reads[0].until"),
        ({**RECORD, "limit": 3}, "reads[0].limit"),
        ({**RECORD, "since": 3}, "reads[0].since"),
        ({**RECORD, "max_age_seconds": -1}, "reads[0].max_age_seconds"),
    ],
)
async def test_limits_and_ranges_are_checked(client: Client, read: dict[str, Any], path: str) -> None:
    """Limits over the group's, reversed ranges and times that are none are refused by field."""
    status, where, _ = fault(await client.read(read))
    assert status == 422
    assert where.startswith(path)


async def test_one_bad_read_of_several_leaves_the_others(client: Client) -> None:
    """A fault stands in the place of its read; order and neighbours are untouched."""
    await client.write({"group": "user_facts", "id": "1", "features": {"city": "Seoul"}})
    answer = await client.read({"group": "nope", "ids": ["1"]}, RECORD, {**RECORD, "features": ["x"]})
    assert answer.status == 200
    conform_to(answer.json, "ReadAnswer")
    first, second, third = answer.json["results"]
    assert (first["group"], first["error"]["reason"]) == ("nope", "UnknownGroup")
    assert first["error"]["status"] == 404
    assert second["rows"][0]["features"]["city"] == "Seoul"
    assert third["error"]["reason"] == "UnknownFeature"


async def test_only_bad_reads_are_one_problem(client: Client) -> None:
    """With no read left to answer, all faults are in one document."""
    answer = await client.read({"group": "nope", "ids": ["1"]}, {**RECORD, "features": ["x"]})
    assert answer.status == 422
    assert answer.faults == [("reads[0].group", "UnknownGroup"), ("reads[1].features[0]", "UnknownFeature")]
    both = await client.read({"group": "a", "ids": ["1"]}, {"group": "b", "ids": ["1"]})
    assert (both.status, both.reason) == (404, "UnknownGroup")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"reads": [{"group": "user_facts", "ids": ["1"]}] * 101}, "reads"),
        ({"reads": [{"group": "user_facts", "ids": ["1"] * 1001}]}, "reads[0].ids"),
        ({"reads": [{"group": "user_facts", "ids": ["1"] * 1000}] * 6}, "reads"),
        ({"reads": [RECORD], "timeout_ms": 0}, "timeout_ms"),
        ({"reads": [RECORD], "timeout_ms": -5}, "timeout_ms"),
        ({"reads": [RECORD], "timeout_ms": 10**9}, "timeout_ms"),
    ],
)
async def test_the_size_of_a_request_is_bounded(client: Client, body: dict[str, Any], path: str) -> None:
    """Too many reads, ids or rows, and budgets that are none, are refused before anything is loaded."""
    answer = await client.send("POST", "/v1/features/read", body)
    assert answer.status == 422
    assert answer.faults[0][0].startswith(path)
    metrics = (await client.admin("/metrics")).body.decode()
    assert f'pannier_problems_total{{reason="{answer.reason}"}} 1.0' in metrics


async def test_ids_of_every_kind_are_rows_of_their_own(client: Client) -> None:
    """Ids with '#', '/', quotes, blanks, any Unicode and duplicates are read back as they were written."""
    ids = [
        "a#b",
        "a#",
        "#",
        "a/b",
        "..",
        'quo"te',
        "bl ank",
        "日本",
        "🎒",
        "\u0000",
        "%2F",
        "a\\b",
        "\u00e9",
        "e\u0301",
    ]
    for number, row_id in enumerate(ids):
        (verdict,) = await client.write({"group": "user_facts", "id": row_id, "features": {"visits": number}})
        assert verdict["verdict"] == "written", verdict
        assert verdict["id"] == row_id
    rows = await client.rows("user_facts", *ids, *reversed(ids))
    assert [row["id"] for row in rows] == [*ids, *reversed(ids)]
    expected = list(range(len(ids)))
    assert [row["features"]["visits"] for row in rows] == [*expected, *reversed(expected)]
    for number, row_id in enumerate(ids):
        document = (await client.row("user_facts", row_id)).json
        assert (document["id"], document["features"]["visits"]) == (row_id, number)


@pytest.mark.parametrize("path", ["read", "write", "invalidate"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"reads": [{"group": "user_facts", "ids": ["1"',
        b'{"writes": [{"group": "user_facts", "id": "1", "features": {"city": "a',
        b'{"group": "user_facts", "ids": ["1"',
        b"",
        b"\xff\xfe{}",
        b"hello",
    ],
)
async def test_what_is_no_json_is_refused(client: Client, path: str, body: bytes) -> None:
    """A truncated or garbled body is refused as a whole; nothing of it is done."""
    answer = await client.send("POST", f"/v1/features/{path}", raw=body)
    assert (answer.status, answer.reason) in {(400, "MalformedJson"), (422, "UnknownField")}
    assert (await client.rows("user_facts", "1"))[0]["status"] == "missing"


@pytest.mark.parametrize(
    "body",
    [
        b'{"reads":[{"group":"user_facts","ids":["\\ud800"]}]}',
        b'{"reads": NaN}',
        b'{"reads":[{"group":"user_facts","ids":["1"]}]} and more',
        b"{'reads': []}",
    ],
)
async def test_nearly_json_is_400(client: Client, body: bytes) -> None:
    """Lone surrogates, NaN, a tail and the wrong quotes are told apart from a request for the wrong thing."""
    answer = await client.send("POST", "/v1/features/read", raw=body)
    assert (answer.status, answer.reason) == (400, "MalformedJson"), answer.body


async def test_deep_nesting_exhausts_nothing(client: Client) -> None:
    """A hundred thousand brackets, wherever they stand, are refused like any other wrong value."""
    deep = b"[" * 100_000 + b"]" * 100_000
    for raw in (deep, b'{"reads":' + deep + b"}"):
        assert (await client.send("POST", "/v1/features/read", raw=raw)).status in {400, 422}
    for feature in ("notes", "tags", "city"):
        raw = b'{"features":{"' + feature.encode() + b'":' + deep + b"}}"
        answer = await client.send("PUT", "/v1/groups/user_facts/rows/1", raw=raw)
        assert answer.status in {400, 422}, answer.body
    assert (await client.read(RECORD)).status == 200


async def test_bodies_over_the_limit_are_413(client: Client) -> None:
    """Announced or not, more than 8 MiB is refused, and the connection serves on."""
    too_much = b" " * (8 * 1024 * 1024 + 1)
    answer = await client.send("POST", "/v1/features/read", raw=too_much)
    assert (answer.status, answer.reason) == (413, "BodyTooLarge")
    answer = await client.send("PUT", "/v1/groups/user_facts/rows/1", raw=too_much)
    assert answer.status == 413
    padded = json.dumps({"reads": [RECORD]}).encode().ljust(8 * 1024 * 1024)
    assert (await client.send("POST", "/v1/features/read", raw=padded)).status == 200


async def test_the_content_type_does_not_matter(client: Client) -> None:
    """Curl without a header sends a form's type; the body is JSON or it is not."""
    for content_type in ("application/x-www-form-urlencoded", "text/plain", ""):
        body = json.dumps({"reads": [RECORD]}).encode()
        answer = await client.send("POST", "/v1/features/read", raw=body, **{"Content-Type": content_type})
        assert answer.status == 200


async def test_garbled_compression_is_a_problem(client: Client) -> None:
    """A body that is not what its Content-Encoding says is the client's fault."""
    answer = await client.send("POST", "/v1/features/read", raw=b"not gzip", **{"Content-Encoding": "gzip"})
    assert (answer.status, answer.reason) == (400, "MalformedRequest")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/features/read", "OPTIONS, POST"),
        ("DELETE", "/v1/features/write", "OPTIONS, POST"),
        ("POST", "/v1/groups", "GET, HEAD, OPTIONS"),
        ("PATCH", "/v1/groups/user_facts/rows/1", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ],
)
async def test_wrong_methods_are_405_with_allow(client: Client, method: str, path: str, allow: str) -> None:
    """The answer says which methods there are; OPTIONS says so without a fault."""
    answer = await client.send(method, path)
    assert (answer.status, answer.reason, answer.headers["Allow"]) == (405, "MethodNotAllowed", allow)
    options = await client.send("OPTIONS", path)
    assert (options.status, options.headers["Allow"]) == (204, allow)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/features", "/v1/groups/a/rows", "/metrics", "//", "/v1/features/read/"]
)
async def test_unknown_paths_are_problems(client: Client, path: str) -> None:
    """The data port serves its own resources only; what is not there is a problem document too."""
    answer = await client.send("GET", path)
    assert (answer.status, answer.reason) == (404, "UnknownRoute")


async def test_the_admin_port_serves_no_data(client: Client) -> None:
    """Health, metrics and status alone."""
    for path in ("/v1/groups", "/v1/groups/user_facts/rows/1", "/v1/features/read", "/openapi.json"):
        assert (await client.admin(path)).reason == "UnknownRoute"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limt=3", "?limt"),
        ("limit=3&limit=4", "?limit"),
        ("limit=three", "?limit"),
        ("limit=11", "reads[0].limit"),
        ("features=", "reads[0].features"),
        ("features=article,nope", "reads[0].features[1]"),
        ("int64=maybe", "?int64"),
        ("explain=perhaps", "?explain"),
        ("limit=99999999999999999999", "?limit"),
        ("timeout_ms=0", "timeout_ms"),
    ],
)
async def test_bad_parameters_are_named(client: Client, query: str, path: str) -> None:
    """A query is checked like a body."""
    answer = await client.row("clicks", "1", query)
    assert answer.status == 422, answer.body
    assert answer.faults[0][0].startswith(path)


async def test_bad_paths_are_problems(client: Client) -> None:
    """Ids that are empty, not UTF-8, too long or of an unknown group, in the path."""
    send = client.send
    assert (await send("GET", "/v1/groups/user_facts/rows/")).reason == "InvalidId"
    assert (await send("GET", "/v1/groups/user_facts/rows/%FF")).reason == "MalformedRequest"
    assert (await send("GET", f"/v1/groups/user_facts/rows/{'x' * 65}")).reason == "IdTooLong"
    for method in ("GET", "DELETE"):
        assert (await send(method, "/v1/groups/nope/rows/1")).reason == "UnknownGroup"
    assert (await send("PUT", "/v1/groups/nope/rows/1", {"features": {}})).reason == "UnknownGroup"
    for method in ("GET", "DELETE"):  # read with a replacement character, it would be the key of another row
        bad = await send(method, "/v1/groups/clicks/rows/1?timestamp=5&tie_breaker=%FF")
        assert bad.reason == "MalformedRequest"
    assert (await send("GET", "/v1/groups/usr_facts")).json["detail"].endswith("did you mean `user_facts`?")


async def test_what_is_no_http_is_answered_as_a_problem(client: Client) -> None:
    """Garbage on the socket gets a 400 problem and the connection is closed; the next one is served."""
    address = client.sidecar.data.tcp_addresses[0]
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"HELO sidecar\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] == b"400"
    assert b"urn:pannier:problem:MalformedRequest" in answer
    assert b"Invalid method encountered" in answer
    assert (await client.read(RECORD)).status == 200
