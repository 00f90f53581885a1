"""Rows as DynamoDB items and back: the stored bytes of the tables, in attribute values. Pure, no client.

``v`` features by id, ``w`` and ``wx`` event-time stamps, ``r`` revision, ``d`` tombstone, ``expires_at``.
Rows of other writers may lack any of them and may hold anything in them: what cannot be read is left out
and counted, and never takes the rest of the row with it. Every store weighs its rows by these items
(`too_large`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from pannier import times
from pannier.errors import KeyRefused, ValueRefused
from pannier.keys import FENCE_SORT_KEY, parse_sort_key, partition_key
from pannier.values import ITEM_MAX_BYTES, AttributeValue, from_opaque, is_opaque, item_bytes, opaque
from pannier_sidecar.ordering import FOREIGN_REVISION
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.row import Fragment, Fragments, Put, PutOutcome, Row

Item = Mapping[str, AttributeValue]
OnBadValue = Callable[[GroupPlan, str, ValueRefused], None]
"""Told of a stored value that cannot be read: the group, the attribute's name below ``v``, and why."""

_KEY_AND_NAMES_BYTES = 4096
_STAMP_BYTES = 40
_TRUE: AttributeValue = {"BOOL": True}
_FEATURE_ID: Final = re.compile(r"0|[1-9][0-9]{0,8}")
"""One spelling per id, so that each name below ``v`` is read as one feature and written back as the same."""


def item_key(plan: GroupPlan, row_id: str, sort_key: str) -> dict[str, AttributeValue]:
    """The primary key of an item."""
    return {"pk": {"S": partition_key(plan.name, row_id)}, "sk": {"S": sort_key}}


def to_attribute(plan: GroupPlan, feature_id: int, fragment: Fragment) -> AttributeValue:
    """A fragment as it is stored."""
    if is_opaque(fragment):
        return from_opaque(fragment)
    return plan.by_id[feature_id].codec.to_attribute(fragment)


def to_attributes(plan: GroupPlan, values: Fragments) -> dict[str, AttributeValue]:
    """The content of ``v``."""
    return {str(feature): to_attribute(plan, feature, fragment) for feature, fragment in values.items()}


def stamps_attribute(stamps_us: Mapping[int, int]) -> AttributeValue:
    """``wx``: always there, also empty."""
    return {"M": {str(feature): number(stamp) for feature, stamp in stamps_us.items()}}


def number(value: int) -> AttributeValue:
    """An integer as DynamoDB takes it."""
    return {"N": str(value)}


def from_item(plan: GroupPlan, item: Item, on_bad_value: OnBadValue) -> Row:
    """The row an item holds. Without stamps (another writer) it reads as stamps 0, revision 1.

    A timeline's timestamp is its event time, so there the sort key stands in for a missing stamp: a fence
    must not hide what another writer stored after it.
    """
    sort_key: str = item["sk"]["S"]
    event_time = _integer(item.get("w"))
    if event_time is None:
        event_time = _key_time(plan, sort_key) if plan.is_timeline and sort_key != FENCE_SORT_KEY else 0
    stamps = _map(item, "wx")
    return Row(
        sort_key=sort_key,
        revision=_integer(item.get("r")) or FOREIGN_REVISION,
        event_time_us=event_time,
        stamps_us={int(f): _integer(stamp) or 0 for f, stamp in stamps.items() if _FEATURE_ID.fullmatch(f)},
        values=_fragments(plan, _map(item, "v"), on_bad_value),
        deleted=item.get("d") == _TRUE,
        expires_at=_integer(item.get("expires_at")),
    )


def _fragments(plan: GroupPlan, stored: Mapping[str, AttributeValue], on_bad_value: OnBadValue) -> Fragments:
    values: Fragments = {}
    by_id = plan.by_id
    for name, attribute in stored.items():
        if not _FEATURE_ID.fullmatch(name):
            on_bad_value(plan, name, ValueRefused("NotAFeatureId", f"{name!r} under v is no feature id"))
            continue
        known = by_id.get(int(name))
        try:
            values[int(name)] = opaque(attribute) if known is None else known.codec.from_attribute(attribute)
        except ValueRefused as refusal:
            on_bad_value(plan, name, refusal)
    return values


def _map(item: Item, name: str) -> Mapping[str, AttributeValue]:
    content: Mapping[str, AttributeValue] = item.get(name, {}).get("M", {})
    return content


def _integer(attribute: AttributeValue | None) -> int | None:
    """The integer of a number attribute; another writer's fraction is cut.

    What is no number, or larger than any time or count of ours, is nothing: a cache entry has 64 bits.
    """
    text = attribute.get("N") if attribute else None
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        value = int(float(text))
    return value if abs(value) <= times.LATEST_US else None


def _key_time(plan: GroupPlan, sort_key: str) -> int:
    try:
        return parse_sort_key(sort_key, plan.width)[0] * plan.unit_us
    except KeyRefused:
        return 0


def too_large(put: Put, row: Row) -> PutOutcome | None:
    """The refusal of a row that no DynamoDB item could hold, on every store alike."""
    # no stored form is more than twice as long as its JSON, so small rows need no measuring
    bound = 2 * sum(map(len, row.values.values())) + _STAMP_BYTES * (len(row.values) + len(row.stamps_us))
    if bound + _KEY_AND_NAMES_BYTES < ITEM_MAX_BYTES:
        return None
    size = item_bytes(
        {
            **item_key(put.plan, put.id, row.sort_key),
            "v": {"M": to_attributes(put.plan, row.values)},
            "wx": stamps_attribute(row.stamps_us),
            "w": number(row.event_time_us),
            "r": number(row.revision),
            **({} if row.expires_at is None else {"expires_at": number(row.expires_at)}),
        }
    )
    return item_too_large(put, f"would make an item of {size} bytes") if size > ITEM_MAX_BYTES else None


def item_too_large(put: Put, message: str) -> PutOutcome:
    """The outcome of a write whose item would pass DynamoDB's limit."""
    return PutOutcome(
        verdict="invalid",
        event_time_us=put.event_time_us,
        reason="ItemTooLarge",
        message=f"{message}; a stored item takes at most {ITEM_MAX_BYTES}",
    )
