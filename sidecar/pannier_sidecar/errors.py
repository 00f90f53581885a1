"""What can go wrong below the HTTP surface.

::

    PannierError
    ├── Overloaded                too much is under way in this sidecar: refused before anything was done
    └── TierError                 a tier gave no answer: the state of the key is *unknown*, never *missing*
        ├── TierUnavailable       refused, down, circuit open, garbage, wrong credentials
        ├── TierTimeout           no answer within its budget
        ├── TierThrottled         asked to slow down, retries within the budget were used up
        ├── TierGarbled           a feature server answered what cannot be used
        ├── InputUnknown          what a row is computed from is unknown, so its server was not called
        ├── TierOverloaded        not asked: this sidecar has too many calls to it under way
        └── TierMisconfigured     missing table, wrong key schema, access denied: a person has to act

Foreign errors are translated into these once, in the adapter that owns the client, with ``from``. In bulk
answers a `TierError` instance stands as the value of the key it happened to, so that the other keys are still
answered.
"""

from __future__ import annotations

from typing import ClassVar

from pannier.errors import PannierError


class Overloaded(PannierError):
    """The sidecar has too much under way to begin this; ``retry_after_seconds`` says when to come back."""

    reason: ClassVar[str] = "Overloaded"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class TierError(PannierError):
    """A tier did not answer; ``tier`` is ``l2``, ``l3`` or ``on_demand``."""

    reason: ClassVar[str] = "TierFailed"

    def __init__(self, tier: str, message: str) -> None:
        self.tier = tier
        self.message = message
        super().__init__(f"{tier}: {message}")


class TierUnavailable(TierError):
    """The tier cannot be reached or does not speak its protocol; trying again later may help."""

    reason = "TierUnavailable"


class TierTimeout(TierError):
    """The tier did not answer within its budget; a write may or may not have been stored."""

    reason = "TierTimeout"


class TierThrottled(TierError):
    """The tier asked to slow down."""

    reason = "TierThrottled"


class TierGarbled(TierError):
    """The answer does not fit the protocol or the group's schema, so nothing of it is believed."""

    reason = "TierGarbled"


class InputUnknown(TierError):
    """What a row is computed from is unknown, so its feature server was not called for it."""

    reason = "InputUnknown"


class TierOverloaded(TierError):
    """The tier was not asked: this sidecar has too many calls to it under way. Says nothing of its health."""

    reason = "TierOverloaded"


class TierMisconfigured(TierError):
    """The tier refuses what this sidecar is set up to do; retrying does not help, a person has to act."""

    reason = "TierMisconfigured"
