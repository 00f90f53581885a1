"""A DynamoDB store behind a `FaultProxy`, for the tests of what it makes of faults."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from tests.fault_proxy import FaultProxy
from tests.integration.dynamodb_stores import a_store
from tests.integration.store_calls import NOW

from pannier_sidecar.row import Put, PutOutcome
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

SHORT_SECONDS = 0.4
"""A budget that a test waits out: enough for a few retries."""


class Faulty(NamedTuple):
    """The store, and what stands between it and its emulator."""

    store: DynamoDBStore
    proxy: FaultProxy


@contextlib.asynccontextmanager
async def a_faulty_store(url: str) -> AsyncIterator[Faulty]:
    """Open both."""
    async with FaultProxy(url) as proxy, a_store(proxy.url) as store:
        yield Faulty(store, proxy)


async def write_shortly(store: DynamoDBStore, *puts: Put) -> list[PutOutcome]:
    """Write with little time."""
    return await store.write(puts, timeout_seconds=SHORT_SECONDS, now_us=NOW)
