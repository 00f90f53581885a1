"""What a store should hold, as plainly as possible: one register and one stamp per feature, no revisions.

The model of `test_store_stateful`. It shares no line with `ordering`: every rule of writing, expiring,
deleting and erasing is said again here, one feature at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pannier_sidecar.row import Put

SECOND = 1_000_000
FEATURES = frozenset(range(4))


@dataclass
class PlainRow:
    """One row: per feature the fragment (None = absent) and when that was said."""

    fragments: dict[int, bytes | None] = field(default_factory=lambda: dict.fromkeys(FEATURES))
    stamps: dict[int, int] = field(default_factory=lambda: dict.fromkeys(FEATURES, 0))
    full_stamp: int = 0
    """When the last full write was said: it speaks for features that nobody named too."""
    is_deleted: bool = False
    expires_at: int | None = None

    @property
    def values(self) -> dict[int, bytes]:
        """What a reader sees."""
        return {feature: fragment for feature, fragment in self.fragments.items() if fragment is not None}


class PlainStore:
    """Rows by id and sort key, fences by id."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], PlainRow] = {}
        self.fences: dict[str, tuple[int, int]] = {}

    def row(self, row_id: str, sort_key: str, now: int) -> PlainRow | None:
        """The row, unless its time has passed."""
        row = self.rows.get((row_id, sort_key))
        if row is not None and row.expires_at is not None and row.expires_at * SECOND <= now:
            return None
        return row

    def fence(self, row_id: str, now: int) -> int:
        """Event time up to which an id is erased."""
        stamp, expires_at = self.fences.get(row_id, (-1, 0))
        return stamp if expires_at * SECOND > now else -1

    def write(self, put: Put, now: int) -> str:
        """Apply a put and say its verdict."""
        if put.expires_at is not None and put.expires_at * SECOND <= now:
            return "ignored_expired"
        row = self.row(put.id, put.sort_key, now) or PlainRow()
        is_full = put.tombstone or put.mode == "replace" or (put.mode == "force" and put.plan.is_timeline)
        named = FEATURES if is_full else put.unset.union(put.values)
        stamp = put.event_time_us
        if stamp is None:
            stamp = max(now, *(row.stamps[feature] + 1 for feature in named))
        if self.fence(put.id, now) >= stamp or (row.is_deleted and row.full_stamp > stamp):
            return "ignored_deleted"
        force = put.mode == "force"
        open_to_it = named if force else {feature for feature in named if row.stamps[feature] <= stamp}
        if row.full_stamp > stamp and is_full and not force:
            return "ignored_older"
        if not open_to_it and not is_full:
            return "ignored_older"
        self._apply(row, put, stamp, set(open_to_it), is_full=is_full)
        self.rows[put.id, put.sort_key] = row
        return "written"

    @staticmethod
    def _apply(row: PlainRow, put: Put, stamp: int, features: set[int], *, is_full: bool) -> None:
        newest = max(row.stamps.values())
        if is_full:
            row.full_stamp = stamp
        for feature in features:
            row.fragments[feature] = put.values.get(feature)
            row.stamps[feature] = max(stamp, row.full_stamp)
        spares_some = features != FEATURES
        row.is_deleted = put.tombstone and not spares_some
        if put.tombstone and spares_some:
            return  # lives on, as long as before
        was_promised_more = (
            not is_full
            and stamp < newest
            and put.plan.retention.basis == "EventTime"
            and row.expires_at is not None
            and put.expires_at is not None
            and row.expires_at > put.expires_at
        )
        if not was_promised_more:
            row.expires_at = put.expires_at

    def erase(self, row_id: str, now: int, tombstone_seconds: int) -> int:
        """Erase an id up to now or the newest of its records; returns the fence's event time."""
        times = {key: int(key[1]) * SECOND for key in self.rows if key[0] == row_id}
        stamp = max([now, self.fence(row_id, now), *times.values()])
        self.fences[row_id] = (stamp, now // SECOND + tombstone_seconds)
        for key in times:
            del self.rows[key]
        return stamp

    def timeline(self, row_id: str, now: int) -> list[tuple[str, dict[int, bytes]]]:
        """What readers see of an id, newest first."""
        seen = []
        for i, sort_key in sorted(self.rows, reverse=True):
            row = self.row(i, sort_key, now)
            if i == row_id and row is not None and not row.is_deleted:
                seen.append((sort_key, row.values))
        return seen
