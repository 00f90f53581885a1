"""Old and new conditions -> the Events worth posting: transitions only, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

_TOLD: Final = ("Ready", "InSync", "ConfigPublished", "Stalled")
_QUIET: Final = frozenset({"NotSeenYet"})


class Note(NamedTuple):
    """An Event to post."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> Iterator[Note]:
    """Tell what changed for those who watch: Ready and its reason, drift, publication, being stuck.

    A change of the message alone is no Event: conditions have it.
    """
    old = {condition["type"]: condition for condition in before}
    told: set[tuple[str, str]] = set()
    for condition in after:
        kind, reason = condition["type"], condition["reason"]
        if kind not in _TOLD or reason in _QUIET or not _changed(old.get(kind), condition):
            continue
        good = condition["status"] != "False" and kind != "Stalled"
        message = f"{kind} is {condition['status']}: {condition['message'] or reason}"
        if (reason, condition["message"]) not in told:
            told.add((reason, condition["message"]))
            yield Note("Normal" if good or _passing(reason) else "Warning", reason, message)


def _changed(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    if old is None:
        return new["status"] != "Unknown" and new["type"] in {"Ready", "Stalled"}
    return (old["status"], old["reason"]) != (new["status"], new["reason"])


def _passing(reason: str) -> bool:
    """Whether it goes by itself, so that nobody has to be warned."""
    return reason in {
        "Creating",
        "Hardening",
        "Updating",
        "Applying",
        "Deleting",
        "Expiring",
        "Waiting",
        "Paused",
    }
