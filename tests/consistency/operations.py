"""The recorded history of a run: what was asked of which sidecar, when, and what it answered.

One line per operation, so that a history can be kept, looked at and judged again (`tests.consistency.laws`)
without the run that made it. Times are microseconds of one clock, the recorder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

ROW: Final = ""
"""Register of a record that says that there is a row; features have their names, records of a timeline their
timestamps."""
ROW_THERE: Final = "row"
"""Its value then."""
L3: Final = "l3"
L2: Final = "l2"
"""As ``via``: asked directly, strongly, beside all sidecars."""

Kind = Literal["merge", "replace", "force", "delete", "erase"]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a group's policy promises to its readers."""

    bound_us: int
    """An ordinary answer shows no state that was superseded longer ago."""
    stale_us: int = 0
    """How much older one marked stale may be."""
    strong: bool = False
    unit_us: int = 0
    """Of a timeline's timestamps; 0 = the group holds records."""


class Setup(msgspec.Struct, frozen=True, array_like=True, tag="setup", gc=False):
    """First line: what the run was, and what its groups promise."""

    seed: int
    promises: dict[str, Promise]


class Write(msgspec.Struct, frozen=True, array_like=True, tag="write", gc=False):
    """One write of one row."""

    client: str
    via: str
    """Which life of which sidecar answered."""
    start_us: int
    end_us: int | None
    """None = never answered: it may take effect at any time from its start on."""
    group: str
    id: str
    kind: Kind
    cells: dict[str, str | None]
    """What it puts into which registers; None takes away. Empty for ``erase``: all up to its event time."""
    event_us: int | None
    """The event time it took, or asked for; None = not known."""
    verdict: str
    ignored: tuple[str, ...] = ()
    """Registers it left alone because they held something newer."""
    is_doubtful: bool = False
    """Whether an answer to it was lost on the way, so that it may have been applied more than once."""


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read", gc=False):
    """One row of an answer."""

    client: str
    via: str
    start_us: int
    end_us: int
    group: str
    id: str
    status: str
    cells: dict[str, str] = {}
    """What its registers showed."""
    shown_from: int = 0
    """Of timelines: registers below this timestamp were not shown."""
    stale: bool = False
    age_us: int | None = None


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held", gc=False):
    """What a tier held of one row after all had come to rest."""

    moment: Literal["calm", "end"]
    """calm = nothing is under way any more; end = the bounds have passed as well."""
    via: str
    at_us: int
    group: str
    id: str
    shown: str | None
    """Its content as text; None = the tier would have to ask the one below."""


class Event(msgspec.Struct, frozen=True, array_like=True, tag="event", gc=False):
    """What was done to the system."""

    at_us: int
    what: str
    subject: str


Operation = Setup | Write | Read | Held | Event
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Operation)


def save(path: Path, history: Iterable[Operation]) -> None:
    """Write a history to a file."""
    with path.open("wb") as lines:
        for operation in history:
            lines.write(_encoder.encode(operation) + b"\n")


def load(path: Path) -> Iterator[Operation]:
    """Read it again."""
    with path.open("rb") as lines:
        for line in lines:
            yield _decoder.decode(line)
