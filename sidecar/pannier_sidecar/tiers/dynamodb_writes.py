"""Writing rows to DynamoDB: optimistic first, then decided and guarded.

Not here: the rules (`ordering`), their expressions (`dynamodb_expressions`), retries of calls
(`dynamodb_client`), deletes of whole ids (`dynamodb_erasures`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pannier.keys import FENCE_SORT_KEY, partition_key
from pannier_sidecar import ordering
from pannier_sidecar.errors import TierError, TierUnavailable
from pannier_sidecar.row import Put, PutOutcome, Row, RowKey
from pannier_sidecar.tiers.dynamodb_client import DynamoDBClient
from pannier_sidecar.tiers.dynamodb_expressions import guarded, optimistic
from pannier_sidecar.tiers.dynamodb_faults import CallFailed, ConditionRefused, ItemTooLarge
from pannier_sidecar.tiers.dynamodb_reads import DynamoDBReads
from pannier_sidecar.tiers.fences import fence_stamp
from pannier_sidecar.tiers.items import OnBadValue, from_item, item_key, item_too_large, too_large
from pannier_sidecar.tiers.l3 import CALLS_AT_ONCE


class Budget(NamedTuple):
    """When a write began and when it must have ended."""

    now_us: int
    deadline: float


class DynamoDBWrites:
    """The writes of one client."""

    __slots__ = ("_client", "_on_bad_value", "_reads")

    def __init__(self, client: DynamoDBClient, reads: DynamoDBReads, on_bad_value: OnBadValue) -> None:
        self._client = client
        self._reads = reads
        self._on_bad_value = on_bad_value

    async def write(self, puts: Sequence[Put], budget: Budget) -> list[PutOutcome]:
        """Items in parallel, the puts of one item one after the other."""
        if len(puts) == 1:  # nothing to run beside it
            alone = {0: await self._outcome(puts[0], budget)}
            await self._check_fences(puts, alone, budget)
            return [alone[0]]
        chains: dict[tuple[str | None, str, str], list[int]] = {}
        for position, put in enumerate(puts):
            address = (put.plan.table, partition_key(put.plan.name, put.id), put.sort_key)
            chains.setdefault(address, []).append(position)
        outcomes: dict[int, PutOutcome] = {}
        gate = asyncio.Semaphore(CALLS_AT_ONCE)

        async def run(positions: Sequence[int]) -> None:
            async with gate:
                for position in positions:
                    outcomes[position] = await self._outcome(puts[position], budget)

        async with asyncio.TaskGroup() as tasks:
            for positions in chains.values():
                tasks.create_task(run(positions))
        await self._check_fences(puts, outcomes, budget)
        return [outcomes[position] for position in range(len(puts))]

    async def _outcome(self, put: Put, budget: Budget) -> PutOutcome:
        try:
            return await self.put(put, budget)
        except CallFailed as failure:
            stamp = budget.now_us if put.event_time_us is None else put.event_time_us
            return PutOutcome(
                verdict="unknown" if failure.maybe_done else "failed",
                event_time_us=stamp,
                reason=failure.error.reason,
                message=failure.error.message,
            )

    async def put(self, put: Put, budget: Budget) -> PutOutcome:
        """Ask optimistically, then decide on whatever item refused until nobody writes in between."""
        refusal = ordering.refused_outright(put, budget.now_us)
        if refusal is not None:
            return refusal
        stamp = budget.now_us if put.event_time_us is None else put.event_time_us
        outcome = PutOutcome(verdict="written", event_time_us=stamp)
        arguments = optimistic(put, budget.now_us)
        is_now, maybe_done = put.event_time_us is None, False
        while True:
            try:
                answer = await self._client.call("update_item", budget.deadline, **arguments)
            except ItemTooLarge as error:
                return item_too_large(put, str(error))
            except CallFailed as failure:  # the item that an earlier call met may be this put's own
                raise CallFailed(failure.error, maybe_done=maybe_done or failure.maybe_done) from failure
            except ConditionRefused as refused:
                item, maybe_done = refused.item, maybe_done or refused.maybe_done
                if maybe_done and put.event_time_us is None:
                    # stored once already, it must not be stored again above what came after it
                    put = msgspec.structs.replace(put, event_time_us=outcome.event_time_us)
            else:
                return _with_row(outcome, from_item(put.plan, answer["Attributes"], self._on_bad_value))
            old = None if item is None else from_item(put.plan, item, self._on_bad_value)
            outcome = ordering.decide(old, put, budget.now_us)
            if outcome.verdict != "written" or outcome.row is None:
                return _overtaken(put, outcome) if is_now and maybe_done else outcome
            refusal = too_large(put, outcome.row)
            if refusal is not None:
                return refusal
            arguments = guarded(put, outcome.row, old, item, budget.now_us)

    async def _check_fences(
        self, puts: Sequence[Put], outcomes: dict[int, PutOutcome], budget: Budget
    ) -> None:
        """Take back what was written under the fence of an erased id: a late event cannot see it itself."""
        late = [
            position
            for position, outcome in outcomes.items()
            if puts[position].check_fence and outcome.verdict == "written"
        ]
        if not late:
            return
        keys = [RowKey(puts[position].plan, puts[position].id) for position in late]
        fences = await self._reads.rows(keys, FENCE_SORT_KEY, strong=True, deadline=budget.deadline)

        async def check(position: int, fence: Row | TierError | None) -> None:
            outcomes[position] = await self._checked(puts[position], outcomes[position], fence, budget)

        async with asyncio.TaskGroup() as tasks:
            for position, fence in zip(late, fences, strict=True):
                tasks.create_task(check(position, fence))

    async def _checked(
        self, put: Put, written: PutOutcome, fence: Row | TierError | None, budget: Budget
    ) -> PutOutcome:
        if isinstance(fence, TierError):
            return _unchecked(written, fence)
        stamp = written.event_time_us or 0
        if fence is None or fence_stamp(fence, budget.now_us) < stamp or written.row is None:
            return written
        try:
            await self._client.call(
                "delete_item",
                budget.deadline,
                TableName=put.plan.table,
                Key=item_key(put.plan, put.id, put.sort_key),
                ConditionExpression="r=:r",
                ExpressionAttributeValues={":r": {"N": str(written.row.revision)}},
            )
        except ConditionRefused:
            pass  # somebody wrote it again, and looks for the fence as well
        except CallFailed as failure:
            return _unchecked(written, failure.error)
        return ordering.under_fence(fence, put)

    def __repr__(self) -> str:
        return f"<DynamoDBWrites {self._client!r}>"


def _overtaken(put: Put, outcome: PutOutcome) -> PutOutcome:
    """The outcome of a write without event time that may have been stored, and written over since."""
    if outcome.verdict != "ignored_older":
        return outcome
    message = "an attempt got no answer, and the row has been written again since"
    return PutOutcome(
        verdict="unknown", event_time_us=put.event_time_us, reason=TierUnavailable.reason, message=message
    )


def _with_row(outcome: PutOutcome, row: Row) -> PutOutcome:
    return msgspec.structs.replace(outcome, row=row)


def _unchecked(written: PutOutcome, error: TierError) -> PutOutcome:
    """The outcome where nobody could say whether a fence lies above: readers hide the row if so."""
    return PutOutcome(
        verdict="unknown",
        event_time_us=written.event_time_us,
        reason=error.reason,
        message=f"stored, but not checked against deletes of the whole id: {error.message}",
    )
