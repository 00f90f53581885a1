"""A write as one UpdateItem: the rules of `ordering` in DynamoDB's expression language. Pure.

`optimistic` is right for whatever it meets or is refused, and needs no look at the item: one round trip in
the common case. `guarded` stores what `ordering.decide` made of the item that refused, provided that
nobody wrote in between. Both are complete statements about ``v``, ``w``, ``wx``, ``r``, ``d`` and
``expires_at``, and touch no other attribute (another writer's).
"""

from __future__ import annotations

from typing import Any, Final

from pannier.values import AttributeValue
from pannier_sidecar import ordering
from pannier_sidecar.row import Put, Row
from pannier_sidecar.tiers.items import Item, item_key, number, stamps_attribute, to_attribute, to_attributes

Arguments = dict[str, Any]

FEATURES_IN_ONE_TRIP: Final = 64
"""More would pass the 4 KB of a condition and the 300 operators of an expression."""


def optimistic(put: Put, now_us: int) -> Arguments:
    """The write in one round trip, refused by a condition wherever the item calls for a decision."""
    stamp = now_us if put.event_time_us is None else put.event_time_us
    if ordering.is_full(put):
        return _full(put, stamp, now_us)
    if len(ordering.named(put)) <= FEATURES_IN_ONE_TRIP:
        return _partial(put, stamp, now_us)
    absent = ordering.decide(None, put, now_us)
    if absent.row is None:
        raise AssertionError("callers refuse outright what even an absent row refuses")
    return guarded(put, absent.row, None, None, now_us)


def _newer(put: Put) -> str:
    """Which stored stamps refuse: newer ones; without an event time also an equal one, to come after it."""
    return ">=" if put.event_time_us is None else ">"


def _overrides(put: Put) -> bool:
    """Whether the put goes below stamps it may find; without an event time it comes after them."""
    return put.mode == "force" and put.event_time_us is not None


def _partial(put: Put, stamp: int, now_us: int) -> Arguments:
    """Named features and their stamps; needs ``v`` and ``wx`` (they are always there, also empty)."""
    named = sorted(ordering.named(put))
    sets = [f"wx.#{f}=:t" for f in named] + [f"v.#{f}=:v{f}" for f in put.values]
    removes = [f"v.#{f}" for f in sorted(put.unset.difference(put.values))]
    values = {f":v{f}": to_attribute(put.plan, f, fragment) for f, fragment in put.values.items()}
    conditions = ["attribute_type(v,:map)", "attribute_type(wx,:map)", "NOT expires_at<=:s"]
    values |= {":map": {"S": "M"}, ":s": number(now_us // 1_000_000)}
    newer = _newer(put)
    if _overrides(put):
        conditions.append(f"(attribute_not_exists(d) OR NOT w{newer}:t)")
    else:
        conditions += [f"NOT w{newer}:t", *(f"NOT wx.#{f}{newer}:t" for f in named)]
    if ordering.keeps_later_expiry(put):
        conditions.append("NOT expires_at>:x")
    return _update(
        put,
        sets,
        removes,
        conditions,
        {**values, ":t": number(stamp)},
        {f"#{f}": str(f) for f in named},
        now_us,
    )


def _full(put: Put, stamp: int, now_us: int) -> Arguments:
    """Every feature at once; one trip while ``wx`` is empty, for its stamps cannot be quantified over."""
    sets = ["v=:v", "wx=:wx", "w=:t"]
    values: dict[str, AttributeValue] = {
        ":v": {"M": to_attributes(put.plan, put.values)},
        ":wx": stamps_attribute({}),
        ":t": number(stamp),
    }
    newer = _newer(put)
    if ordering.reports_replaced(put):
        condition = "attribute_not_exists(pk)"
    elif _overrides(put):
        condition = f"(attribute_not_exists(pk) OR attribute_not_exists(d) OR NOT w{newer}:t)"
    else:
        condition = f"(attribute_not_exists(pk) OR (NOT w{newer}:t AND size(wx)=:zero))"
        values[":zero"] = number(0)
    return _update(put, sets, [], [condition], values, {}, now_us)


def _update(  # noqa: PLR0913, PLR0917 (the parts of one request)
    put: Put,
    sets: list[str],
    removes: list[str],
    conditions: list[str],
    values: dict[str, AttributeValue],
    names: dict[str, str],
    now_us: int,
) -> Arguments:
    """Add what every optimistic write says: the revision rises, the row's life is stamped anew."""
    if put.plan.is_timeline:
        sets.append("r=:r")
        conditions = [*conditions, "NOT r>=:r"]
        values |= {":r": number(now_us + 1)}
    else:
        sets.append("r=if_not_exists(r,:now)+:one")
        values |= {":now": number(now_us), ":one": number(1)}
    _life(sets, removes, values, deleted=put.tombstone, expires_at=put.expires_at)
    return _request(put, sets, removes, conditions, values) | (
        {"ExpressionAttributeNames": names} if names else {}
    )


def guarded(put: Put, row: Row, old: Row | None, item: Item | None, now_us: int) -> Arguments:
    """Store ``row``, decided on ``old`` as read from ``item``, if the item still is what it was."""
    live = None if old is None or old.is_expired(now_us) else old
    sets = ["v=:v", "wx=:wx", "w=:w", "r=:r"]
    values: dict[str, AttributeValue] = {
        ":v": {"M": _content(put, row, live, item or {})},
        ":wx": stamps_attribute(row.stamps_us),
        ":w": number(row.event_time_us),
        ":r": number(row.revision),
    }
    removes: list[str] = []
    _life(sets, removes, values, deleted=row.deleted, expires_at=row.expires_at)
    if item is None:
        condition = "attribute_not_exists(pk)"
    elif "r" in item:
        condition = "r=:old"
        values[":old"] = item["r"]
    else:
        condition = "attribute_exists(pk) AND attribute_not_exists(r)"
    return _request(put, sets, removes, [condition], values)


def _content(put: Put, row: Row, live: Row | None, item: Item) -> dict[str, AttributeValue]:
    """``v`` of a decided row: what was kept stays as it was stored, also what could not be read."""
    stored: dict[str, AttributeValue] = item.get("v", {}).get("M", {})
    content = {}
    for feature, fragment in row.values.items():
        kept = live is not None and live.values.get(feature) is fragment
        content[str(feature)] = stored[str(feature)] if kept else to_attribute(put.plan, feature, fragment)
    if live is not None and not ordering.is_full(put):
        unread = stored.keys() - {str(feature) for feature in (*live.values, *ordering.named(put))}
        content |= {name: stored[name] for name in unread}
    return content


def _life(
    sets: list[str],
    removes: list[str],
    values: dict[str, AttributeValue],
    *,
    deleted: bool,
    expires_at: int | None,
) -> None:
    """Say whether the row is a tombstone and when it ends."""
    if deleted:
        sets.append("d=:d")
        values[":d"] = {"BOOL": True}
    else:
        removes.append("d")
    if expires_at is None:
        removes.append("expires_at")
    else:
        sets.append("expires_at=:x")
        values[":x"] = number(expires_at)


def _request(
    put: Put,
    sets: list[str],
    removes: list[str],
    conditions: list[str],
    values: dict[str, AttributeValue],
) -> Arguments:
    update = f"SET {','.join(sets)}" + (f" REMOVE {','.join(removes)}" if removes else "")
    return {
        "TableName": put.plan.table,
        "Key": item_key(put.plan, put.id, put.sort_key),
        "UpdateExpression": update,
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeValues": values,
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
