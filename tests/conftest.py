"""Fixtures that hand out real servers. A server starts when the first test asks for it, and only then."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager

import hypothesis
import pytest

from tests.control_plane import LEFT_OUT, WITHOUT, ApiServer, a_control_plane
from tests.servers import AWS_TEST_ENVIRONMENT, DynamoDBLocal, Dynoxide, Moto, RedisServer

_namespaces = itertools.count()

# The same code gives the same result; `make fuzz` looks for examples that nobody has seen yet.
hypothesis.settings.register_profile("same-every-time", derandomize=True)
hypothesis.settings.register_profile("new-every-time", derandomize=False, print_blob=True)
hypothesis.settings.load_profile("same-every-time")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let pages that show what programs print be written anew."""
    parser.addoption("--write-pages", action="store_true", help="write pages instead of comparing them")


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


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Start the moto emulator, shared by the session: tests name their tables apart."""
    with Moto() as server:
        yield server.url


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """Start a Kubernetes API server with the CRD, for the session: tests keep to namespaces of theirs."""
    with _control_plane() as server:
        yield server


@pytest.fixture
def own_api_server() -> Iterator[ApiServer]:
    """Start one for a test alone, which may stop it, or needs names that others use."""
    with _control_plane() as server:
        yield server


def _control_plane() -> AbstractContextManager[ApiServer]:
    if LEFT_OUT:
        pytest.skip(f"{WITHOUT} leaves the Kubernetes control plane out")
    return a_control_plane()


@pytest.fixture(scope="module")
def namespace(api_server: ApiServer, request: pytest.FixtureRequest) -> str:
    """Make a namespace for the tests of a module."""
    module = request.path.stem.removeprefix("test_")
    name = re.sub(r"[^a-z0-9]+", "-", f"{module}-{next(_namespaces)}")
    api_server.make("/api/v1/namespaces", {"metadata": {"name": name}})
    return name
