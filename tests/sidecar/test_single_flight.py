"""Single flight: one load per key, owned by nobody who waits, gone from the map whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pannier_sidecar.single_flight import Land, SingleFlight


def crashed(reason: BaseException | None) -> str:
    """What waiters get of a load that ended badly."""
    return f"crashed: {type(reason).__name__}"


async def test_keys_in_the_air_are_joined_and_new_ones_start_together() -> None:
    """The second batch holds only what nobody loads yet."""
    batches: list[tuple[str, ...]] = []
    go = asyncio.Event()

    async def load(keys: Sequence[str], land: Land[str, str]) -> None:
        batches.append(tuple(keys))
        await go.wait()
        for key in keys:
            land(key, key.upper())

    async with SingleFlight[str, str](crashed) as flights:
        first = flights.join(["a", "b"], load)
        second = flights.join(["b", "c", "d"], load)
        assert flights.is_flying("a")
        go.set()
        await flights.settled()
        assert batches == [("a", "b"), ("c", "d")]
        assert first["b"] is second["b"]
        assert {key: flight.result() for key, flight in second.items()} == {"b": "B", "c": "C", "d": "D"}
        assert repr(flights) == "<SingleFlight 0 keys in 0 batches>"


async def test_a_key_that_landed_early_may_fly_again_while_its_batch_goes_on() -> None:
    """The end of the older batch does not land the newer flight."""
    go = asyncio.Event()

    async def early(keys: Sequence[str], land: Land[str, int]) -> None:
        land("a", 1)
        await go.wait()

    async def late(keys: Sequence[str], land: Land[str, int]) -> None:
        await asyncio.Event().wait()

    async with SingleFlight[str, int](lambda _reason: -1) as flights:
        first = flights.join(["a", "b"], early)
        assert await first["a"] == 1
        again = flights.join(["a"], late)
        go.set()
        assert await first["b"] == -1
        assert not again["a"].done()
        assert flights.is_flying("a")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_crash_is_answered_and_forgotten(*, waits: bool) -> None:
    """Waiters hear of a bug, and the key can be loaded again."""

    async def broken(keys: Sequence[str], land: Land[str, str]) -> None:
        land(keys[0], "fine")
        if waits:
            await asyncio.sleep(0)
        raise ZeroDivisionError

    async with SingleFlight[str, str](crashed) as flights:
        joined = flights.join(["a", "b"], broken)
        assert await joined["a"] == "fine"
        assert await joined["b"] == "crashed: ZeroDivisionError"
        assert not flights.is_flying("b")


async def test_a_cancelled_waiter_takes_nothing_from_the_others() -> None:
    """Waiting is not owning."""
    go = asyncio.Event()

    async def load(keys: Sequence[str], land: Land[str, str]) -> None:
        await go.wait()
        land(keys[0], "value")

    async with SingleFlight[str, str](crashed) as flights:

        async def wait() -> str:
            joined = flights.join(["a"], load)
            await asyncio.wait(joined.values())
            return joined["a"].result()

        leader, follower = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        leader.cancel()
        go.set()
        assert await follower == "value"
        assert leader.cancelled()


async def test_leaving_answers_whoever_still_waits() -> None:
    """Shutdown cancels loads and leaves no future hanging."""

    async def forever(keys: Sequence[str], land: Land[str, str]) -> None:
        await asyncio.Event().wait()

    async with SingleFlight[str, str](crashed) as flights:
        joined = flights.join(["a"], forever)
        await asyncio.sleep(0)
    assert await joined["a"] == "crashed: NoneType"
