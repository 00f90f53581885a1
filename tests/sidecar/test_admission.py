"""Seats of requests (`pannier_sidecar.admission`) and the look at the loop (`pannier_sidecar.loop_delay`)."""

from __future__ import annotations

import asyncio

import pytest

from pannier_sidecar.admission import Admission, end_after
from pannier_sidecar.errors import Overloaded
from pannier_sidecar.loop_delay import LOOK_SECONDS, LoopDelay
from pannier_sidecar.metrics import Metrics
from pannier_sidecar.overload import INTERVAL_US

NOW_US = 5_000_000
TARGET_US = 5_000


def an_admission(metrics: Metrics | None = None, reads: int = 60) -> Admission:
    return Admission(
        reads=reads, writes=2, delay_target_us=TARGET_US, metrics=metrics or Metrics(), dice=lambda: 0.5
    )


def test_what_exceeds_the_bound_is_refused_with_a_time_to_come_back() -> None:
    """The refusal says how many are under way, that nothing was begun, and when to try again."""
    metrics = Metrics()
    writes = an_admission(metrics).writes
    writes.begin()
    writes.begin()
    with pytest.raises(Overloaded, match="nothing of this one was stored, repeating it is safe") as caught:
        writes.begin()
    assert caught.value.retry_after_seconds == 2
    assert dict(metrics.sheds.items()) == {("write",): 1}
    writes.end()
    writes.begin()


def test_a_seat_is_taken_once_and_left_with_the_block() -> None:
    """Whoever asks twice holds one place; who was refused or never asked leaves none behind."""
    reads = an_admission(reads=1).reads
    with reads.seat() as seat, reads.seat() as idle:
        seat.take()
        seat.take()
        assert reads.usage().in_flight == 1
        with reads.seat() as refused, pytest.raises(Overloaded):
            refused.take()
        assert "free" in repr(idle)
    assert reads.usage().in_flight == 0


def test_a_seat_may_be_taken_again_in_another_block() -> None:
    """Each time it is one place, and given back."""
    reads = an_admission(reads=1).reads
    seat = reads.seat()
    for _ in range(2):
        with seat:
            seat.take()
            assert reads.usage().in_flight == 1
        assert reads.usage().in_flight == 0


def test_lanes_are_apart() -> None:
    """Reads that fill their lane leave that of writes alone."""
    admission = an_admission(reads=1)
    admission.reads.begin()
    admission.writes.begin()
    assert not admission.reads.try_begin()
    assert admission.writes.try_begin()


def test_an_idle_lane_gets_back_what_a_burst_cost_it() -> None:
    """Nobody asks for more and the loop is in time: in a minute and a half the whole bound is there."""
    admission = an_admission(reads=1_000)
    now_us = NOW_US
    for _ in range(400):
        admission.observe(TARGET_US + 1, now_us)
        now_us += INTERVAL_US // 10
    least = admission.reads.usage().limit
    for _ in range(900):
        now_us += INTERVAL_US
        admission.observe(0, now_us)
    assert least < 20
    assert admission.reads.usage().limit == 1_000


def test_a_loop_that_stays_late_lets_fewer_in_and_then_more_again() -> None:
    """Under a standing queue the bound falls below what was under way; in time again, it grows back."""
    metrics = Metrics()
    admission = an_admission(metrics, reads=60)
    for _ in range(60):
        admission.reads.begin()
    now_us = NOW_US
    for _ in range(25):
        admission.observe(TARGET_US + 1, now_us)
        now_us += INTERVAL_US // 10
    cut = admission.reads.usage().limit
    assert cut < 60
    assert not admission.reads.try_begin()
    for _ in range(400):
        admission.observe(0, now_us)
        now_us += INTERVAL_US // 10
    assert admission.reads.usage().limit == 60
    assert sum(metrics.loop_delay.counts) == 425


def test_a_bound_that_nobody_reaches_does_not_move() -> None:
    """It is the bound that was set, and no calm lifts it over that."""
    admission = an_admission()
    for step in range(30):
        admission.observe(0, NOW_US + step * INTERVAL_US)
    assert admission.reads.usage() == (0, 0, 60)


def a_cut_admission() -> Admission:
    """A lane of 160 reads that was full while the loop was late for an interval: 112 are left, all free."""
    admission = an_admission(reads=160)
    for _ in range(160):
        admission.reads.begin()
    admission.observe(TARGET_US + 1, NOW_US)
    admission.observe(TARGET_US + 1, NOW_US + INTERVAL_US)
    assert admission.reads.usage() == (160, 0, 112)
    return admission


def end_all(admission: Admission) -> None:
    for _ in range(admission.reads.usage().in_flight):
        admission.reads.end()


def test_lanes_follow_once_per_interval() -> None:
    """However often the loop is looked at, and from the interval's last microsecond on."""
    admission, then_us = a_cut_admission(), NOW_US + INTERVAL_US
    for later_us in (0, 1, INTERVAL_US - 1):
        admission.observe(TARGET_US + 1, then_us + later_us)
        assert admission.reads.usage().limit == 112
    admission.observe(TARGET_US + 1, then_us + INTERVAL_US)
    assert admission.reads.usage().limit == 78


def test_a_clock_that_steps_back_does_not_stop_the_lanes() -> None:
    """They follow at once, and per interval from there on."""
    admission, then_us = a_cut_admission(), NOW_US - 3_600_000_000
    for later_us, limit in ((0, 119), (1, 119), (INTERVAL_US, 126)):
        admission.observe(0, then_us + later_us)
        assert admission.reads.usage().limit == limit


def test_a_lane_grows_only_if_it_was_full_since_the_last_look() -> None:
    """Full is enough, nobody has to be refused; what was full longer ago does not count."""
    admission, now_us = a_cut_admission(), NOW_US + 2 * INTERVAL_US
    end_all(admission)
    admission.observe(0, now_us)
    grown = admission.reads.usage().limit
    assert grown == 119  # it was full up to now
    for full, limit in ((grown - 1, grown), (grown, grown + 7), (0, grown + 7)):
        for _ in range(full):
            admission.reads.begin()
        end_all(admission)
        now_us += INTERVAL_US
        admission.observe(0, now_us)
        assert admission.reads.usage().limit == limit


def test_how_late_the_loop_is_is_reported_in_seconds() -> None:
    """As all times in the metrics are."""
    metrics = Metrics()
    admission = an_admission(metrics)
    admission.observe(1_500_000, NOW_US)
    admission.observe(250_000, NOW_US + 1)
    assert metrics.loop_delay.total == 1.75


def test_what_was_own_work_is_told_beside_it() -> None:
    """A loop that waits for a core is late as well, and lets fewer in; no slow call need be looked for."""
    metrics = Metrics()
    an_admission(metrics).observe(40_000, NOW_US, 3_000)
    assert (metrics.loop_delay.total, metrics.loop_work.total) == (0.04, 0.003)


async def test_background_work_ends_with_the_last_of_its_loads() -> None:
    """A batch of refreshes holds one place until every flight of it has landed; an empty one holds none."""
    reads = an_admission().reads
    loop = asyncio.get_running_loop()
    flights = [loop.create_future() for _ in range(3)]
    reads.begin()
    end_after(reads, flights)
    for flight in flights:
        assert reads.usage().in_flight == 1
        flight.set_result(None)
        await asyncio.sleep(0)
    assert reads.usage().in_flight == 0
    reads.begin()
    end_after(reads, ())
    assert reads.usage().in_flight == 0


async def test_the_look_tells_how_much_later_it_was_woken_than_it_asked_for() -> None:
    """In time is zero, never less; late is the difference, and at most what this thread has worked since."""
    heard: asyncio.Queue[tuple[int, ...]] = asyncio.Queue()
    look_us = int(LOOK_SECONDS * 1_000_000)
    times = iter([0, look_us + 7_000, 20_000, 20_000 + look_us - 1, 50_000])
    worked = iter([100, 5_100, 5_100, 9_000, 9_000])
    woken = asyncio.Semaphore(2)

    async def sleep(seconds: float) -> None:
        assert seconds == LOOK_SECONDS
        await woken.acquire()

    async with LoopDelay(lambda *look: heard.put_nowait(look), times.__next__, worked.__next__, sleep):
        assert await heard.get() == (7_000, look_us + 7_000, 5_000)
        assert await heard.get() == (0, 20_000 + look_us - 1, 0)
