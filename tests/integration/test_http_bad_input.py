"""Bad input over HTTP: every kind gets a problem that names the field, and nothing is lost or half-done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
        ("since=%FF", "reads[0].since"),
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
    assert (await send("GET", "/v1/groups/usr_facts")).json["detail"].endswith("did you mean `user_facts`?")


@pytest.mark.parametrize(
    ("item", "path", "reason"),
    [
        ({"features": {"ctiy": "x"}}, "features.ctiy", "UnknownFeature"),
        ({"features": {"retired": "x"}}, "features.retired", "FeatureRemoved"),
        ({"features": {"visits": "3"}}, "features.visits", "WrongType"),
        ({"features": {"visits": 2**63}}, "features.visits", "Int64OutOfRange"),
        ({"features": {"tags": ["a", 1]}}, "features.tags[1]", "WrongType"),
        ({"features": {"tags": ["a", "a"]}}, "features.tags[1]", "DuplicateElement"),
        ({"features": {"city": "x" * 9000}}, "features.city", "ValueTooLarge"),
        ({"features": {}}, "features", "NothingToWrite"),
        ({"features": {"city": "a"}, "mode": "upsert"}, "mode", "InvalidValue"),
        ({"features": {"city": "a"}, "event_time": "soon"}, "event_time", None),
        ({"features": {"city": "a"}, "event_time": "2999-01-01T00:00:00Z"}, "event_time", None),
        ({"features": {"city": "a"}, "timestamp": 5}, "timestamp", None),
        ({"features": {"city": "a"}, "evnt_time": 5}, "evnt_time", "UnknownField"),
    ],
)
async def test_a_bad_write_is_invalid_by_field(
    client: Client, item: dict[str, Any], path: str, reason: str | None
) -> None:
    """In a batch the row's verdict is invalid; alone it is a 422; either way nothing is stored."""
    good = {"group": "user_facts", "id": "good", "features": {"city": "Busan"}}
    bad, kept = await client.write({"group": "user_facts", "id": "bad", **item}, good)
    conform_to({"results": [bad, kept]}, "WriteAnswer")
    assert (bad["verdict"], kept["verdict"]) == ("invalid", "written")
    assert bad["path"].startswith(f"writes[0].{path}"), bad
    assert reason is None or bad["reason"] == reason
    alone = await client.send("PUT", "/v1/groups/user_facts/rows/bad", item)
    assert alone.status == 422
    assert alone.faults[0][0].startswith(path)
    assert (await client.rows("user_facts", "bad"))[0]["status"] == "missing"


async def test_nan_never_gets_in(client: Client) -> None:
    """NaN and infinities are no JSON, and refused as such."""
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        body = b'{"features": {"score": ' + word + b"}}"
        answer = await client.send("PUT", "/v1/groups/user_facts/rows/1", raw=body)
        assert (answer.status, answer.reason) == (400, "MalformedJson")


async def test_batches_and_items_are_bounded(client: Client) -> None:
    """More than 500 writes are refused whole; an item over 400 KB is invalid alone."""
    write = {"group": "user_facts", "id": "1", "features": {"city": "a"}}
    answer = await client.send("POST", "/v1/features/write", {"writes": [write] * 501})
    assert (answer.status, answer.reason) == (422, "TooManyWrites")
    assert (await client.rows("user_facts", "1"))[0]["status"] == "missing"
    (verdict,) = await client.write({**write, "features": {"notes": "x" * 200_001}})
    assert (verdict["verdict"], verdict["reason"]) == ("invalid", "ValueTooLarge")


async def test_timestamps_that_do_not_fit_are_refused(client: Client) -> None:
    """Negative, too long for the key's digits, or in another unit: refused with a hint."""
    for timestamp in (-1, 10**10, "1969-12-31T23:59:59Z", 1.5, "then"):
        (verdict,) = await client.write(
            {"group": "clicks", "id": "1", "timestamp": timestamp, "features": {"session": "s"}}
        )
        assert verdict["verdict"] == "invalid", timestamp
        assert verdict["path"] == "writes[0].timestamp"


async def test_a_tie_breaker_is_needed(client: Client) -> None:
    """A group that tells records of one instant apart takes none without."""
    write = {"group": "clicks", "id": "1", "timestamp": 5, "features": {"article": "a"}}
    (verdict,) = await client.write(write)
    assert (verdict["verdict"], verdict["reason"]) == ("invalid", "TieBreakerRequired")


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


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["user_facts", "clicks", "nope", ""])
READS = st.fixed_dictionaries(
    {
        "reads": st.lists(
            st.fixed_dictionaries(
                {"group": NAMES | ANY_JSON, "ids": st.lists(st.text(max_size=5), max_size=3) | ANY_JSON},
                optional={
                    "features": st.lists(st.sampled_from(["city", "article", "retired", "x"]), max_size=3)
                    | ANY_JSON,
                    "limit": st.integers(-2, 12) | ANY_JSON,
                    "since": st.integers(-5, 10**17) | st.sampled_from(["-7d", "-1h", "x"]) | ANY_JSON,
                    "until": st.integers(-5, 10**17) | ANY_JSON,
                    "max_age_seconds": st.integers(-1, 10**20) | st.floats() | ANY_JSON,
                },
            ),
            max_size=4,
        )
    },
    optional={"timeout_ms": st.integers(-1, 100) | ANY_JSON, "explain": st.booleans() | ANY_JSON},
)
WRITES = st.fixed_dictionaries(
    {
        "writes": st.lists(
            st.fixed_dictionaries(
                {
                    "group": NAMES | ANY_JSON,
                    "id": st.text(max_size=5) | ANY_JSON,
                    "features": st.dictionaries(
                        st.sampled_from(
                            ["city", "visits", "score", "tags", "notes", "article", "session", "x"]
                        ),
                        ANY_JSON,
                        max_size=4,
                    )
                    | ANY_JSON,
                },
                optional={
                    "timestamp": st.integers(-5, 10**17) | ANY_JSON,
                    "event_time": st.integers(-5, 10**17) | ANY_JSON,
                    "mode": st.sampled_from(["merge", "replace", "force", "x"]),
                    "unset": st.lists(st.sampled_from(["city", "x"]), max_size=2) | ANY_JSON,
                },
            ),
            max_size=3,
        )
    },
)


async def test_no_body_whatsoever_is_a_500(client: Client) -> None:
    """Anything near a request or far from it is answered or refused, and every answer keeps to its schema."""
    loop = asyncio.get_running_loop()
    sent = 0

    def send(path: str, body: object) -> Answer:
        raw = json.dumps(body).encode()
        return asyncio.run_coroutine_threadsafe(client.send("POST", path, raw=raw), loop).result(20)

    @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
    @given(READS | ANY_JSON, WRITES | ANY_JSON)
    def fuzz(read: object, write: object) -> None:
        nonlocal sent
        sent += 1
        _check(send("/v1/features/read", read), "ReadAnswer", read)
        _check(send("/v1/features/write", write), "WriteAnswer", write)
        assert send("/v1/features/invalidate", read).status in {400, 422}

    await asyncio.to_thread(fuzz)
    assert sent > 50


def _check(answer: Answer, schema: str, body: object) -> None:
    assert answer.status in {200, 400, 404, 422}, (answer.status, answer.body, body)
    conform_to(answer.json, schema if answer.status == 200 else "ProblemDetails")
