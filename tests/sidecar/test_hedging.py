"""When L3 is asked a second time: `pannier_sidecar.hedging` and `pannier_sidecar.hedged_reads`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier_sidecar import hedging
from pannier_sidecar.bulkhead import Bulkhead, Limits
from pannier_sidecar.clock import ManualClock
from pannier_sidecar.errors import TierError, TierTimeout, TierUnavailable
from pannier_sidecar.hedged_reads import HedgedReads
from pannier_sidecar.hedging import FIRST_SAMPLES, LEAST_WAIT_US, MOST_SAVED, LoadTimes
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.share_budget import ShareBudget

NOW_US = 1_700_000_000_000_000
SHARE = 0.05
TIMEOUT_SECONDS = 5.0
GROUPS = {"clicks"}
Tried = Callable[[float], Any]


def test_too_few_loads_say_nothing_of_what_is_late() -> None:
    """Before there is a percentile to speak of, nothing is asked twice."""
    times = LoadTimes()
    for _ in range(FIRST_SAMPLES - 1):
        times.add(1_000)
    assert times.late_us() is None
    times.add(1_000)
    assert times.late_us() == 1_000


def test_late_is_later_than_19_of_20_loads_of_late() -> None:
    """One slow load in a hundred does not move it, and old times are forgotten."""
    times = LoadTimes()
    for number in range(100):
        times.add(number)
    assert times.late_us() == 95
    for _ in range(hedging.SAMPLES):
        times.add(7)
    assert times.late_us() == 7


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.01, 0.05, 0.2, 1.0]))
def test_second_tries_never_pass_their_share(wants: list[bool], share: float) -> None:
    """However they are asked for, at every moment they are at most the share of the loads so far."""
    budget, loads, hedges = ShareBudget(share, MOST_SAVED), 0, 0
    for wants_one in wants:
        budget, loads = budget.earned(), loads + 1
        if wants_one and budget.affords:
            budget, hedges = budget.spent(), hedges + 1
        assert hedges <= loads * share + 1e-6


def test_what_was_saved_for_long_is_bounded() -> None:
    """A quiet hour does not pay for a storm of second tries."""
    budget = ShareBudget(SHARE, MOST_SAVED)
    for _ in range(10_000):
        budget = budget.earned()
    spent = 0
    while budget.affords:
        budget, spent = budget.spent(), spent + 1
    assert spent == 5


def test_the_wait_has_a_floor_and_ends_where_a_second_try_has_no_time_left() -> None:
    """Quick stores are not asked twice for our own lateness, slow ones not when it is too late to help."""
    assert hedging.wait_us(None, 500_000) is None
    assert hedging.wait_us(100, 500_000) == LEAST_WAIT_US
    assert hedging.wait_us(250_000, 500_000) == 250_000
    assert hedging.wait_us(250_001, 500_000) is None


def test_who_was_asked_to_slow_down_asks_nothing_twice_for_a_second() -> None:
    """Also where the clock stepped back it is not for good."""
    assert hedging.is_calm(None, NOW_US)
    assert not hedging.is_calm(NOW_US, NOW_US + 999_999)
    assert hedging.is_calm(NOW_US, NOW_US + 1_000_000)
    assert hedging.is_calm(NOW_US, NOW_US - 1)


class Store:
    """Answers tries in the order and way that a test says."""

    def __init__(self) -> None:
        self.tries: list[asyncio.Future[Sequence[int | TierError]]] = []
        self.timeouts: list[float] = []
        self.cancelled = 0
        self.tried = asyncio.Event()

    async def ask(self, timeout_seconds: float) -> Sequence[int | TierError]:
        answer: asyncio.Future[Sequence[int | TierError]] = asyncio.get_running_loop().create_future()
        self.tries.append(answer)
        self.timeouts.append(timeout_seconds)
        if len(self.tries) == 2:
            self.tried.set()
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Reads:
    """Hedged reads that know how long loads take, with second tries saved."""

    def __init__(self, share: float = SHARE, calls: int = 8) -> None:
        self.metrics = Metrics()
        self.clock = ManualClock()
        self.bulkhead = Bulkhead("l3_read", Limits(calls, calls, 60), self.metrics)
        self.reads = HedgedReads(self.bulkhead, clock=self.clock, metrics=self.metrics, hedge_share=share)

    async def warm(self, loads: int = 40) -> None:
        async def ask(_seconds: float) -> list[int | TierError]:
            return [0]

        for _ in range(loads):
            await self.reads.ask(GROUPS, 1, ask, TIMEOUT_SECONDS)

    def load(self, store: Store, calls: int = 1) -> asyncio.Task[Any]:
        return asyncio.create_task(self.reads.ask(GROUPS, calls, store.ask, TIMEOUT_SECONDS))

    @property
    def hedges(self) -> dict[str, int]:
        return {event: n for (event,), n in self.metrics.hedges.items()}


@pytest.fixture
def store() -> Store:
    return Store()


async def test_the_second_try_answers_where_the_first_is_late(store: Store) -> None:
    """Two calls in all, the first one cancelled, its room given back, within the first one's time."""
    hedged = Reads()
    await hedged.warm()
    load = hedged.load(store)
    await store.tried.wait()
    assert hedged.bulkhead.usage().in_flight == 2
    store.tries[1].set_result([7])
    states, _ = await load
    assert states == [7]
    assert (len(store.tries), store.cancelled) == (2, 1)
    assert store.timeouts[1] < store.timeouts[0] == TIMEOUT_SECONDS
    assert hedged.hedges == {"sent": 1, "won": 1}
    assert hedged.bulkhead.usage().in_flight == 0


async def test_the_first_try_may_still_be_the_one(store: Store) -> None:
    """It comes after all, before the second: that one is cancelled, and nothing is asked again."""
    hedged = Reads()
    await hedged.warm()
    load = hedged.load(store)
    await store.tried.wait()
    store.tries[0].set_result([1])
    assert (await load)[0] == [1]
    assert (len(store.tries), store.cancelled) == (2, 1)
    assert hedged.hedges == {"sent": 1}


@pytest.mark.parametrize("bad", [[TierUnavailable("l3", "gone")], TierTimeout("l3", "late")])
async def test_a_bad_answer_waits_for_the_other_try(store: Store, bad: list[TierError] | TierError) -> None:
    """The first good answer counts, not the first."""
    hedged = Reads()
    await hedged.warm()
    load = hedged.load(store)
    await store.tried.wait()
    if isinstance(bad, TierError):
        store.tries[0].set_exception(bad)
    else:
        store.tries[0].set_result(bad)
    await asyncio.sleep(0)
    assert not load.done()
    store.tries[1].set_result([7])
    assert (await load)[0] == [7]


async def test_where_both_fail_the_first_says_why(store: Store) -> None:
    """The error is the first try's own, as if it had been the only one."""
    hedged = Reads()
    await hedged.warm()
    load = hedged.load(store)
    await store.tried.wait()
    store.tries[1].set_exception(TierUnavailable("l3", "second"))
    store.tries[0].set_exception(TierUnavailable("l3", "first"))
    with pytest.raises(TierUnavailable, match="first"):
        await load
    assert hedged.bulkhead.usage().in_flight == 0


async def test_a_load_that_is_given_up_takes_both_tries_along(store: Store) -> None:
    """Nothing goes on in the background after its caller left."""
    hedged = Reads()
    await hedged.warm()
    load = hedged.load(store)
    await store.tried.wait()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert store.cancelled == 2
    assert hedged.bulkhead.usage().in_flight == 0


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)


async def _withheld(hedged: Reads, store: Store) -> None:
    """A late load that is asked once."""
    load = hedged.load(store)
    await until(lambda: hedged.hedges.get("withheld") == 1)
    store.tries[0].set_result([1])
    assert (await load)[0] == [1]
    assert len(store.tries) == 1
    assert "sent" not in hedged.hedges


async def test_no_second_try_beyond_the_budget(store: Store) -> None:
    """Twenty loads pay for one: the next one that is late has to wait for its only answer."""
    hedged, late = Reads(), Store()
    await hedged.warm(FIRST_SAMPLES)
    load = hedged.load(store)
    await store.tried.wait()
    store.tries[1].set_result([1])
    await load
    next_load = hedged.load(late)
    await until(lambda: hedged.hedges.get("withheld") == 1)
    late.tries[0].set_result([2])
    assert (await next_load)[0] == [2]
    assert hedged.hedges == {"sent": 1, "won": 1, "withheld": 1}


async def test_no_second_try_while_l3_throttles(store: Store) -> None:
    """Who was asked to slow down does not ask twice."""
    hedged = Reads()
    await hedged.warm()
    hedged.reads.throttled()
    await _withheld(hedged, store)


async def test_no_second_try_where_the_bulkhead_is_nearly_full(store: Store) -> None:
    """The room that is left is for first tries."""
    hedged = Reads(calls=4)
    await hedged.warm()
    async with hedged.bulkhead.room(2):
        await _withheld(hedged, store)


async def test_no_second_try_where_that_is_switched_off(store: Store) -> None:
    """A share of 0 asks once, and measures nothing."""
    hedged = Reads(share=0.0)
    await hedged.warm()
    load = hedged.load(store)
    await until(lambda: len(store.tries) == 1)
    store.tries[0].set_result([1])
    await load
    assert hedged.hedges == {}


async def test_a_load_says_how_long_it_took_once_there_was_room(store: Store) -> None:
    """Time spent waiting in our own queue is not the source's."""
    hedged = Reads(calls=1)
    async with hedged.bulkhead.room(1):
        load = hedged.load(store)
        await until(lambda: hedged.bulkhead.usage().waiting == 1)
        hedged.clock.advance(9)
    await until(lambda: len(store.tries) == 1)
    hedged.clock.advance(0.25)
    store.tries[0].set_result([1])
    assert (await load)[1] == 250_000
