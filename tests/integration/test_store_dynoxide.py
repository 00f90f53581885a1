"""The store suite and the DynamoDB suite on dynoxide."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.integration.dynamodb_stores import a_store
from tests.integration.dynamodb_suite import DynamoDBSuite
from tests.integration.store_suite import StoreSuite

from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

# one client for the whole module: making one costs more than a test
pytestmark = [pytest.mark.dynamodb, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def emulator_url(dynoxide_url: str) -> str:
    return dynoxide_url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(emulator_url: str) -> AsyncIterator[DynamoDBStore]:
    async with a_store(emulator_url) as opened:
        yield opened


class TestDynoxide(StoreSuite, DynamoDBSuite):
    """The suites."""
