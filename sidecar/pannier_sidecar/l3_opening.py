"""L3 as the settings name it, opened, and what stands before it: part of the composition root (`app`)."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from pannier.errors import Problem
from pannier.options import SettingsInvalid
from pannier_sidecar.bulkhead import Bulkhead, Limits
from pannier_sidecar.clock import Clock
from pannier_sidecar.errors import TierError
from pannier_sidecar.hedged_reads import HedgedReads
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.settings import Settings
from pannier_sidecar.tier_events import BadValueLog
from pannier_sidecar.tiers.bulkheads import GuardedStore
from pannier_sidecar.tiers.l3 import Store
from pannier_sidecar.tiers.l3_embedded import EmbeddedStore

_READ_WAIT_SECONDS: Final = 0.1
"""How long a call waits for room before it: readers want a quick word."""
_WRITE_WAIT_SECONDS: Final = 1.0
_OTHER_CALLS: Final = 8
"""Calls to DynamoDB that are neither reads nor writes of rows."""


class L3(NamedTuple):
    """The store, and the ways to it."""

    store: Store
    """Itself, for what looks at its tables."""
    reads: HedgedReads
    writes: GuardedStore


async def open_l3(settings: Settings, clock: Clock, metrics: Metrics, owned: AsyncExitStack) -> L3:
    """Open the store and its bulkheads; raises `SettingsInvalid`."""
    most_reads, most_writes = settings.l3_reads_in_flight, settings.l3_writes_in_flight
    reads = HedgedReads(
        Bulkhead("l3_read", Limits(most_reads, most_reads, _READ_WAIT_SECONDS), metrics),
        clock=clock,
        metrics=metrics,
        hedge_share=settings.hedge_percent / 100 if settings.store == "dynamodb" else 0.0,
    )
    writes = Bulkhead("l3_write", Limits(most_writes, most_writes, _WRITE_WAIT_SECONDS), metrics)
    store: Store
    if settings.store == "dynamodb":
        # importing the AWS client takes a third of the start, which a laptop without AWS need not wait for
        from pannier_sidecar.tiers.l3_dynamodb import DynamoDBSettings, DynamoDBStore  # noqa: PLC0415

        client = DynamoDBSettings(
            endpoint_url=settings.dynamodb_endpoint_url, concurrency=most_reads + most_writes + _OTHER_CALLS
        )
        store = DynamoDBStore(
            client, on_bad_value=BadValueLog().heard, on_throttled=reads.throttled, dice=random.Random()
        )
        flag = "--store"
    else:
        store = EmbeddedStore(settings.data_dir, clock)
        flag = "--data-dir"
    try:
        await owned.enter_async_context(store)
    except TierError as error:
        raise SettingsInvalid([Problem(flag, error.reason, error.message)]) from error
    return L3(store, reads, GuardedStore(store, writes))
