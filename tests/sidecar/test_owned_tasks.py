"""Background work has an owner."""

from __future__ import annotations

import asyncio

from pannier_sidecar.owned_tasks import OwnedTasks


async def test_leaving_ends_what_is_under_way() -> None:
    """An owner that leaves takes its tasks along, and they may tidy up."""
    tidied = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            tidied.set()

    async with OwnedTasks("work") as tasks:
        tasks.start(work())
        await begun.wait()
        assert repr(tasks) == "<OwnedTasks work: 1 under way>"
    assert tidied.is_set()
    assert len(tasks) == 0


async def test_settled_waits_for_all_also_for_those_that_tasks_start() -> None:
    """Work that starts more work is not settled before that is done as well."""
    done = []

    async with OwnedTasks("work") as tasks:

        async def second() -> None:
            done.append(2)

        async def first() -> None:
            done.append(1)
            tasks.start(second())

        tasks.start(first())
        await tasks.settled()
        assert done == [1, 2]
