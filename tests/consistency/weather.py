"""What goes wrong during a run, drawn from a seed: sidecars die, Redis dies, links break, DynamoDB fails.

Three lanes run beside each other, so that faults meet: processes, links to Redis, and L3. Each waits a
moment, does one thing, and undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Self

from aiohttp import web
from tests.consistency.fleet import Fleet, Member
from tests.fault_proxy import Call, Fault, dropped, held, server_error, throttled

READS: Final = ("BatchGetItem", "Query")
WRITES: Final = ("UpdateItem",)


def late(dice: random.Random, seconds: float) -> Fault:
    """An answer that comes late: what it says was true when it was made."""

    async def fault(call: Call) -> web.Response:
        answer = await call.forward()
        await asyncio.sleep(dice.uniform(0, seconds))
        return answer

    return fault


def sometimes(dice: random.Random, share: float, fault: Fault) -> Fault:
    """Meet only a share of the calls."""

    async def maybe(call: Call) -> web.Response:
        return await (fault(call) if dice.random() < share else call.forward())

    return maybe


class Forecast(NamedTuple):
    """What may happen."""

    l3: Sequence[str]
    """Names of faults of L3."""
    lanes: Sequence[str] = ("l3", "processes", "links")
    """Which lanes there are."""
    calls: Sequence[tuple[str, ...]] = (READS, WRITES, READS + WRITES)
    """Which calls of L3 fail together."""
    shares: Sequence[float] = (0.1, 0.5, 1.0)
    """Of the calls that meet a fault of L3."""
    lasts_seconds: tuple[float, float] = (0.2, 1.5)
    """How long that goes on, at least and at most."""
    calm_seconds: tuple[float, float] = (0.5, 1.5)
    """How long L3 is well in between."""
    links: Sequence[str] = ("cut", "cut", "refuse", "blackhole")
    """What happens to links."""
    links_last_seconds: tuple[float, float] = (0.1, 2)
    """How long it goes on, unless they are only cut."""


class Weather:
    """Bad weather over one fleet. ``async with`` it: leaving ends it and heals everything."""

    def __init__(self, fleet: Fleet, seed: int, forecast: Forecast) -> None:
        self._fleet = fleet
        self._seed = seed
        self._forecast = forecast
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def __aenter__(self) -> Self:
        lanes = {"l3": self._l3_lane, "processes": self._process_lane, "links": self._link_lane}
        for name in self._forecast.lanes:
            dice = random.Random(f"{self._seed}/{name}")
            self._tasks.append(asyncio.create_task(lanes[name](dice), name=f"weather-{name}"))
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)
        await self._fleet.heal()

    async def _process_lane(self, dice: random.Random) -> None:
        fleet = self._fleet
        while await self._calm(dice, 1.0, 3.0):
            what = dice.choice(["kill", "kill", "kill two", "lose redis", "pause redis"])
            if what == "lose redis":
                await fleet.lose_redis()
                await asyncio.sleep(dice.uniform(0, 1))
                await fleet.restart_redis()
            elif what == "pause redis":
                fleet.recorder.event("pause", "redis")
                fleet.redis.pause()
                await asyncio.sleep(dice.uniform(0, 1))
                fleet.redis.resume()
            else:
                victims = dice.sample(fleet.members, 2 if what == "kill two" else 1)
                await asyncio.gather(*(fleet.kill(victim) for victim in victims))
                await asyncio.sleep(dice.uniform(0, 0.5))
                await asyncio.gather(*(fleet.restart(victim) for victim in victims))

    async def _link_lane(self, dice: random.Random) -> None:
        while await self._calm(dice, 0.5, 2.0):
            word = dice.choice(self._forecast.links)
            victims = dice.sample(self._fleet.members, dice.choice([1, 1, 2, len(self._fleet.members)]))
            for victim in victims:
                self._fleet.recorder.event(word, f"redis of {victim.via}")
                await victim.link.do(word)
            if word != "cut":
                await asyncio.sleep(dice.uniform(*self._forecast.links_last_seconds))
                for victim in victims:
                    await victim.link.do("heal")

    async def _l3_lane(self, dice: random.Random) -> None:
        while await self._calm(dice, *self._forecast.calm_seconds):
            victims = dice.sample(self._fleet.members, dice.choice([1, 1, 2, len(self._fleet.members)]))
            name, share = dice.choice(self._forecast.l3), dice.choice(self._forecast.shares)
            operations = dice.choice(self._forecast.calls)
            async with contextlib.AsyncExitStack() as broken:
                for victim in victims:
                    await broken.enter_async_context(self._failing(victim, dice, name, share, operations))
                await asyncio.sleep(dice.uniform(*self._forecast.lasts_seconds))

    @contextlib.asynccontextmanager
    async def _failing(
        self, victim: Member, dice: random.Random, name: str, share: float, operations: tuple[str, ...]
    ) -> AsyncIterator[None]:
        fault, is_lossy = (late(dice, 0.2), False) if name == "late" else _FAULTS[name]
        self._fleet.recorder.event(name, f"{share:.0%} of {'+'.join(operations)} of {victim.via}")
        if is_lossy:
            victim.lossy += 1
            victim.losses += 1
        for operation in operations:
            victim.l3.on(operation, sometimes(dice, share, fault))
        try:
            yield
        finally:
            victim.l3.heal()
            victim.lossy -= is_lossy

    async def _calm(self, dice: random.Random, least: float, most: float) -> bool:
        """Wait a moment; False once it is over."""
        if not self._is_over:
            await asyncio.sleep(dice.uniform(least, most))
        return not self._is_over


_FAULTS: Final[dict[str, tuple[Fault, bool]]] = {
    "throttled": (throttled(), False),
    "error": (server_error(), False),
    "error after": (server_error(done=True), True),
    "dropped": (dropped(), False),
    "dropped after": (dropped(done=True), True),
    "held": (held(), False),
    "held after": (held(done=True), True),
}
"""Name -> the fault, and whether it loses the answer of a call that was acted on."""
STORM: Final = Forecast((*_FAULTS, "late"))
LATE: Final = Forecast(("late",), lanes=("l3",), calm_seconds=(0.0, 0.2))
