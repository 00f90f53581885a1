"""Writes and deletes that DynamoDB refuses, loses or leaves half-done: failed for sure, or repeatable."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from tests import fault_proxy as faults
from tests.fault_proxy import Call, Fault, FaultProxy
from tests.integration.dynamodb_stores import a_store
from tests.integration.faulty_store import SHORT_SECONDS, Faulty, a_faulty_store, write_shortly
from tests.integration.store_calls import (
    NOW,
    SECOND,
    TABLE,
    a_delete,
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

from pannier.keys import HIGHEST_SORT_KEY
from pannier_sidecar.errors import TierThrottled
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore

pytestmark = [pytest.mark.dynamodb, pytest.mark.asyncio(loop_scope="module")]


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
async def test_a_write_that_met_its_own_row_and_then_failed_may_be_stored(
    store: DynamoDBStore, proxy: FaultProxy, make: Any
) -> None:
    """Stored without an answer, refused by its own row, throttled after that: unknown, never failed."""
    plan, calls = a_timeline(), itertools.count()

    async def lost_then_throttled(call: faults.Call) -> Any:
        number = next(calls)
        if number == 0:
            return await make(done=True)(call)
        return await (call.forward() if number == 1 else faults.throttled()(call))

    proxy.on("UpdateItem", lost_then_throttled)
    (outcome,) = await write_shortly(store, a_put(plan, values={0: b'"x"'}, sort_key=at(5)))
    assert (outcome.verdict, outcome.reason) == ("unknown", "TierThrottled")
    assert proxy.calls["UpdateItem"] > 2


@pytest.mark.parametrize("others", [{0: b'"later"'}, {0: b'"later"', 1: b"2"}])
async def test_a_write_of_now_that_may_be_stored_is_not_stored_again_above_what_came_after(
    store: DynamoDBStore, proxy: FaultProxy, others: dict[int, bytes]
) -> None:
    """Its answer is lost, another write comes, its retry must change nothing that the other wrote."""
    plan, calls = a_stored_plan(), itertools.count()

    async def lost_while_another_writes(call: faults.Call) -> Any:
        answer = await call.forward()
        if next(calls) > 0:
            return answer
        await written(store, a_put(plan, values=others), now=NOW + 5)
        return call.drop()

    proxy.on("UpdateItem", lost_while_another_writes)
    (outcome,) = await write(store, a_put(plan, values={0: b'"x"', 1: b"1"}))
    assert outcome.verdict == ("written" if len(others) == 1 else "unknown")
    assert outcome.event_time_us == NOW
    row = await read(store, plan)
    assert row is not None
    assert row.values == {1: b"1", **others}


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
    refusal = faults.refused("AccessDeniedException")

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


@pytest.mark.parametrize(
    ("before", "high"),
    [
        pytest.param("Query", at(999), id="the fence is read beside a page that ends below it"),
        pytest.param("second Query", HIGHEST_SORT_KEY, id="the fence was read with the first of two pages"),
    ],
)
async def test_a_late_event_that_its_writer_will_take_back_is_not_seen(
    store: DynamoDBStore, proxy: FaultProxy, dynoxide_url: str, before: str, high: str
) -> None:
    """An id is erased while it is read, and a late event stored before its writer looked for the fence."""
    plan = a_timeline()
    await written(store, a_put(plan, values={1: b"1"}, sort_key=at(7)), now=NOW - 60 * SECOND)
    await write(store, *(a_delete(plan, sort_key=at(500 + i), event_time_us=NOW - SECOND) for i in range(4)))
    proxy.calls.clear()
    fence_read = asyncio.Event()

    async def then_go_on(call: Call) -> web.Response:
        answer = await call.forward()
        fence_read.set()
        return answer

    async def erased_meanwhile(call: Call) -> web.Response:
        if before == "Query":
            await fence_read.wait()
        elif proxy.calls["Query"] == 1:
            return await call.forward()
        proxy.heal()
        async with a_store(dynoxide_url) as other:
            await erase(other, plan, max_rows=0)
            await written(other, a_put(plan, values={1: b"2"}, sort_key=at(8)))
        return await call.forward()

    proxy.on("BatchGetItem", then_go_on)
    proxy.on("Query", erased_meanwhile)
    seen = await page(store, plan, limit=2, low=at(0), high=high)
    assert seen.fence is not None
    assert (live(seen), seen.rows, seen.exhausted) == ([], (), True)


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
