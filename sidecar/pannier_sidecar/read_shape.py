"""What one read means for its group: which features, how many records, between which sort keys.

`resolve` checks a read of a request against the plan; the answer is a `ResolvedRead` or the `Problem` that
will stand in its place. Shapes are immutable and shared: `ShapeMemo` gives the same object for the same
question, so that a cached row remembers by identity for which shape its bytes were made.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pannier.errors import KeyRefused, Problem, ValueRefused
from pannier.keys import HIGHEST_SORT_KEY, LOWEST_SORT_KEY, check_id, sort_key_range
from pannier.times import bound_in_unit
from pannier_sidecar.api.bodies import no_such_group, short
from pannier_sidecar.api.read_requests import MAX_CONTEXT_BYTES, MAX_IDS_PER_READ, Moment, Read
from pannier_sidecar.input_ids import ids_fault
from pannier_sidecar.plan import FeaturePlan, GroupPlan, ReadPlan
from pannier_sidecar.render import columns_of
from pannier_sidecar.row import ContextKey, RowKey

MAX_SHAPES: Final = 4_096
MAX_AGE_SECONDS: Final = 1e10
"""Three centuries."""
_encode = msgspec.json.Encoder().encode


class ReadShape:
    """An immutable question to any id of one group. Compared by identity."""

    __slots__ = (
        "columns",
        "deprecated",
        "features",
        "head",
        "high",
        "is_default",
        "is_ranged",
        "limit",
        "low",
        "plan",
    )

    def __init__(  # noqa: PLR0913 (a value, all keywords)
        self,
        *,
        plan: GroupPlan,
        features: tuple[FeaturePlan, ...] | None,
        limit: int,
        low: str = LOWEST_SORT_KEY,
        high: str = HIGHEST_SORT_KEY,
        is_ranged: bool = False,
    ) -> None:
        self.plan = plan
        self.features = features
        """In the order of their ids; None = all that are served."""
        self.limit = limit
        self.low = low
        self.high = high
        self.is_ranged = is_ranged
        """Whether the request named a range; the bounds then depend on more than the plan."""
        self.is_default = not is_ranged and features is None and limit == plan.query.default_limit
        self.columns = tuple(
            column for column in columns_of(plan.served) if features is None or column[1] in features
        )
        """Where the features lie among the spans of a rendered record."""
        self.deprecated = sum(f.state == "Deprecated" for f in features or ())
        """How many deprecated features the read names."""
        self.head = b'{"group":' + _encode(plan.name)

    def __repr__(self) -> str:
        names = "all" if self.features is None else ",".join(f.name for f in self.features)
        return f"<ReadShape {self.plan.name} {names} newest {self.limit} in {self.low}..{self.high}>"


class ResolvedRead:
    """One valid read: its shape, its ids as asked, and what the answer says beside the rows."""

    __slots__ = ("context", "head", "ids", "max_age_us", "shape")

    def __init__(
        self,
        shape: ReadShape,
        ids: tuple[str, ...],
        head: bytes,
        max_age_us: int | None,
        context: bytes = b"",
    ) -> None:
        self.shape = shape
        self.ids = ids
        self.head = head
        """The result up to its first row: ``{"group":"g","rows":[``."""
        self.max_age_us = max_age_us
        self.context = context
        """JSON that a feature server computes with; empty = none was given."""

    def key(self, row_id: str) -> RowKey:
        """What one row of it is loaded as."""
        plan = self.shape.plan
        return ContextKey(plan, row_id, self.context) if self.context else RowKey(plan, row_id)

    def __repr__(self) -> str:
        return f"<ResolvedRead {len(self.ids)} ids of {self.shape!r}>"


class ShapeMemo:
    """Shapes of one plan by what requests ask; ranged reads are not kept (their bounds move).

    Groups that are as they were in the plan before keep their shapes, and what was rendered for them.
    """

    def __init__(self, plan: ReadPlan, before: ShapeMemo | None = None) -> None:
        self.plan = plan
        known = before._shapes if before is not None else {}  # noqa: SLF001 (of the same class)
        self._shapes: dict[tuple[str, tuple[str, ...] | None, int | None], ReadShape] = {
            question: shape
            for question, shape in known.items()
            if plan.groups.get(shape.plan.name) is shape.plan
        }

    def shape(self, group: str, features: tuple[str, ...] | None, limit: int | None) -> ReadShape | Problem:
        """Give the shape of an unranged question, or why it cannot be asked."""
        known = self._shapes.get((group, features, limit))
        if known is not None:
            return known
        plan = self.plan.groups.get(group)
        if plan is None:
            return no_such_group(group, self.plan.groups)
        chosen = _features(plan, features)
        if isinstance(chosen, Problem):
            return chosen
        most = _limit(plan, limit)
        if isinstance(most, Problem):
            return most
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        made = ReadShape(plan=plan, features=chosen, limit=most)
        if features is None or len(features) <= len(
            plan.served
        ):  # a name a million times is no shape to keep
            self._shapes[group, features, limit] = made
        return made

    def __repr__(self) -> str:
        return f"<ShapeMemo of {self.plan!r}: {len(self._shapes)} shapes>"


def resolve(read: Read, memo: ShapeMemo, now_us: int) -> ResolvedRead | Problem:
    """Decide what a read asks, or why it cannot be answered."""
    shape = memo.shape(read.group, read.features, read.limit)
    if isinstance(shape, Problem):
        return shape
    context = b"" if read.context is None else _encode(read.context)
    fault = (
        _ids_fault(read.ids, shape.plan)
        or _age_fault(read.max_age_seconds)
        or _context_fault(context, shape.plan)
        or ids_fault(shape.plan.inputs, read.ids, context)
    )
    if fault is not None:
        return fault
    head = shape.head
    if read.since is not None or read.until is not None:
        try:
            ranged, clamped = _ranged(shape, read.since, read.until, now_us)
        except (ValueRefused, KeyRefused) as refused:
            return refused.problem
        shape = ranged
        if clamped is not None:
            head += b',"since":%d' % clamped
    max_age_us = None if read.max_age_seconds is None else int(read.max_age_seconds * 1_000_000)
    return ResolvedRead(shape, read.ids, head + b',"rows":[', max_age_us, context)


def lookback_floor(plan: GroupPlan, now_us: int) -> str:
    """The lowest sort key that a read may reach now; `LOWEST_SORT_KEY` where the group names no lookback."""
    tick = _oldest_tick(plan, now_us)
    return LOWEST_SORT_KEY if tick is None else sort_key_range(tick, None, plan.width)[0]


def _oldest_tick(plan: GroupPlan, now_us: int) -> int | None:
    lookback = plan.query.max_lookback_seconds
    return None if lookback is None else -((lookback * 1_000_000 - now_us) // plan.unit_us)


def _features(plan: GroupPlan, names: tuple[str, ...] | None) -> tuple[FeaturePlan, ...] | Problem | None:
    if names is None:
        return None
    chosen = set()
    for position, name in enumerate(names):
        feature = plan.by_name.get(name)
        if feature is None or not feature.served:
            what = "is not declared" if feature is None else "was removed"
            known = ", ".join(f.name for f in plan.served)
            return Problem(
                f"features[{position}]",
                "UnknownFeature",
                f"{short(name)!r} {what} in group {plan.name!r}; it serves {known}",
            )
        chosen.add(feature)
    return tuple(feature for feature in plan.served if feature in chosen)


def _limit(plan: GroupPlan, limit: int | None) -> int | Problem:
    if limit is None:
        return plan.query.default_limit
    if not plan.is_timeline:
        return Problem(
            "limit", "LimitNotAllowed", f"{plan.name!r} holds one record per id, so no limit applies"
        )
    if not 1 <= limit <= plan.query.max_limit:
        return Problem(
            "limit",
            "LimitOutOfRange",
            f"is {limit}; {plan.name!r} takes 1 to {plan.query.max_limit} (maxLimit)",
        )
    return limit


def _context_fault(context: bytes, plan: GroupPlan) -> Problem | None:
    if context and not plan.is_computed:
        return Problem(
            "context", "UnexpectedContext", f"{plan.name!r} is stored; only what is computed takes a context"
        )
    if len(context) > MAX_CONTEXT_BYTES:
        return Problem(
            "context", "ContextTooLarge", f"is {len(context)} bytes of JSON; at most {MAX_CONTEXT_BYTES} go"
        )
    return None


def _ids_fault(ids: tuple[str, ...], plan: GroupPlan) -> Problem | None:
    if not ids:
        return Problem("ids", "NoIds", "is empty; a read needs at least one id")
    if len(ids) > MAX_IDS_PER_READ:
        return Problem("ids", "TooManyIds", f"are {len(ids)}; one read takes at most {MAX_IDS_PER_READ}")
    most = plan.group.key.max_id_bytes
    try:
        for row_id in ids:
            if not (row_id.isascii() and 0 < len(row_id) <= most):
                check_id(row_id, most)
    except KeyRefused:
        return _first_bad_id(ids, most)
    return None


def _first_bad_id(ids: tuple[str, ...], most: int) -> Problem | None:
    for position, row_id in enumerate(ids):
        try:
            check_id(row_id, most, f"ids[{position}]")
        except KeyRefused as refused:
            return refused.problem
    return None


def _age_fault(max_age_seconds: float | None) -> Problem | None:
    if max_age_seconds is None or 0 <= max_age_seconds <= MAX_AGE_SECONDS:
        return None
    return Problem(
        "max_age_seconds",
        "OutOfRange",
        f"is {max_age_seconds}; it must be 0 to {MAX_AGE_SECONDS:.0f} seconds",
    )


def _ranged(
    shape: ReadShape, since: Moment | None, until: Moment | None, now_us: int
) -> tuple[ReadShape, int | None]:
    """Give the shape with its bounds, and the clamped ``since`` if the group's lookback moved it."""
    plan = shape.plan
    if not plan.is_timeline:
        path = "since" if since is not None else "until"
        raise ValueRefused(
            "RangeNotAllowed", f"{plan.name!r} holds one record per id, so no range applies", path
        )
    first = None if since is None else _bound(since, plan, now_us, "since")
    last = None if until is None else _bound(until, plan, now_us, "until")
    if first is not None and last is not None and first > last:
        raise ValueRefused("ReversedRange", f"lies after until ({first} > {last})", "since")
    oldest = _oldest_tick(plan, now_us)
    clamped = oldest if oldest is not None and first is not None and first < oldest else None
    low, high = sort_key_range(first if clamped is None else clamped, last, plan.width)
    if first is None and oldest is not None:
        low = sort_key_range(oldest, None, plan.width)[0]
    return ReadShape(
        plan=plan, features=shape.features, limit=shape.limit, low=low, high=high, is_ranged=True
    ), clamped


def _bound(moment: Moment, plan: GroupPlan, now_us: int, path: str) -> int:
    return bound_in_unit(moment, unit_us=plan.unit_us, now_us=now_us, round_up=path == "since", path=path)
