"""Loads of rows that are computed: feature servers, then L1 where the policy allows it. Never L2, never L3.

What was computed from the context of one request is served to it and held nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.errors import TierError
from pannier_sidecar.given_up import given_up
from pannier_sidecar.known import Loaded
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.on_demand.feature_servers import FeatureServers
from pannier_sidecar.on_demand.protocol import MAX_IDS, TIER, Computed, Question
from pannier_sidecar.packing import pack_record
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import ContextKey, InputKey, RowKey
from pannier_sidecar.single_flight import Land, SingleFlight
from pannier_sidecar.tiers.l1_entry import unheld_entry
from pannier_sidecar.tiers.l1_local import L1Cache

_SMOOTHING: Final = 0.1
_FIRST_GUESS_US: Final = 5_000.0


class ComputedLoads:
    """Owned through ``async with``."""

    def __init__(self, servers: FeatureServers, l1: L1Cache, clock: Clock, metrics: Metrics) -> None:
        self._servers = servers
        self._l1 = l1
        self._clock = clock
        self._metrics = metrics
        self._flights: SingleFlight[RowKey, Loaded] = SingleFlight(given_up)
        self._load_us: dict[str, float] = {}
        self._outdated: set[RowKey] = set()
        """What is being computed and was invalidated meanwhile: served to those who wait, and not held."""

    def load(self, keys: Sequence[RowKey]) -> dict[RowKey, asyncio.Future[Loaded]]:
        """Start or join the computation of these rows."""
        return self._flights.join(keys, self._load)

    def refresh(self, due: Mapping[RowKey, Freshness]) -> Collection[asyncio.Future[Loaded]]:
        """Compute anew what L1 holds of these rows, in the background."""
        new = [key for key in due if not self._flights.is_flying(key)]
        for key in new:
            self._metrics.refresh(key.plan.name, "early" if due[key] is Freshness.EARLY else "soft")
        return self._flights.join(new, self._load).values()

    def forget(self, key: RowKey) -> None:
        """Hold nothing of this row that was computed before now."""
        self._l1.drop(key)
        if self._flights.is_flying(key):
            self._outdated.add(key)

    def load_us(self, group: str) -> float:
        """How long this group's server takes of late."""
        return self._load_us.get(group, _FIRST_GUESS_US)

    async def settled(self) -> None:
        """Return when nothing is being computed."""
        await self._flights.settled()

    async def __aenter__(self) -> Self:
        await self._flights.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._flights.__aexit__(kind, error, trace)

    async def _load(self, keys: Sequence[RowKey], land: Land[RowKey, Loaded]) -> None:
        together: dict[tuple[GroupPlan, bytes], list[RowKey]] = {}
        for key in keys:
            together.setdefault((key.plan, _context(key)), []).append(key)
        asked = {
            Question(plan, tuple(key.id for key in part), context, _inputs(part)): part
            for (plan, context), of_one in together.items()
            for part in _parts(of_one)
        }
        start_us, epoch = self._clock.now_us(), self._l1.epoch

        def said(question: Question, answer: dict[str, Computed]) -> None:
            now_us = self._clock.now_us()
            self._observe(question.plan.name, now_us - start_us)
            for key in asked[question]:
                land(key, self._taken(key, answer[key.id], epoch, now_us))

        await self._servers.ask(tuple(asked), said)

    def _taken(self, key: RowKey, said: Computed, epoch: int, now_us: int) -> Loaded:
        """What is served of one answer, put into L1 if it may be held."""
        if isinstance(said, TierError):
            self._outdated.discard(key)
            return self._fall_back(key, said, now_us)
        pack = pack_record(key.plan, key.id, said, now_us)
        is_held = key.plan.policy.local.is_filled and not isinstance(key, ContextKey)
        if not is_held or key in self._outdated:
            self._outdated.discard(key)
            return Loaded(unheld_entry(key.plan, pack, now_us), TIER)
        return Loaded(self._l1.put_loaded(key.plan, key.id, pack, now_us, epoch), TIER)

    def _fall_back(self, key: RowKey, error: TierError, now_us: int) -> Loaded:
        """Serve stale what may be; a server that says no is asked again no sooner than others are."""
        is_held = key.plan.policy.local.is_served and not isinstance(key, ContextKey)
        entry = self._l1.held(key.plan, key.id, now_us) if is_held else None
        if entry is None or not entry.row or entry.negative or now_us >= entry.stale_until_us:
            return Loaded(None, TIER, error=error)
        return Loaded(entry, "l1", stale=now_us >= entry.hard_us, error=error)

    def _observe(self, group: str, took_us: int) -> None:
        self._load_us[group] = (1 - _SMOOTHING) * self.load_us(group) + _SMOOTHING * max(took_us, 0)

    def __repr__(self) -> str:
        return f"<ComputedLoads {self._flights!r} from {self._servers!r}>"


def _parts(keys: Sequence[RowKey]) -> Iterator[Sequence[RowKey]]:
    """As many as one read may name; several reads of a request may ask for more of one group."""
    return (keys[start : start + MAX_IDS] for start in range(0, len(keys), MAX_IDS))


def _inputs(keys: Sequence[RowKey]) -> tuple[tuple[bytes, ...], ...]:
    return tuple(key.inputs for key in keys if isinstance(key, InputKey))


def _context(key: RowKey) -> bytes:
    return key.context if isinstance(key, ContextKey) else b""
