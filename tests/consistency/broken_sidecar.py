"""Sidecars that are broken on purpose, so that the laws are seen to catch what they are there for.

``python -m tests.consistency.broken_sidecar NAME serve ...`` changes one thing in the code of the sidecar and
then runs it. The code that is changed knows nothing of this.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from pannier_cli.main import main
from pannier_sidecar import answers, render
from pannier_sidecar.entry import freshness
from pannier_sidecar.errors import TierError
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.recent_writes import RecentWrites
from pannier_sidecar.row import Put, PutOutcome
from pannier_sidecar.tiers import l1_entry, l2_redis
from pannier_sidecar.tiers.l3_dynamodb import DynamoDBStore


def delete_instead_of_marker() -> None:
    """``Invalidate`` removes the entry from Redis: a slower backfill of an older state can take its place."""
    _change_script(
        "local function merge_record(record)",
        "local function merge_record(record)\n"
        "  if byte(record, KIND_AT) == MARKER then redis.call('DEL', key) return 1 end",
    )


def no_revision_compare() -> None:
    """Whatever comes last to Redis stays there, newer or not."""
    _change_script("and not is_newer(record, held)", "and false")


def missing_when_throttled() -> None:
    """A store that does not answer is taken for one that says that there is no such row."""
    read = DynamoDBStore.read_records

    async def read_records(self: Any, keys: Any, **more: Any) -> list[Any]:
        try:
            rows = await read(self, keys, **more)
        except TierError:
            return [None] * len(keys)
        return [None if isinstance(row, TierError) else row for row in rows]

    _replace(DynamoDBStore, "read_records", read_records)


def forgotten_writes() -> None:
    """A fill knows nothing of what the same sidecar wrote while it was under way, or just before."""
    _replace(RecentWrites, "note", lambda *_: None)


def acknowledged_before_stored() -> None:
    """A write is acknowledged at once and stored a little later."""
    store = DynamoDBStore.write
    tasks: set[asyncio.Task[Any]] = set()

    async def write(self: Any, puts: Sequence[Put], *, now_us: int, **more: Any) -> list[PutOutcome]:
        async def later() -> None:
            await asyncio.sleep(0.2)
            await store(self, puts, now_us=now_us, **more)

        task = asyncio.create_task(later())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return [PutOutcome(verdict="written", event_time_us=put.event_time_us or now_us) for put in puts]

    _replace(DynamoDBStore, "write", write)


def event_time_ignored() -> None:
    """The write that arrives last wins, however old the event."""
    store = DynamoDBStore.write

    async def write(self: Any, puts: Sequence[Put], **more: Any) -> list[PutOutcome]:
        forced = [msgspec.structs.replace(put, mode="force") if put.mode == "merge" else put for put in puts]
        return await store(self, forced, **more)

    _replace(DynamoDBStore, "write", write)


def endless_hard_ttl() -> None:
    """Entries live ten times as long as they may."""
    judge = freshness.deadlines

    def deadlines(policy: Any, *, ceiling_us: int | None, **more: Any) -> freshness.Deadlines:
        due = judge(policy, ceiling_us=None, **more)
        taken_us = more["taken_at_us"]
        return freshness.Deadlines(
            taken_us + 10 * (due.soft_us - taken_us), taken_us + 10 * (due.hard_us - taken_us)
        )

    _replace(l1_entry, "deadlines", deadlines)


def cached_strong_reads() -> None:
    """``Strong`` groups are served from caches like any other."""
    _replace(GroupPlan, "is_strong", property(lambda _: False))


def stale_not_marked() -> None:
    """What is served while L3 is down does not say that it is old."""
    noted = render.with_notes

    def with_notes(row: bytes, *, stale: bool, **more: Any) -> bytes:
        return noted(row, stale=False, **more)

    _replace(answers, "with_notes", with_notes)


def deleted_rows_return() -> None:
    """A delete removes the item, so that nothing tells a late event from a new one."""
    store = DynamoDBStore.write

    async def write(self: Any, puts: Sequence[Put], **more: Any) -> list[PutOutcome]:
        outcomes = await store(self, puts, **more)
        for put, outcome in zip(puts, outcomes, strict=True):
            if put.tombstone and outcome.verdict == "written":
                await self._client.call(
                    "delete_item",
                    asyncio.get_running_loop().time() + 5,
                    TableName=put.plan.table,
                    Key={"pk": {"S": f"{put.plan.name}#{put.id}"}, "sk": {"S": put.sort_key}},
                )
        return outcomes

    _replace(DynamoDBStore, "write", write)


BUILDS: Final[dict[str, Callable[[], None]]] = {
    build.__name__.replace("_", "-"): build
    for build in (
        delete_instead_of_marker,
        no_revision_compare,
        missing_when_throttled,
        forgotten_writes,
        acknowledged_before_stored,
        event_time_ignored,
        endless_hard_ttl,
        cached_strong_reads,
        stale_not_marked,
        deleted_rows_return,
    )
}


def _replace(owner: Any, name: str, what: Any) -> None:
    if not hasattr(owner, name):
        raise AssertionError(f"{owner!r} has no {name} any more: this build is not broken")
    setattr(owner, name, what)


def _change_script(old: str, new: str) -> None:
    """Change the merge script before anybody loads it."""
    script = l2_redis.MERGE_SCRIPT.decode()
    if script.count(old) != 1:
        raise AssertionError(f"the merge script does not say {old!r} once any more: this build is not broken")
    changed = script.replace(old, new).encode()
    sha = hashlib.sha1(changed, usedforsecurity=False).hexdigest()
    l2_redis._SCRIPTS[sha] = changed
    _replace(l2_redis, "MERGE_SCRIPT", changed)
    _replace(l2_redis, "_MERGE_SHA", sha)


if __name__ == "__main__":
    BUILDS[sys.argv.pop(1)]()
    main()
