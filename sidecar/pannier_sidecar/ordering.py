"""What one write does to one item: the rules of event time, decided on values, without a store.

``decide(old, put, now)`` is the whole of it. Both stores use it: the embedded one for every write, DynamoDB's
for those that its one-round-trip expression refuses (`tiers.dynamodb_expressions` says the same rules as a
condition).

A row is a last-writer-wins register per feature: a *full* write (``replace``, a tombstone) stamps the row, a
*partial* one (``merge``) stamps the features it names. A feature's event time is the later of the two. Only a
strictly newer stamp refuses, so a retry is idempotent and a timeline record can be corrected. Revisions are
no part of that decision: they only rise.
"""

from __future__ import annotations

from typing import Final

from pannier_sidecar.row import Fragments, Put, PutOutcome, Row, Verdict

FOREIGN_REVISION = 1
"""What a row without stamps (adopted table, other writer) reads as; its next write starts at the clock."""
LATE_AFTER_US: Final = 5_000_000
"""From this age on an event may lie below a fence that was written before it, so the store looks for one."""


def decide(old: Row | None, put: Put, now_us: int) -> PutOutcome:
    """``written`` with the row to store, or a refusal with the row that refused."""
    refusal = refused_outright(put, now_us)
    if refusal is not None:
        return refusal
    live = None if old is None or old.is_expired(now_us) else old
    stamp = event_time(live, put, now_us)
    if live is not None and live.deleted and live.newest_stamp_us > stamp:
        return _ignored("ignored_deleted", live, stamp, "was deleted at a later event time")
    revision = next_revision(old, put, now_us)
    write = _full if is_full(put) else _partial
    return write(live, put, stamp, revision)


def refused_outright(put: Put, now_us: int) -> PutOutcome | None:
    """A refusal that no stored state could change, or None; stores give it without asking for the row."""
    if not is_full(put) and not put.values and not put.unset:
        return PutOutcome(verdict="invalid", reason="NothingToWrite", message="names no feature to write")
    if put.expires_at is not None and put.expires_at * 1_000_000 <= now_us:
        return PutOutcome(
            verdict="ignored_expired",
            event_time_us=put.event_time_us,
            reason="Expired",
            message="is older than the group's retention and would be expired at once",
        )
    return None


def is_late(event_time_us: int, now_us: int) -> bool:
    """Whether an event is so old when it is written that a delete of its whole id may have come before."""
    return event_time_us <= now_us - LATE_AFTER_US


def under_fence(fence: Row, put: Put) -> PutOutcome:
    """The refusal of a record that an erased id's fence hides."""
    return PutOutcome(
        verdict="ignored_deleted",
        row=fence,
        event_time_us=put.event_time_us,
        reason="Deleted",
        message="lies under the deletion of its whole id",
    )


def is_full(put: Put) -> bool:
    """Whether the put speaks for every feature; ``force`` does what the kind of group does by default."""
    return put.tombstone or put.mode == "replace" or (put.mode == "force" and put.plan.is_timeline)


def reports_replaced(put: Put) -> bool:
    """Whether the put must tell a rewritten record from a new one: no tie-breaker keeps events apart."""
    return is_full(put) and not put.tombstone and put.plan.is_timeline and put.plan.tie_breaker is None


def keeps_later_expiry(put: Put) -> bool:
    """Whether a late partial write could cut newer features' lives short (retention by event time)."""
    return not is_full(put) and put.expires_at is not None and put.plan.retention.basis == "EventTime"


def event_time(live: Row | None, put: Put, now_us: int) -> int:
    """The stamp the put takes; without an event time it comes after everything stored that it touches."""
    if put.event_time_us is not None:
        return put.event_time_us
    if live is None:
        return now_us
    if is_full(put):
        return max(now_us, live.newest_stamp_us + 1)
    return max(now_us, *(live.stamp_us(feature) + 1 for feature in named(put)))


def next_revision(old: Row | None, put: Put, now_us: int) -> int:
    """``if_not_exists(r, now) + 1``: always rises; a re-created item starts above its former life.

    In a timeline it never stays behind the clock either: caches tell writes that a look at the whole timeline
    knows of from later ones by when the look began (ADR 7).
    """
    if old is None or old.revision <= FOREIGN_REVISION:
        return now_us + 1
    return max(old.revision, now_us) + 1 if put.plan.is_timeline else old.revision + 1


def named(put: Put) -> frozenset[int]:
    """The features a partial write touches."""
    return put.unset.union(put.values)


def _partial(live: Row | None, put: Put, stamp: int, revision: int) -> PutOutcome:
    """Write the named features that no newer stamp protects; the others stay as they are."""
    if live is None:
        live = Row(sort_key=put.sort_key, revision=0, event_time_us=0, stamps_us={}, values={})
    touched = named(put)
    newer = frozenset() if put.mode == "force" else frozenset(f for f in touched if live.stamp_us(f) > stamp)
    if newer == touched:
        return _ignored("ignored_older", live, stamp, "is older than what is stored")
    values = {f: fragment for f, fragment in live.values.items() if f in newer or f not in put.unset}
    values.update((f, fragment) for f, fragment in put.values.items() if f not in newer)
    row = Row(
        sort_key=put.sort_key,
        revision=revision,
        event_time_us=live.event_time_us,
        stamps_us={**live.stamps_us, **dict.fromkeys(touched - newer, stamp)},
        values=values,
        expires_at=_partial_expiry(live, put, stamp),
    )
    return PutOutcome(verdict="written", row=row, event_time_us=stamp, ignored=newer)


def _partial_expiry(live: Row, put: Put, stamp: int) -> int | None:
    """Every accepted write restamps the row; a late one never shortens what newer features were promised."""
    if not keeps_later_expiry(put) or put.expires_at is None or live.expires_at is None:
        return put.expires_at
    return max(put.expires_at, live.expires_at) if stamp < live.newest_stamp_us else put.expires_at


def _full(live: Row | None, put: Put, stamp: int, revision: int) -> PutOutcome:
    """Write every feature, except those stamped newer one by one: they stay, value or gap."""
    if live is not None and put.mode != "force" and live.event_time_us > stamp:
        return _ignored("ignored_older", live, stamp, "is older than what is stored")
    kept = {}
    if live is not None and put.mode != "force":
        kept = {f: newer for f, newer in live.stamps_us.items() if newer > stamp}
    values = {f: fragment for f, fragment in put.values.items() if f not in kept}
    if live is not None:
        values.update((f, live.values[f]) for f in kept if f in live.values)
    survives = put.tombstone and bool(kept)
    row = Row(
        sort_key=put.sort_key,
        revision=revision,
        event_time_us=stamp,
        stamps_us=kept,
        values=values,
        deleted=put.tombstone and not kept,
        # a row that outlives a late delete is no tombstone and must not end like one
        expires_at=live.expires_at if survives and live is not None else put.expires_at,
    )
    replaced = reports_replaced(put) and _differs(live, values)
    return PutOutcome(
        verdict="written", row=row, event_time_us=stamp, ignored=frozenset(kept), replaced=replaced
    )


def _differs(live: Row | None, values: Fragments) -> bool:
    """Whether a record stood there with other features (a repeated write is no replacement)."""
    return live is not None and not live.deleted and live.values != values


def _ignored(verdict: Verdict, live: Row, stamp: int, why: str) -> PutOutcome:
    reason = "Deleted" if verdict == "ignored_deleted" else "Older"
    return PutOutcome(verdict=verdict, row=live, event_time_us=stamp, reason=reason, message=why)
