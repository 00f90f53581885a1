"""Bad writes over HTTP: each names its field, nothing of it is stored, its neighbours are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.openapi_schemas import conform_to
from tests.sidecars import Client, a_sidecar


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with a_sidecar(tmp_path) as running:
        yield running


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
