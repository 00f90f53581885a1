"""DynamoDB throttling, stalling, losing answers, misconfigured or not there: unknown is never missing.

A `FaultProxy` stands between the store and an emulator. Budgets are real but short; nothing sleeps to pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from tests import fault_proxy as faults
from tests.builders import a_plan
from tests.fault_proxy import Call, Fault, FaultProxy
from tests.integration.dynamodb_suite import settings
from tests.integration.store_suite import (
    BUDGET_SECONDS,
    NOW,
    SECOND,
    TABLE,
    a_put,
    a_stored_plan,
    a_timeline,
    at,
    erase,
    live,
    page,
    read,
    write,
    written,
)
from tests.servers import HOST, free_port

from pannier_sidecar.errors import TierError, TierMisconfigured, TierThrottled, TierTimeout, TierUnavailable
from pannier_sidecar.row import PutOutcome, Row, RowKey, TimelineQuery
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

pytestmark = [pytest.mark.dynamodb, pytest.mark.asyncio(loop_scope="module")]

SHORT_SECONDS = 0.4
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
async def shared_proxy(dynoxide_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(dynoxide_url) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(shared_proxy: FaultProxy) -> AsyncIterator[DynamoDBStore]:
    async with DynamoDBStore(settings(shared_proxy.url)) as opened:
        await opened.create_tables([a_plan(table=TABLE)])
        yield opened


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> FaultProxy:
    """Heal the proxy and count from nothing."""
    shared_proxy.heal()
    shared_proxy.calls.clear()
    return shared_proxy


async def write_shortly(store: DynamoDBStore, *puts: Any) -> list[PutOutcome]:
    """Write with little time."""
    return await store.write(puts, timeout_seconds=SHORT_SECONDS, now_us=NOW)


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


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.throttled(), "TierThrottled"),
        (faults.refused("TransactionConflictException"), "TierThrottled"),
        (faults.refused("ResourceNotFoundException"), "TierMisconfigured"),
        (faults.refused("AccessDeniedException"), "TierMisconfigured"),
        (faults.refused("UnrecognizedClientException"), "TierMisconfigured"),
    ],
)
async def test_a_refused_write_has_surely_failed(
    store: DynamoDBStore, proxy: FaultProxy, fault: Fault, reason: str
) -> None:
    """The verdict says so, and nothing is stored."""
    plan = a_stored_plan()
    proxy.on("UpdateItem", fault)
    (outcome,) = await write_shortly(store, a_put(plan, values={0: b'"x"'}))
    assert (outcome.verdict, outcome.reason) == ("failed", reason)
    assert TABLE in outcome.message
    proxy.heal()
    assert await read(store, plan) is None


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("make", [faults.held, faults.dropped, faults.server_error])
async def test_a_write_without_an_answer_is_unknown_and_safe_to_repeat(
    store: DynamoDBStore, proxy: FaultProxy, make: Any, *, done: bool
) -> None:
    """The event time it took is echoed; with it a repeat comes to the same row, stored before or not."""
    plan = a_stored_plan()
    await written(store, a_put(plan, values={0: b'"before"', 1: b"1"}, event_time_us=10))
    proxy.on("UpdateItem", make(done=done))
    (outcome,) = await write_shortly(store, a_put(plan, values={0: b'"x"'}))
    assert (outcome.verdict, outcome.event_time_us) == ("unknown", NOW)
    assert outcome.reason in {"TierTimeout", "TierUnavailable"}
    proxy.heal()
    row = await read(store, plan)
    assert row is not None
    assert row.values[0] == (b'"x"' if done else b'"before"')
    again = await written(store, a_put(plan, values={0: b'"x"'}, event_time_us=outcome.event_time_us))
    assert again.values == {0: b'"x"', 1: b"1"}
    assert again.stamps_us[0] == NOW


@pytest.mark.parametrize("make", [faults.dropped, faults.server_error])
async def test_a_write_whose_answer_was_lost_once_is_written_once(
    store: DynamoDBStore, proxy: FaultProxy, make: Any
) -> None:
    """The retry meets its own row: neither ignored nor reported as replacing another record."""
    timeline, plan = a_timeline(), a_stored_plan()
    for put in (a_put(timeline, values={0: b'"x"'}, sort_key=at(5)), a_put(plan, values={0: b'"x"'})):
        proxy.on("UpdateItem", make(done=True), times=1)
        (outcome,) = await write(store, put)
        assert (outcome.verdict, outcome.replaced) == ("written", False)
        assert outcome.row is not None
        assert outcome.row.values == {0: b'"x"'}


async def test_a_garbled_answer_to_a_write_is_unknown(store: DynamoDBStore, proxy: FaultProxy) -> None:
    """A 200 without the row proves nothing."""
    proxy.on("UpdateItem", faults.garbage())
    (outcome,) = await write_shortly(store, a_put(a_stored_plan(), values={0: b'"x"'}))
    assert (outcome.verdict, outcome.reason) == ("unknown", "TierUnavailable")


async def test_one_failing_write_does_not_touch_its_neighbours(
    store: DynamoDBStore, proxy: FaultProxy
) -> None:
    """Each row of a batch has its own verdict."""
    plan = a_stored_plan()
    refusal = faults.throttled()

    async def some(call: Call) -> web.Response:
        return await (refusal(call) if b"#bad" in call.body else call.forward())

    proxy.on("UpdateItem", some)
    outcomes = await write_shortly(store, *(a_put(plan, i, {0: b'"x"'}) for i in ("a", "bad", "b")))
    assert [outcome.verdict for outcome in outcomes] == ["written", "failed", "written"]


async def test_a_late_event_whose_fence_cannot_be_read_is_unknown(
    store: DynamoDBStore, proxy: FaultProxy
) -> None:
    """It is stored, but whether it may stay nobody could say; a repeat finds out."""
    plan = a_timeline()
    erasure = await erase(store, plan)
    late = a_put(plan, values={1: b"1"}, sort_key=at(5), check_fence=True)
    proxy.on("BatchGetItem", faults.throttled())
    (outcome,) = await write_shortly(store, late)
    assert (outcome.verdict, outcome.event_time_us) == ("unknown", 5 * SECOND)
    proxy.heal()
    assert live(await page(store, plan)) == []
    (outcome,) = await write(store, late)
    assert (outcome.verdict, outcome.row) == ("ignored_deleted", erasure.fence)
    assert (
        await page(store, plan, now=erasure.fence.expires_at * SECOND if erasure.fence.expires_at else 0)
    ).rows == ()


async def test_a_late_event_that_cannot_be_taken_back_is_unknown(
    store: DynamoDBStore, proxy: FaultProxy
) -> None:
    """The fence hides it meanwhile."""
    plan = a_timeline()
    await erase(store, plan)
    proxy.on("DeleteItem", faults.throttled())
    (outcome,) = await write_shortly(store, a_put(plan, values={1: b"1"}, sort_key=at(5), check_fence=True))
    assert outcome.verdict == "unknown"
    assert live(await page(store, plan)) == []


@pytest.mark.parametrize("operation", ["BatchWriteItem", "Query"])
async def test_an_erase_that_stops_after_its_fence_has_deleted(
    store: DynamoDBStore, proxy: FaultProxy, operation: str
) -> None:
    """Nothing is visible, the answer says that rows are left, and a later pass removes them."""
    plan = a_timeline()
    await write(store, *(a_put(plan, values={1: b"1"}, sort_key=at(100 + i)) for i in range(30)))
    first = await erase(store, plan, max_rows=5)
    proxy.on(operation, faults.throttled())
    stopped = await erase(store, plan, fence=first.fence, timeout_seconds=SHORT_SECONDS)
    assert (stopped.finished, stopped.fence) == (False, first.fence)
    proxy.heal()
    assert live(await page(store, plan)) == []
    finished = await erase(store, plan, fence=first.fence)
    assert (finished.removed, finished.finished) == (25, True)


@pytest.mark.parametrize("operation", ["Query", "UpdateItem"])
async def test_an_erase_without_its_fence_is_an_error(
    store: DynamoDBStore, proxy: FaultProxy, operation: str
) -> None:
    """The caller knows that nothing was deleted, or may not be."""
    plan = a_timeline()
    await written(store, a_put(plan, values={1: b"1"}, sort_key=at(5)))
    proxy.on(operation, faults.throttled())
    with pytest.raises(TierThrottled):
        await erase(store, plan, timeout_seconds=SHORT_SECONDS)
    proxy.heal()
    assert live(await page(store, plan)) == [at(5)]


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
