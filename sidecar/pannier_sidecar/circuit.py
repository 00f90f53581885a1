"""Whether to try a tier at all: an outage opens the circuit, a probe that succeeds closes it.

A frozen value: each event makes the next state from the last and ``now``. It measures nothing and waits for
nothing; the adapter that owns the client asks it before each call and tells it the outcome.

::

    closed --failure--> open --pause over, one call let through--> half_open --success--> closed
                          ^------------------------failure-----------'
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pannier_sidecar.entry.record import MICROSECONDS

State = Literal["closed", "open", "half_open"]

FIRST_PAUSE_US = MICROSECONDS // 10
"""A hiccup costs a tenth of a second of calls."""
LONGEST_PAUSE_US = 5 * MICROSECONDS
"""An outage that ends is noticed this soon."""
TIMEOUTS_TO_OPEN = 3
"""A single late answer may be this process's own doing; a tier that hangs is late every time."""


class Circuit(msgspec.Struct, frozen=True, gc=False):
    """One circuit as of its last event."""

    state: State = "closed"
    since_us: int = 0
    """When the current pause or probe began."""
    pause_us: int = 0
    """How long until the next call is let through; doubles with every probe that fails."""
    timeouts: int = 0
    """In a row, while closed."""

    def admits(self, now_us: int) -> bool:
        """Whether a call may be tried; a clock that stepped back must not keep the circuit open."""
        return self.state == "closed" or not self.since_us <= now_us < self.since_us + self.pause_us

    def admitted(self, now_us: int) -> Circuit:
        """Let a call through: past the pause it is the probe, and the others wait for its outcome.

        They wait the pause at most, so that a probe whose request was cancelled blocks nothing for good.
        """
        return self if self.state == "closed" else Circuit("half_open", now_us, self.pause_us)

    def hopeful(self) -> Circuit:
        """The tier was heard of another way: the next call may try at once, whatever is left of the pause."""
        return Circuit("open", 0, FIRST_PAUSE_US) if self.state == "open" else self

    def succeeded(self) -> Circuit:
        """A call was answered: whatever it was, the tier is there."""
        return self if self == _HEALTHY else _HEALTHY

    def timed_out(self, now_us: int) -> Circuit:
        """A call was not answered in time."""
        if self.state == "closed" and self.timeouts + 1 < TIMEOUTS_TO_OPEN:
            return Circuit(timeouts=self.timeouts + 1)
        return self.failed(now_us)

    def failed(self, now_us: int) -> Circuit:
        """The tier is not there; a call that began before it opened does not lengthen the pause."""
        if self.state == "open":
            return self
        pause_us = FIRST_PAUSE_US if self.state == "closed" else min(2 * self.pause_us, LONGEST_PAUSE_US)
        return Circuit("open", now_us, pause_us)


_HEALTHY = Circuit()
