"""Loads of keys that L1 cannot answer: L2, then L3.

The one place that holds the order of tiers on the way down.

Loads are single flights: detached, shared by everyone who waits, filling the caches also when nobody waits
any more. What a state that came back is good for is decided in `pannier_sidecar.arrivals`; rows are the read
path's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Final, Literal, Self

from pannier_sidecar.arrivals import Arrivals
from pannier_sidecar.clock import Clock
from pannier_sidecar.entry.freshness import Freshness
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.errors import TierError, TierOverloaded, TierUnavailable
from pannier_sidecar.given_up import given_up, range_given_up
from pannier_sidecar.known import Known, Loaded, Said
from pannier_sidecar.l3_reads import L3Reads
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.recent_writes import State
from pannier_sidecar.row import RowKey, TimelineQuery
from pannier_sidecar.shadow import Shadow
from pannier_sidecar.shared_flight import SharedFlight
from pannier_sidecar.single_flight import Land, SingleFlight
from pannier_sidecar.tiers.l2 import SharedReader
from pannier_sidecar.underway import Underway

MAX_ATTEMPTS: Final = 5
"""Reads of one load; each next one is caused by a write that was acknowledged during the last."""


class Loader:
    """Owned through ``async with``."""

    def __init__(  # noqa: PLR0913 (the parts it brings together)
        self,
        *,
        arrivals: Arrivals,
        l2: SharedReader | None,
        l3: L3Reads,
        shadow: Shadow,
        shared: SharedFlight | None,
        underway: Underway,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._arrivals = arrivals
        self._shadow = shadow
        self._l2 = l2
        self._shared = shared
        self._l3 = l3
        self._clock = clock
        self._metrics = metrics
        self._keys: SingleFlight[RowKey, Loaded] = SingleFlight(given_up, underway.of)
        self._strong_keys: SingleFlight[tuple[RowKey, int], Loaded] = SingleFlight(
            given_up, lambda tokens: underway.of(key for key, _ in tokens)
        )
        self._ranges: SingleFlight[tuple[TimelineQuery, int], Timeline | TierError] = SingleFlight(
            range_given_up, lambda tokens: underway.of(RowKey(query.plan, query.id) for query, _ in tokens)
        )
        self._last_token = 0
        self._owned = AsyncExitStack()

    def load(self, keys: Sequence[RowKey]) -> dict[RowKey, asyncio.Future[Loaded]]:
        """Start or join the loads of these keys.

        A strong read joins no load that began before it: writes acknowledged since might be missing there.
        """
        flights = self._keys.join([key for key in keys if not key.plan.is_strong], self._load)
        strong = [(key, self._next_token()) for key in keys if key.plan.is_strong]
        for (key, _), flight in self._strong_keys.join(strong, self._load_strong).items():
            flights[key] = flight
        return flights

    def refresh(self, due: Mapping[RowKey, Freshness]) -> Collection[asyncio.Future[Loaded]]:
        """Renew what L1 holds of these keys in the background, unless a load of them is under way."""
        new = [key for key in due if not self._keys.is_flying(key)]
        for key in new:
            self._metrics.refresh(key.plan.name, _kind(due[key]))
        return self._keys.join(new, self._refresh).values()

    def load_ranges(
        self, queries: Sequence[TimelineQuery]
    ) -> dict[TimelineQuery, asyncio.Future[Timeline | TierError]]:
        """Start or join loads of ranges that no cache covers; they are not cached."""
        asked = [(query, self._next_token() if query.plan.is_strong else 0) for query in queries]
        return {query: flight for (query, _), flight in self._ranges.join(asked, self._load_ranges).items()}

    def load_us(self, group: str) -> float:
        """How long a load of this group takes of late."""
        return self._l3.load_us(group)

    async def settled(self) -> None:
        """Return when no load is under way."""
        for flights in (self._keys, self._strong_keys, self._ranges):
            await flights.settled()

    async def __aenter__(self) -> Self:
        for flights in (self._keys, self._strong_keys, self._ranges):
            await self._owned.enter_async_context(flights)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owned.aclose()

    async def _load(self, keys: Sequence[RowKey], land: Land[RowKey, Loaded]) -> None:
        """Ask L2 first: fresh and soft entries are served; a soft one is renewed from L3 behind that."""
        below: list[Known] = []
        due: dict[RowKey, Known] = {}
        asked, answered = await self._ask_l2(keys, land)
        for known in asked:
            loaded, found = self._arrivals.take_l2(known, self.load_us(known.key.plan.name))
            if loaded is None:
                below.append(known)
                continue
            land(known.key, loaded)
            if found is not Freshness.FRESH:
                due[known.key] = known
                self._metrics.refresh(known.key.plan.name, _kind(found))
        self._keys.join(tuple(due), partial(self._reload, due))
        await self._load_below(below, answered, land)

    async def _refresh(self, keys: Sequence[RowKey], land: Land[RowKey, Loaded]) -> None:
        """Renew L1 from L2; only what is due for renewal there is loaded from L3."""
        below = []
        asked, answered = await self._ask_l2(keys, land)
        for known in asked:
            kept = self._arrivals.keep(known.key) if self._is_l2_silent(known.key, answered) else None
            if kept is not None:
                land(known.key, kept)
                continue
            loaded, found = self._arrivals.take_l2(known, self.load_us(known.key.plan.name))
            if loaded is None or found is not Freshness.FRESH:
                below.append(known)
            else:
                land(known.key, loaded)
        await self._load_below(below, answered, land)

    async def _reload(
        self, due: Mapping[RowKey, Known], keys: Sequence[RowKey], land: Land[RowKey, Loaded]
    ) -> None:
        """Load what L2 said a moment ago is due for renewal."""
        await self._load_below(
            [self._arrivals.know(key, due[key].from_l2, due[key].epoch) for key in keys], due, land
        )

    async def _load_strong(
        self, tokens: Sequence[tuple[RowKey, int]], land: Land[tuple[RowKey, int], Loaded]
    ) -> None:
        """Read L3 for one request alone."""
        of_key = {token[0]: token for token in tokens}
        known = [self._arrivals.know(key, None) for key in of_key]
        await self._load_l3(known, lambda key, loaded: land(of_key[key], loaded))

    async def _load_ranges(
        self,
        tokens: Sequence[tuple[TimelineQuery, int]],
        land: Land[tuple[TimelineQuery, int], Timeline | TierError],
    ) -> None:
        async def load(token: tuple[TimelineQuery, int]) -> None:
            land(token, await self._load_range(token[0]))

        await asyncio.gather(*(load(token) for token in tokens))

    def _next_token(self) -> int:
        """What tells a load that must not be joined from all others."""
        self._last_token += 1
        return self._last_token

    async def _load_range(self, query: TimelineQuery) -> Timeline | TierError:
        """Read until no write of the id was acknowledged meanwhile: a client's own writes are in it."""
        key = RowKey(query.plan, query.id)
        strong = self._arrivals.know(key, None).needs_strong_read
        for _ in range(MAX_ATTEMPTS):
            sequence = self._arrivals.sequence
            said = await self._l3.read_range(query, strong=strong)
            if not self._arrivals.wrote_since(key, sequence):
                return said
            strong = True
        return said

    async def _ask_l2(
        self, keys: Sequence[RowKey], land: Land[RowKey, Loaded]
    ) -> tuple[list[Known], Collection[RowKey]]:
        """What is known of the keys above L3, with one round trip to L2, and which of them L2 answered.

        Keys that found no room on the way to L2 end here: L3 is dearer, so they would only make it worse.
        """
        epoch = self._arrivals.epoch
        said = await self._read_l2(keys)
        known = []
        for key in keys:
            state = said.get(key)
            if isinstance(state, TierOverloaded):
                land(key, self._arrivals.fall_back(self._arrivals.know(key, None, epoch), state))
            else:
                known.append(self._arrivals.know(key, state, epoch, was_l2_asked=key in said))
        return known, said.keys()

    async def _read_l2(self, keys: Sequence[RowKey]) -> dict[RowKey, State | TierOverloaded | None]:
        """What L2 said of the keys that it serves, in one round trip; a key it did not answer is left out."""
        asked = [key for key in keys if key.plan.policy.remote.is_served]
        self._shadow.ask_l2(keys)
        if self._l2 is None or not asked:
            return {}
        start_us = self._clock.now_us()
        answers = await self._l2.read(asked)
        seconds = max(self._clock.now_us() - start_us, 0) / 1_000_000
        for group in {key.plan.name for key in asked}:
            self._metrics.load_seconds("l2", group, seconds)
        return {
            key: answer
            for key, answer in zip(asked, answers, strict=True)
            if isinstance(answer, TierOverloaded) or not isinstance(answer, TierError)
        }

    def _is_l2_silent(self, key: RowKey, answered: Collection[RowKey]) -> bool:
        """Whether L2 should have answered for the key and did not."""
        return self._l2 is not None and key.plan.policy.remote.is_served and key not in answered

    async def _load_below(
        self, wanted: Sequence[Known], answered: Collection[RowKey], land: Land[RowKey, Loaded]
    ) -> None:
        """Load from L3, one sidecar for all where L2 answers and can say which one."""
        if self._shared is None:
            await self._load_l3(wanted, land)
            return
        shared = [known for known in wanted if known.key in answered]
        alone = [known for known in wanted if known.key not in answered]
        async with asyncio.TaskGroup() as loads:
            if shared:
                loads.create_task(self._shared.load(shared, land, self._load_l3))
            if alone:
                loads.create_task(self._load_l3(alone, land))

    async def _load_l3(self, wanted: Sequence[Known], land: Land[RowKey, Loaded]) -> None:
        """Read until every key has an answer that nothing known to exist contradicts."""
        for attempt in range(MAX_ATTEMPTS):
            if not wanted:
                return
            sequence, said = self._arrivals.sequence, list[Said]()
            await self._l3.read(wanted, said.append, strong=attempt > 0)
            wanted = await self._settle(said, sequence, land)
        error = TierUnavailable("l3", "was overtaken by writes of the same id at every attempt")
        for known in wanted:
            land(known.key, Loaded(None, "l3", error=error))

    async def _settle(self, said: Sequence[Said], sequence: int, land: Land[RowKey, Loaded]) -> list[Known]:
        """Land what can be served; give back what must be read again."""
        again = []
        failed: list[tuple[Known, TierError]] = []
        for one in said:
            if isinstance(one.state, TierError):
                failed.append((one.known, one.state))
                self._shadow.said(one.known.key, one.state)
                continue
            loaded = self._arrivals.take_l3(one, one.state, sequence)
            if loaded is None:
                again.append(one.known)
            else:
                self._shadow.said(one.known.key, one.state)
                land(one.known.key, loaded)
        if failed:
            await self._fall_back(failed, land)
        return again

    async def _fall_back(self, failed: list[tuple[Known, TierError]], land: Land[RowKey, Loaded]) -> None:
        """Serve stale what may be; `Strong` groups did not ask L2 before, so it is asked now."""
        said = await self._read_l2([known.key for known, _ in failed if known.key.plan.is_strong])
        for known, error in failed:
            from_l2 = said.get(known.key)
            if from_l2 is not None and not isinstance(from_l2, TierOverloaded):
                # the same key, better known
                known = self._arrivals.know(known.key, from_l2, known.epoch)  # noqa: PLW2901
            land(known.key, self._arrivals.fall_back(known, error))

    def __repr__(self) -> str:
        return f"<Loader {self._keys!r}, ranges {self._ranges!r}>"


def _kind(found: Freshness) -> Literal["early", "soft"]:
    return "early" if found is Freshness.EARLY else "soft"
