"""Fixtures that hand out real servers. A server starts when the first test asks for it, and only then."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers import AWS_TEST_ENVIRONMENT, DynamoDBLocal, Dynoxide, RedisServer


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings and cloud credentials of whoever runs the tests, and the width of the terminal.

    Nobody sets COLUMNS and LINES: readline leaves them to the workers of pytest-xdist.
    """
    for name in list(os.environ):
        if name.startswith(("AWS_", "PANNIER_")) or name in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put credentials that the emulators accept into the environment of this test."""
    for name, value in AWS_TEST_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return AWS_TEST_ENVIRONMENT


@pytest.fixture(scope="session")
def _session_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(_session_redis: RedisServer) -> str:
    """Empty the Redis that the session shares: whoever wants to break one takes `redis_server`."""
    _session_redis.flush()
    return _session_redis.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Start a Redis of the test's own, to kill, pause, resume and restart."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """Start AWS's DynamoDB emulator, shared by the session: tests name their tables apart."""
    with DynamoDBLocal() as server:
        yield server.url


@pytest.fixture(scope="session")
def dynoxide_url() -> Iterator[str]:
    """Start the dynoxide emulator, shared by the session: tests name their tables apart."""
    with Dynoxide() as server:
        yield server.url
