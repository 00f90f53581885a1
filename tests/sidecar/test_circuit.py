"""When a tier is tried: `pannier_sidecar.circuit`."""

from __future__ import annotations

from pannier_sidecar.circuit import FIRST_PAUSE_US, LONGEST_PAUSE_US, Circuit

NOW_US = 1_700_000_000_000_000


def test_a_closed_circuit_lets_every_call_through() -> None:
    """Health is the state in which nothing is decided."""
    circuit = Circuit()
    assert circuit.admits(NOW_US)
    assert circuit.admitted(NOW_US) is circuit
    assert circuit.succeeded() is circuit


def test_one_failure_opens_for_a_short_pause() -> None:
    """Calls are refused until the pause is over to the microsecond, then one is let through."""
    circuit = Circuit().failed(NOW_US)
    assert circuit.state == "open"
    assert not circuit.admits(NOW_US)
    assert not circuit.admits(NOW_US + FIRST_PAUSE_US - 1)
    assert circuit.admits(NOW_US + FIRST_PAUSE_US)


def test_one_probe_goes_alone_until_it_reports() -> None:
    """While the probe is under way the others go on without the tier."""
    probe_us = NOW_US + FIRST_PAUSE_US
    circuit = Circuit().failed(NOW_US).admitted(probe_us)
    assert circuit.state == "half_open"
    assert not circuit.admits(probe_us)
    assert not circuit.admits(probe_us + FIRST_PAUSE_US - 1)


def test_a_probe_that_never_reports_blocks_nothing_for_good() -> None:
    """A cancelled request takes its probe with it; the next one is let through a pause later."""
    probe_us = NOW_US + FIRST_PAUSE_US
    circuit = Circuit().failed(NOW_US).admitted(probe_us)
    assert circuit.admits(probe_us + FIRST_PAUSE_US)


def test_a_probe_that_succeeds_closes() -> None:
    """And the next outage starts with the short pause again."""
    circuit = Circuit().failed(NOW_US).admitted(NOW_US + FIRST_PAUSE_US).succeeded()
    assert circuit == Circuit()
    assert circuit.failed(NOW_US).pause_us == FIRST_PAUSE_US


def test_each_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    """A long outage is asked about ever more rarely, but its end is noticed soon."""
    circuit, now_us, pauses = Circuit().failed(NOW_US), NOW_US, []
    for _ in range(9):
        pauses.append(circuit.pause_us)
        now_us += circuit.pause_us
        circuit = circuit.admitted(now_us).failed(now_us)
    assert pauses[:3] == [FIRST_PAUSE_US, 2 * FIRST_PAUSE_US, 4 * FIRST_PAUSE_US]
    assert pauses[-1] == LONGEST_PAUSE_US


def test_timeouts_open_only_in_a_row() -> None:
    """A late answer between punctual ones is no outage; three late ones in a row are."""
    circuit = Circuit().timed_out(NOW_US).timed_out(NOW_US)
    assert circuit.state == "closed"
    assert circuit.admits(NOW_US)
    assert circuit.succeeded().timed_out(NOW_US).timed_out(NOW_US).state == "closed"
    assert circuit.timed_out(NOW_US) == Circuit().failed(NOW_US)


def test_a_probe_that_times_out_opens_again_at_once() -> None:
    """Past the first opening, late is failed; and a probe in time forgets the timeouts before."""
    probing = Circuit().failed(NOW_US).admitted(NOW_US + FIRST_PAUSE_US)
    again = probing.timed_out(NOW_US + FIRST_PAUSE_US)
    assert (again.state, again.pause_us) == ("open", 2 * FIRST_PAUSE_US)
    assert probing.succeeded() == Circuit()


def test_the_pauses_are_short_at_first_and_a_few_seconds_at_most() -> None:
    """A hiccup costs a tenth of a second of calls; an outage that ends is noticed within five."""
    circuit = Circuit().failed(NOW_US)
    assert circuit.pause_us == 100_000
    for _ in range(20):
        circuit = circuit.admitted(NOW_US).failed(NOW_US)
    assert circuit.pause_us == 5_000_000


def test_calls_under_way_when_it_opened_do_not_lengthen_the_pause() -> None:
    """Fifty calls that fail together are one outage."""
    opened = Circuit().failed(NOW_US)
    assert opened.failed(NOW_US + 50_000) is opened


def test_a_clock_that_stepped_back_does_not_keep_it_open() -> None:
    """An hour of clock correction is not an hour without the tier."""
    assert Circuit().failed(NOW_US).admits(NOW_US - 3_600_000_000)


def test_a_tier_that_is_heard_of_another_way_is_tried_at_once() -> None:
    """What is left of a long pause is not waited for; a failure begins with a short one again."""
    now_us, circuit = NOW_US, Circuit().failed(NOW_US)
    for _ in range(4):
        now_us += LONGEST_PAUSE_US
        circuit = circuit.admitted(now_us).failed(now_us)
    now_us += FIRST_PAUSE_US
    assert not circuit.admits(now_us)
    hopeful = circuit.hopeful()
    assert hopeful.admits(now_us)
    again = hopeful.admitted(now_us).failed(now_us)
    assert not again.admits(now_us + FIRST_PAUSE_US)
    assert again.admits(now_us + 2 * FIRST_PAUSE_US)
    assert Circuit().hopeful() == Circuit()
    probing = Circuit().failed(NOW_US).admitted(NOW_US + FIRST_PAUSE_US)
    assert probing.hopeful() == probing
