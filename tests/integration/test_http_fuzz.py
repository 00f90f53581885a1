"""Random bodies near and far from a request: never a 500, every answer true to its schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.openapi_schemas import conform_to
from tests.sidecars import Answer, Client, a_sidecar


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with a_sidecar(tmp_path) as running:
        yield running


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
