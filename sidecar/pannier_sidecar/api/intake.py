"""Write intake: one decoded write -> one `Put`, decided up to what L3 alone can know. Faults name the field.

Pure. Here a write meets its group: types and sizes of values, the key, the event time, retention. What the
stored row says to it (older, deleted) is `ordering`'s to decide. Flow: `write_batch` -> here -> write path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from pannier import keys, times
from pannier.errors import KeyRefused, ValueRefused
from pannier.values import ITEM_MAX_BYTES, NULL_FRAGMENT, AttributeValue, item_bytes
from pannier.values.json_text import member
from pannier_sidecar.api.bodies import short, suggest
from pannier_sidecar.api.problems import RequestRefused
from pannier_sidecar.api.write_requests import Moment, WriteItem
from pannier_sidecar.api.write_times import at, expires_at, record_time, seconds_up, timeline_time
from pannier_sidecar.ordering import is_full, is_late, refused_outright
from pannier_sidecar.plan import FeaturePlan, GroupPlan
from pannier_sidecar.row import Fragments, Mode, Put, PutOutcome

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_STAMP: Final[AttributeValue] = {"N": "9" * 16}


def intake(plan: GroupPlan, write: WriteItem, now_us: int, path: str = "") -> Put | PutOutcome:
    """Take in one write; a `PutOutcome` says ``ignored_expired`` without a word to L3.

    Raises `RequestRefused` with one problem whose path begins with ``path``.
    """
    try:
        put = _put(plan, write, now_us, path)
    except (ValueRefused, KeyRefused) as refusal:
        raise RequestRefused((refusal.problem,)) from refusal
    return refused_outright(put, now_us) or put


def tombstone_put(
    plan: GroupPlan,
    row_id: str,
    now_us: int,
    *,
    sort_key: str = keys.RECORD_SORT_KEY,
    event_time_us: int | None = None,
) -> Put:
    """Build the delete of one record or one timeline record, by default after everything stored.

    Raises `RequestRefused` where the group may not be written or the id is none.
    """
    check_writable(plan)
    try:
        keys.check_id(row_id, plan.group.key.max_id_bytes)
    except KeyRefused as refusal:
        raise RequestRefused((refusal.problem,)) from refusal
    return Put(
        plan=plan,
        id=row_id,
        sort_key=sort_key,
        mode="replace",
        values={},
        event_time_us=event_time_us,
        expires_at=seconds_up(now_us) + plan.retention.tombstone_seconds,
        tombstone=True,
    )


def record_sort_key(plan: GroupPlan, timestamp: Moment, tie_breaker: str | None = None) -> str:
    """Sort key of a timeline record as an address gives it (``?timestamp=...&tie_breaker=...``).

    Without a tie-breaker this is the key of an untied record; in a group that declares one, the prefix of all
    records of that instant. Raises `RequestRefused`.
    """
    try:
        ticks = times.exact_in_unit(timestamp, unit_us=plan.unit_us, path="timestamp")
        digits = keys.timestamp_digits(ticks, plan.width, "timestamp")
        return keys.sort_key(digits, None if tie_breaker is None else _tie_breaker_of(plan, tie_breaker))
    except (ValueRefused, KeyRefused) as refusal:
        raise RequestRefused((refusal.problem,)) from refusal


def check_writable(plan: GroupPlan, path: str = "") -> None:
    """Refuse groups that this sidecar may only read, or that nobody can write."""
    if plan.group.storage_mode == "None":
        raise RequestRefused.because(
            "NotWritable", f"{plan.name} is computed on demand and stores nothing", at(path, "group")
        )
    if not plan.can_write:
        raise RequestRefused.because(
            "AccessDenied", f"this namespace may read {plan.name} but not write it", at(path, "group")
        )


def _put(plan: GroupPlan, write: WriteItem, now_us: int, path: str) -> Put:
    check_writable(plan, path)
    row_id = keys.check_id(write.id, plan.group.key.max_id_bytes, at(path, "id"))
    values = _values(plan, write.features, at(path, "features"))
    sort_key, event_time_us = _when(plan, write, values, now_us, path)
    mode = write.mode or ("replace" if plan.is_timeline else "merge")
    put = Put(
        plan=plan,
        id=row_id,
        sort_key=sort_key,
        mode=mode,
        values=values,
        unset=_unset(plan, write, values, path) if write.unset else frozenset(),
        event_time_us=event_time_us,
        expires_at=expires_at(plan, event_time_us, now_us),
        check_fence=plan.is_timeline and _may_lie_under_a_fence(mode, event_time_us, now_us),
    )
    _check_shape(put, path)
    _check_item_size(put, path)
    return put


def _may_lie_under_a_fence(mode: Mode, event_time_us: int | None, now_us: int) -> bool:
    return mode == "force" or (event_time_us is not None and is_late(event_time_us, now_us))


def _when(
    plan: GroupPlan, write: WriteItem, values: Fragments, now_us: int, path: str
) -> tuple[str, int | None]:
    """Sort key and event time."""
    if not plan.is_timeline:
        return keys.RECORD_SORT_KEY, record_time(write, now_us, path)
    ticks, event_time_us = timeline_time(plan, write, path)
    digits = keys.timestamp_digits(ticks, plan.width, at(path, "timestamp"))
    return keys.sort_key(digits, _tie_breaker(plan, values, path)), event_time_us


def _values(plan: GroupPlan, features: dict[str, msgspec.Raw], path: str) -> Fragments:
    values: Fragments = {}
    for name, raw in features.items():
        feature = plan.by_name.get(name)
        if feature is None or not feature.served:
            raise _no_such_feature(plan, name, path + member(short(name)))
        values[feature.id] = feature.codec.parse(raw, f"{path}.{name}")
    return values


def _unset(plan: GroupPlan, write: WriteItem, values: Fragments, path: str) -> frozenset[int]:
    taken = set()
    for index, name in enumerate(write.unset):
        where = f"{at(path, 'unset')}[{index}]"
        feature = plan.by_name.get(name)
        if feature is None or not feature.served:
            raise _no_such_feature(plan, name, where)
        if feature.id in values:
            raise RequestRefused.because(
                "ConflictingFeature", f"`{name}` is also among the features to write; leave one out", where
            )
        taken.add(feature.id)
    return frozenset(taken)


def _tie_breaker(plan: GroupPlan, values: Fragments, path: str) -> str | None:
    """Text of the tie-breaker, which each write of a group that declares one must bring."""
    feature = plan.tie_breaker
    if feature is None:
        return None
    fragment = values.get(feature.id, NULL_FRAGMENT)
    where = f"{at(path, 'features')}.{feature.name}"
    if fragment == NULL_FRAGMENT:
        raise RequestRefused.because(
            "TieBreakerRequired",
            "tells records of one instant apart: each write needs it, and not null",
            where,
        )
    return keys.tie_breaker_text(msgspec.json.decode(fragment), where)


def _tie_breaker_of(plan: GroupPlan, text: str) -> str:
    """The same from a query string, where an Int64 comes as text too."""
    feature = plan.tie_breaker
    if feature is None:
        raise KeyRefused("UnexpectedTieBreaker", f"{plan.name} declares no tie-breaker", "tie_breaker")
    if feature.feature.type == "String":
        return keys.tie_breaker_text(text, "tie_breaker")
    if not _INTEGER.fullmatch(text):
        raise KeyRefused("WrongType", f"`{feature.name}` is an Int64; wants an integer", "tie_breaker")
    return keys.tie_breaker_text(int(text), "tie_breaker")


def _check_shape(put: Put, path: str) -> None:
    """Refuse what a mode makes pointless: an empty merge; an ``unset`` where all else goes anyway."""
    where = at(path, "unset")
    if put.unset and is_full(put):
        raise RequestRefused.because(
            "UnexpectedUnset",
            f"`{put.mode}` leaves nothing that is not named; use mode `merge` to take features away",
            where,
        )
    if put.plan.tie_breaker is not None and put.plan.tie_breaker.id in put.unset:
        raise RequestRefused.because("TieBreakerRequired", "is part of the key and cannot be unset", where)
    if not put.values and not put.unset and not is_full(put):
        raise RequestRefused.because(
            "NothingToWrite", "names no feature to write or unset", at(path, "features")
        )


def _check_item_size(put: Put, path: str) -> None:
    """Refuse what no item can hold; a merge that outgrows a stored row only then is refused by the store."""
    # no stored form is more than twice as long as its JSON; the rest of an item stays below the slack
    slack = 4096 + 64 * len(put.values)
    if 2 * sum(map(len, put.values.values())) + len(put.id) * 4 + slack <= ITEM_MAX_BYTES:
        return
    size = _item_bytes(put)
    if size > ITEM_MAX_BYTES:
        raise RequestRefused.because(
            "ItemTooLarge",
            f"the row takes {size} bytes as stored; an item holds at most {ITEM_MAX_BYTES} (400 KB)",
            at(path, "features"),
        )


def _item_bytes(put: Put) -> int:
    """What the put alone makes of an item, stamps included."""
    by_id = put.plan.by_id
    values = {str(i): by_id[i].codec.to_attribute(fragment) for i, fragment in put.values.items()}
    stamps = {} if is_full(put) else {str(i): _STAMP for i in (*put.values, *put.unset)}
    item: dict[str, AttributeValue] = {
        "pk": {"S": keys.partition_key(put.plan.name, put.id)},
        "sk": {"S": put.sort_key},
        "v": {"M": values},
        "w": _STAMP,
        "wx": {"M": stamps},
        "r": _STAMP,
    }
    if put.expires_at is not None:
        item["expires_at"] = {"N": str(put.expires_at)}
    return item_bytes(item)


def _no_such_feature(plan: GroupPlan, name: str, path: str) -> RequestRefused:
    if name in plan.by_name:
        return RequestRefused.because("FeatureRemoved", f"`{name}` was removed from {plan.name}", path)
    known = list(_names(plan.served))
    nearest = suggest(name, known)
    hint = f"did you mean `{nearest}`?" if nearest else f"it has {', '.join(known)}"
    return RequestRefused.because("UnknownFeature", f"{plan.name} has no such feature; {hint}", path)


def _names(features: Iterable[FeaturePlan]) -> Iterable[str]:
    return (feature.name for feature in features)
