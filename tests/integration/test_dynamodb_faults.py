"""DynamoDB throttling, stalling, misconfigured or not there: a read is unknown, never missing.

A `FaultProxy` stands between the store and an emulator. Budgets are real but short; nothing sleeps to pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from tests import fault_proxy as faults
from tests.fault_proxy import Call, Fault, FaultProxy
from tests.integration.dynamodb_stores import settings
from tests.integration.faulty_store import SHORT_SECONDS, Faulty, a_faulty_store, write_shortly
from tests.integration.store_calls import (
    BUDGET_SECONDS,
    NOW,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    live,
    read,
    write,
    written,
)
from tests.servers import HOST, free_port

from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled, TierTimeout, TierUnavailable
from pannier_sidecar.row import Row, RowKey, TimelineQuery
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

pytestmark = [pytest.mark.dynamodb, pytest.mark.asyncio(loop_scope="module")]

UNAVAILABLE: list[tuple[Fault, type[TierError]]] = [
    (faults.throttled(), TierThrottled),
    (faults.refused("ThrottlingException"), TierThrottled),
    (faults.refused("RequestLimitExceeded"), TierThrottled),
    (faults.server_error(), TierUnavailable),
    (faults.refused("ServiceUnavailable", status=503), TierUnavailable),
    (faults.dropped(), TierUnavailable),
    (faults.garbage(), TierUnavailable),
    (faults.garbage(b'{"valid": "json"}'), TierUnavailable),
    (faults.held(), TierTimeout),
    (faults.refused("ResourceNotFoundException"), TierMisconfigured),
    (faults.refused("AccessDeniedException"), TierMisconfigured),
    (faults.refused("UnrecognizedClientException"), TierMisconfigured),
    (faults.refused("InvalidSignatureException"), TierMisconfigured),
    (
        faults.refused("ValidationException", "The provided key element does not match the schema"),
        TierMisconfigured,
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(dynoxide_url: str) -> AsyncIterator[Faulty]:
    async with a_faulty_store(dynoxide_url) as opened:
        yield opened


@pytest.fixture
def store(shared: Faulty) -> DynamoDBStore:
    return shared.store


@pytest.fixture
def proxy(shared: Faulty) -> FaultProxy:
    shared.proxy.heal()
    shared.proxy.calls.clear()
    return shared.proxy


@pytest.mark.parametrize(("fault", "error"), UNAVAILABLE)
async def test_a_read_that_fails_is_unknown_never_missing(
    store: DynamoDBStore, proxy: FaultProxy, fault: Fault, error: type[TierError]
) -> None:
    """Every key has the error as its value, by the end of the budget, for records and timelines."""
    plan, timeline = a_stored_plan(), a_timeline()
    proxy.on("BatchGetItem", fault)
    proxy.on("Query", fault)
    began = time.monotonic()
    keys = [RowKey(plan, f"{i}") for i in range(150)]
    rows = await store.read_records(keys, strong=False, timeout_seconds=SHORT_SECONDS)
    assert {type(row) for row in rows} == {error}
    queries = [TimelineQuery(timeline, "1", 5, *bounds) for bounds in (("0", "~"), ("0", at(9)))]
    pages = await store.read_timelines(queries, strong=False, timeout_seconds=SHORT_SECONDS, now_us=NOW)
    assert {type(answer) for answer in pages} == {error}
    assert time.monotonic() - began < 10 * SHORT_SECONDS


@pytest.mark.parametrize(
    "fault", [faults.throttled(), faults.server_error(), faults.dropped(), faults.unprocessed(0)]
)
async def test_a_passing_fault_is_retried_within_the_budget(
    store: DynamoDBStore, proxy: FaultProxy, fault: Fault
) -> None:
    """Two failures, then the answer."""
    plan = a_stored_plan()
    row = await written(store, a_put(plan, values={0: b'"x"'}))
    proxy.on("BatchGetItem", fault, times=2)
    assert await read(store, plan) == row
    assert proxy.calls["BatchGetItem"] == 3


async def test_a_long_throttling_is_not_answered_with_ever_more_calls(proxy: FaultProxy) -> None:
    """Once the retries that were saved are used up, reads are tried again one time in ten."""
    plan = a_stored_plan()
    loads, calls = 400, proxy.calls
    async with DynamoDBStore(settings(proxy.url)) as store:
        proxy.on("BatchGetItem", faults.throttled())

        async def load(number: int) -> None:
            (row,) = await store.read_records(
                [RowKey(plan, f"{number}")], strong=False, timeout_seconds=BUDGET_SECONDS
            )
            assert isinstance(row, TierThrottled)

        before = -2 * loads - 1
        while calls["BatchGetItem"] - before > 2 * loads:  # as long as retries are saved
            before = calls["BatchGetItem"]
            await asyncio.gather(*(load(number) for number in range(loads)))
        before = calls["BatchGetItem"]
        await asyncio.gather(*(load(number) for number in range(loads)))
        assert calls["BatchGetItem"] - before <= 1.1 * loads + 1


async def test_unprocessed_keys_are_asked_for_again(store: DynamoDBStore, proxy: FaultProxy) -> None:
    """However few DynamoDB does at a time."""
    plan = a_stored_plan()
    await write(store, *(a_put(plan, f"{i}", {0: b'"%d"' % i}) for i in range(8)))
    proxy.on("BatchGetItem", faults.unprocessed(3))
    keys = [RowKey(plan, f"{i}") for i in range(9)]
    rows = await store.read_records(keys, strong=True, timeout_seconds=BUDGET_SECONDS)
    assert [row.values for row in rows if isinstance(row, Row)] == [{0: b'"%d"' % i} for i in range(8)]
    assert rows[8] is None
    assert proxy.calls["BatchGetItem"] == 3


async def test_keys_that_stay_unprocessed_are_throttled_and_the_others_answered(
    store: DynamoDBStore, proxy: FaultProxy
) -> None:
    """Part of a call may be known while part of it is not."""
    plan = a_stored_plan()
    rows = [await written(store, a_put(plan, f"{i}", {0: b'"x"'})) for i in range(4)]
    first = faults.unprocessed(2)
    none = faults.unprocessed(0)

    async def less_and_less(call: Call) -> web.Response:
        return await (first if proxy.calls["BatchGetItem"] == 1 else none)(call)

    proxy.on("BatchGetItem", less_and_less)
    keys = [RowKey(plan, f"{i}") for i in range(4)]
    answers = await store.read_records(keys, strong=True, timeout_seconds=SHORT_SECONDS)
    assert answers[:2] == rows[:2]
    assert [type(answer) for answer in answers[2:]] == [TierThrottled, TierThrottled]


async def test_one_stuck_timeline_does_not_take_the_others_down(
    store: DynamoDBStore, proxy: FaultProxy
) -> None:
    """Each query has its own answer."""
    plan = a_timeline()
    await written(store, a_put(plan, "sound", {1: b"1"}, sort_key=at(5)))
    stuck = faults.held()

    async def some(call: Call) -> web.Response:
        return await (stuck(call) if b"#stuck" in call.body else call.forward())

    proxy.on("Query", some)
    queries = [TimelineQuery(plan, row_id, 5, "0", "~") for row_id in ("stuck", "sound")]
    pages = await store.read_timelines(queries, strong=False, timeout_seconds=SHORT_SECONDS, now_us=NOW)
    assert isinstance(pages[0], TierTimeout)
    assert not isinstance(pages[1], TierError)
    assert live(pages[1]) == [at(5)]


async def test_a_timeline_whose_fence_is_unknown_is_unknown(store: DynamoDBStore, proxy: FaultProxy) -> None:
    """Without its fence a ranged answer might show what was erased."""
    plan = a_timeline()
    await written(store, a_put(plan, values={1: b"1"}, sort_key=at(5)))
    proxy.on("BatchGetItem", faults.throttled())
    query = TimelineQuery(plan, "1", 5, "0", at(9))
    (answer,) = await store.read_timelines([query], strong=False, timeout_seconds=SHORT_SECONDS, now_us=NOW)
    assert isinstance(answer, TierThrottled)


async def test_nobody_there_is_unavailable_and_writes_failed_for_sure(proxy: FaultProxy) -> None:
    """A store starts without DynamoDB, answers unknown, and works as soon as there is one."""
    plan = a_stored_plan()
    async with DynamoDBStore(settings(f"http://{HOST}:{free_port()}")) as store:
        (row,) = await store.read_records([RowKey(plan, "1")], strong=False, timeout_seconds=SHORT_SECONDS)
        assert isinstance(row, TierUnavailable)
        (outcome,) = await write_shortly(store, a_put(plan, values={0: b'"x"'}))
        assert (outcome.verdict, outcome.reason) == ("failed", "TierUnavailable")
        assert isinstance((await store.check([plan]))[plan.name], TierUnavailable)
        with pytest.raises(TierUnavailable):
            await store.create_tables([plan])
    (row,) = await store.read_records([RowKey(plan, "1")], strong=False, timeout_seconds=SHORT_SECONDS)
    assert isinstance(row, TierUnavailable)


async def test_no_credentials_are_misconfigured(proxy: FaultProxy) -> None:
    """A person has to act; the sidecar starts all the same."""
    plan = a_stored_plan()
    bare = settings(proxy.url, access_key_id=None, secret_access_key=None)
    async with DynamoDBStore(bare) as store:
        (row,) = await store.read_records([RowKey(plan, "1")], strong=False, timeout_seconds=SHORT_SECONDS)
        assert isinstance(row, TierMisconfigured)
        assert "credentials" in str(row)
        (outcome,) = await write_shortly(store, a_put(plan, values={0: b'"x"'}))
        assert (outcome.verdict, outcome.reason) == ("failed", "TierMisconfigured")


async def test_no_region_is_misconfigured() -> None:
    """Without an endpoint, AWS has to be told where."""
    with pytest.raises(TierMisconfigured, match="region"):
        await DynamoDBStore(settings("", region_name=None)).__aenter__()


async def test_waiting_for_a_connection_ends_with_the_budget(proxy: FaultProxy) -> None:
    """Behind a stuck call a write was never sent, so it failed for sure; a cancelled call frees its place."""
    plan = a_stored_plan()
    async with DynamoDBStore(settings(proxy.url, concurrency=1)) as store:
        proxy.on("UpdateItem", faults.held(), times=1)
        stuck = asyncio.create_task(
            store.write([a_put(plan, "a", {0: b'"x"'})], timeout_seconds=60, now_us=NOW)
        )
        while not proxy.calls["UpdateItem"]:  # noqa: ASYNC110 (the proxy is not told of waiters)
            await asyncio.sleep(0)
        (outcome,) = await write_shortly(store, a_put(plan, "b", {0: b'"x"'}))
        assert (outcome.verdict, outcome.reason) == ("failed", "TierTimeout")
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        await written(store, a_put(plan, "c", {0: b'"x"'}))


async def test_check_says_what_a_person_has_to_mend(store: DynamoDBStore, proxy: FaultProxy) -> None:
    """A table that may not be described, and one that is still being made."""
    plan = a_stored_plan()
    proxy.on("DescribeTable", faults.refused("AccessDeniedException", "not authorized to perform"))
    fault = (await store.check([plan]))[plan.name]
    assert isinstance(fault, TierMisconfigured)
    assert "not authorized" in str(fault)

    async def creating(call: Call) -> web.Response:
        answer = await call.forward()
        assert isinstance(answer.body, bytes)
        return web.Response(body=answer.body.replace(b"ACTIVE", b"CREATING"), headers=answer.headers)

    proxy.on("DescribeTable", creating)
    fault = (await store.check([plan]))[plan.name]
    assert isinstance(fault, TierUnavailable)
    assert "CREATING" in str(fault)
