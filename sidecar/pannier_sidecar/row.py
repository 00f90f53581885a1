"""One item of L3 as a value, whatever store holds it, and the commands and verdicts of writing one.

Feature values travel through the sidecar as *fragments*: the canonical JSON of one value as bytes, keyed by
the feature's id. They are made once (when a write is taken in, or L3 is read) and from there only moved and
spliced. An id this catalog does not know has no type, so its fragment is *opaque* (see `pannier.values`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pannier_sidecar.plan import GroupPlan

Fragment = bytes
Fragments = dict[int, Fragment]

Mode = Literal["merge", "replace", "force"]
Verdict = Literal[
    "written", "ignored_older", "ignored_expired", "ignored_deleted", "invalid", "failed", "unknown"
]


class Row(msgspec.Struct, frozen=True, gc=False):
    """The whole state of one item. A row of another writer without stamps reads as stamps 0, revision 1."""

    sort_key: str
    """``null`` for records, ``<digits>[#<tie-breaker>]`` for timelines, ``~`` for a fence."""
    revision: int
    """Rises with every write of the item; decides which of two observed states is newer."""
    event_time_us: int
    """``w``: stamp of the last full write."""
    stamps_us: dict[int, int]
    """``wx``: stamps of features written partially since, by feature id."""
    values: Fragments
    deleted: bool = False
    expires_at: int | None = None
    """Epoch seconds after which the row counts as absent; None = never."""

    def is_expired(self, now_us: int) -> bool:
        """Whether the row's time has passed (stores remove such rows late)."""
        return self.expires_at is not None and self.expires_at * 1_000_000 <= now_us

    def stamp_us(self, feature_id: int) -> int:
        """Event time of one feature."""
        return max(self.event_time_us, self.stamps_us.get(feature_id, 0))

    @property
    def newest_stamp_us(self) -> int:
        """Event time of the row: the newest of all its stamps."""
        return max([self.event_time_us, *self.stamps_us.values()])


class RowKey(msgspec.Struct, frozen=True, gc=False):
    """One id of one group."""

    plan: GroupPlan
    id: str


class ContextKey(RowKey, frozen=True, gc=False):
    """One id that is computed from what one request said: it is nobody else's, and never cached."""

    context: bytes


class InputKey(ContextKey, frozen=True, gc=False):
    """One id that is computed from rows of other groups as well."""

    inputs: tuple[bytes, ...]
    """Rows as a read answers them, one per declared input, in that order."""


class TimelineQuery(msgspec.Struct, frozen=True, gc=False):
    """The newest ``limit`` live rows of one id with ``low <= sort key <= high`` (stored form)."""

    plan: GroupPlan
    id: str
    limit: int
    low: str
    high: str


class TimelinePage(msgspec.Struct, frozen=True, gc=False):
    """What L3 says of a `TimelineQuery`.

    ``rows``: newest first, tombstones included, expired rows left out, never the fence. ``fence``: the id's
    fence or None. ``exhausted``: no older row lies in the range, so the page is complete down to ``low``;
    otherwise it is complete down to the last row given.
    """

    rows: tuple[Row, ...]
    fence: Row | None
    exhausted: bool


class Put(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One write, decided up to what L3 alone can know.

    ``event_time_us`` None = "after everything stored" (record groups without an explicit event time).
    ``expires_at`` is already computed from retention (``tombstone`` puts carry now + tombstoneSeconds).
    """

    plan: GroupPlan
    id: str
    sort_key: str
    mode: Mode
    values: Fragments
    unset: frozenset[int] = frozenset()
    event_time_us: int | None
    expires_at: int | None
    tombstone: bool = False
    check_fence: bool = False
    """Whether a fence of the id may lie above this event time and must be looked for (late or ``force``)."""


class PutOutcome(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of a `Put`. ``row`` is the state after it (also the one that made it ignored, if known)."""

    verdict: Verdict
    row: Row | None = None
    event_time_us: int | None = None
    """The stamp the write took, to be echoed so that a repeat is idempotent."""
    ignored: frozenset[int] = frozenset()
    """Feature ids left alone because what is stored is newer, while others were written."""
    replaced: bool = False
    """A timeline record of the same sort key with other features was replaced."""
    reason: str = ""
    message: str = ""


class Erasure(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The outcome of deleting a whole timeline id: its fence, and whether rows are left to remove."""

    fence: Row
    removed: int
    finished: bool
