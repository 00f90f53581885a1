"""The root of every error Pannier raises, and the contract's own.

::

    PannierError
    ├── SpecInvalid        a FeatureGroup or catalog that cannot be used: one Problem per fault
    ├── ValueRefused       a feature value that does not fit its declared type or the stores' limits
    └── KeyRefused         an id, timestamp or tie-breaker that cannot become a key

A *Problem* is what a person reads: where, what is wrong, what would be right. Its ``reason`` is one CamelCase
word, the same in an HTTP problem, a condition, a log line and a metric label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PannierError(Exception):
    """Root of all errors that Pannier raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: ``path`` in dotted form (``spec.features[2].type``), CamelCase ``reason``, a sentence."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecInvalid(PannierError):
    """A FeatureGroup, policy or catalog is not usable; ``problems`` names every fault found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class _Refused(PannierError):
    """A single input that cannot be taken; carries one Problem."""

    def __init__(self, reason: str, message: str, path: str = "") -> None:
        self.reason = reason
        self.message = message
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)

    @property
    def problem(self) -> Problem:
        """The fault as a value."""
        return Problem(self.path, self.reason, self.message)


class ValueRefused(_Refused):
    """A feature value does not fit its declared type or what every store can hold."""


class KeyRefused(_Refused):
    """An id, timestamp or tie-breaker cannot become a stored key."""
