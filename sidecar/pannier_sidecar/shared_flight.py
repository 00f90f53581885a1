"""One load per key at a time across sidecars: who gets the lease loads L3, the others wait for L2 to have it.

`pannier_sidecar.single_flight` does that within a process, so a sidecar asks once here, however many readers
it has. What to do next is decided in `pannier_sidecar.lease`, what a state is good for in
`pannier_sidecar.arrivals`. While L2 does not answer nobody is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import random
from typing import Protocol

import msgspec

from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.errors import TierError
from pannier_sidecar.known import Known, Loaded
from pannier_sidecar.lease import (
    Claimed,
    Lease,
    LeaseBounds,
    LeaseEvent,
    Step,
    lease_us,
    next_step,
    patience_us,
    pause_us,
)
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.row import RowKey
from pannier_sidecar.single_flight import Land
from pannier_sidecar.tiers.l2 import LeaseTaker

FromL3 = Callable[[Sequence[Known], Land[RowKey, Loaded]], Awaitable[None]]


class LeaseReleaser(Protocol):
    """Lets go of leases."""

    async def hand_over(self, leases: Sequence[Lease]) -> None:
        """Bring to L2 what L3 said of these keys, and then let go of their leases."""
        ...


class _Round(msgspec.Struct):
    """What one look at the keys of a load led to."""

    held: list[tuple[Known, Lease]] = []
    """To load for all sidecars."""
    alone: list[Known] = []
    """To load without a lease."""
    filled: list[Lease] = []
    """Ours for nothing: L2 has been filled meanwhile."""
    waiting: list[Known] = []


class SharedFlight:
    """Loads keys that L2 was asked for and cannot answer, or that are due for renewal there."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        tier: LeaseTaker,
        writer: LeaseReleaser,
        arrivals: Arrivals,
        load_us: Callable[[str], float],
        *,
        metrics: Metrics,
        bounds: LeaseBounds,
        holder: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random,
    ) -> None:
        self._tier = tier
        self._writer = writer
        self._arrivals = arrivals
        self._load_us = load_us
        self._metrics = metrics
        self._holder = holder
        self._bounds = bounds
        self._sleep = sleep
        self._dice = dice
        self._loads = 0

    async def load(self, wanted: Sequence[Known], land: Land[RowKey, Loaded], from_l3: FromL3) -> None:
        """Land every key: from L3 where the lease is ours, else when its holder has brought it to L2.

        ``wanted`` knows what L2 said a moment ago. A key that nobody else brings in time is loaded as well.
        """
        self._loads += 1
        token = f"{self._holder}:{self._loads}"
        waiting, waited_us, attempt = wanted, 0, 0
        async with asyncio.TaskGroup() as loads:
            while True:
                leases = [self._lease(known.key, token) for known in waiting]
                claimed = await self._tier.lease(leases)
                done = self._sort(waiting, leases, claimed, waited_us, land)
                if done.held:
                    loads.create_task(self._load_for_all(done.held, land, from_l3))
                if done.alone:
                    loads.create_task(_load_alone(done.alone, land, from_l3))
                if done.filled:
                    loads.create_task(self._writer.hand_over(done.filled))
                if not done.waiting:
                    return
                waiting = done.waiting
                pause = self._pause_us(waiting, attempt)
                await self._sleep(pause / 1_000_000)
                waited_us += pause
                attempt += 1

    async def _load_for_all(
        self, held: Sequence[tuple[Known, Lease]], land: Land[RowKey, Loaded], from_l3: FromL3
    ) -> None:
        """Load, and let go whatever comes of it: nobody shall wait for nothing."""
        try:
            await from_l3([known for known, _ in held], land)
        finally:
            await self._writer.hand_over([lease for _, lease in held])

    def _sort(
        self,
        waiting: Sequence[Known],
        leases: Sequence[Lease],
        claimed: Sequence[Claimed],
        waited_us: int,
        land: Land[RowKey, Loaded],
    ) -> _Round:
        """Land what can be served now, and say what is to be done about the rest."""
        done = _Round()
        for before, lease, outcome in zip(waiting, leases, claimed, strict=True):
            known, step = self._look(before, lease, outcome, waited_us, land)
            if step is Step.WAIT:
                done.waiting.append(known)
            elif step is Step.LOAD and outcome.won:
                done.held.append((known, lease))
            elif step is Step.LOAD:
                done.alone.append(known)
            elif outcome.won:
                done.filled.append(lease)
            self._count(step, outcome, waited_us, lease)
        return done

    def _look(
        self, before: Known, lease: Lease, claimed: Claimed, waited_us: int, land: Land[RowKey, Loaded]
    ) -> tuple[Known, Step]:
        """What is known now of one key, and what follows; a key that can be served is landed."""
        is_answered = not isinstance(claimed.entry, TierError)
        from_l2 = before.from_l2 if isinstance(claimed.entry, TierError) else claimed.entry
        known = self._arrivals.know(before.key, from_l2, before.epoch, was_l2_asked=is_answered)
        is_new, has_lost = _is_newer(known, before), claimed.won is False
        loaded = None
        if is_new or (has_lost and not waited_us):
            loaded, _ = self._arrivals.take_l2(known, self._load_us(known.key.plan.name))
        is_filled = is_new and loaded is not None
        if has_lost and not is_filled:
            loaded = self._arrivals.leave(known.key, lease.kept_ms * 1_000) or loaded
        step = next_step(
            won=claimed.won,
            is_filled=is_filled,
            has_servable=loaded is not None,
            waited_us=waited_us,
            patience_us=patience_us(lease.kept_ms * 1_000, self._bounds),
        )
        if loaded is not None and step in {Step.SERVE, Step.LEAVE}:
            land(known.key, loaded)
        return known, step

    def _count(self, step: Step, claimed: Claimed, waited_us: int, lease: Lease) -> None:
        event: LeaseEvent | None = None
        if step is Step.SERVE:
            event = "spared" if claimed.won and not waited_us else "waited"
        elif step is Step.LEAVE:
            event = "left"
        elif step is Step.LOAD and claimed.won is not None:
            event = "won" if claimed.won else "gave_up"
        if event is not None:
            self._metrics.lease(lease.key.plan.name, event)

    def _lease(self, key: RowKey, token: str) -> Lease:
        return Lease(key, token, lease_us(self._load_us(key.plan.name), self._bounds) // 1_000)

    def _pause_us(self, waiting: Sequence[Known], attempt: int) -> int:
        """All keys are asked for again at once: when the first of them may be there."""
        load_us = min(self._load_us(known.key.plan.name) for known in waiting)
        return pause_us(attempt, load_us=load_us, lease_us=lease_us(load_us, self._bounds), draw=self._dice())

    def __repr__(self) -> str:
        return f"<SharedFlight {self._holder}, {self._loads} loads>"


async def _load_alone(wanted: Sequence[Known], land: Land[RowKey, Loaded], from_l3: FromL3) -> None:
    await from_l3(wanted, land)


def _is_newer(known: Known, before: Known) -> bool:
    """Whether L2 holds a later look at L3 than it did before."""
    if known.from_l2 is None:
        return False
    return before.from_l2 is None or known.from_l2.loaded_at_us > before.from_l2.loaded_at_us
