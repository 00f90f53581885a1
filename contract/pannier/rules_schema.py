"""Rules of ``key``, ``features``, ``query`` and ``retention``: what rows are and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pannier.cel import Rule
from pannier.spec import FeatureSpec, Spec

_TIMELINE: Final = "has(self.key.sortKey) && self.key.sortKey.type == 'Timestamp'"
_BYTES_PER_DIMENSION: Final = 4
_NAME_MAX: Final = 63


def _duplicates(attribute: str) -> Callable[[tuple[FeatureSpec, ...]], Iterable[str]]:
    def culprits(features: tuple[FeatureSpec, ...]) -> Iterable[str]:
        seen: set[object] = set()
        for index, feature in enumerate(features):
            value = getattr(feature, attribute)
            if value in seen:
                yield f"[{index}].{attribute}"
            seen.add(value)

    return culprits


def _each_once(attribute: str) -> str:
    """Compose CEL that looks each feature up once, not once for each other feature.

    The API server builds a map of all properties for every look at one: pair by pair, an edit of a group of
    128 features took it most of a second. ``[x].all(y, ...)`` binds y, which CEL has no other word for.
    """
    return f"[self.map(f, f.{attribute})].all(s, s.all(v, s.indexOf(v) == s.lastIndexOf(v)))"


def _after_gap(features: tuple[FeatureSpec, ...]) -> Iterable[str]:
    """The feature whose id should be the first that is not there."""
    ids = sorted({feature.id for feature in features})
    first = next((id_ for expected, id_ in enumerate(ids) if id_ != expected), None)
    return (f"[{i}].id" for i, feature in enumerate(features) if feature.id == first)


def _tie_breaker_exists(spec: Spec) -> bool:
    name = spec.key.sort_key.tie_breaker if spec.key.sort_key else None
    return name is None or any(
        f.name == name and f.type in {"String", "Int64"} and f.state == "Active" for f in spec.features
    )


def _record_limits_are_one(spec: Spec) -> bool:
    query = spec.query
    return spec.is_timeline or query is None or {query.default_limit, query.max_limit} <= {None, 1}


FEATURE_RULES: Final = (
    Rule(
        at="spec.features",
        reason="DuplicateFeatureId",
        message="two features have this id; every feature has its own, from 0 without gaps",
        cel=_each_once("id"),
        holds=lambda features: len({f.id for f in features}) == len(features),
        culprits=_duplicates("id"),
    ),
    Rule(
        at="spec.features",
        reason="FeatureIdGap",
        message="feature ids must count from 0 without gaps; a new feature takes the next number",
        cel="self.all(f, f.id < size(self))",
        holds=lambda features: all(f.id < len(features) for f in features),
        culprits=_after_gap,
    ),
    Rule(
        at="spec.features",
        reason="DuplicateFeatureName",
        message="two features have this name; names must be unique, also among Removed features",
        cel=_each_once("name"),
        holds=lambda features: len({f.name for f in features}) == len(features),
        culprits=_duplicates("name"),
    ),
    Rule(
        at="spec.features[]",
        reason="ElementTypeMismatch",
        message="elementType is required for List, Set and Map and forbidden otherwise",
        cel="(self.type in ['List', 'Set', 'Map']) == has(self.elementType)",
        holds=lambda f: (f.type in {"List", "Set", "Map"}) == (f.element_type is not None),
        field="elementType",
    ),
    Rule(
        at="spec.features[]",
        reason="SetElementType",
        message="a Set holds String, Int64, Float64 or Bytes, as DynamoDB's sets do; use a List for others",
        cel="self.type != 'Set' || !has(self.elementType)"
        " || self.elementType in ['String', 'Int64', 'Float64', 'Bytes']",
        holds=lambda f: f.type != "Set" or f.element_type in {None, "String", "Int64", "Float64", "Bytes"},
        field="elementType",
    ),
    Rule(
        at="spec.features[]",
        reason="DimensionsMismatch",
        message="dimensions is required for Vector and forbidden otherwise",
        cel="(self.type == 'Vector') == has(self.dimensions)",
        holds=lambda f: (f.type == "Vector") == (f.dimensions is not None),
        field="dimensions",
    ),
    Rule(
        at="spec.features[]",
        reason="VectorTooLarge",
        message="a Vector takes 4 bytes per dimension; raise maxBytes to at least 4 x dimensions",
        cel="!has(self.dimensions) || self.dimensions * 4 <= self.maxBytes",
        holds=lambda f: f.dimensions is None or f.dimensions * _BYTES_PER_DIMENSION <= f.max_bytes,
        field="maxBytes",
    ),
)

KEY_RULES: Final = (
    Rule(
        at="",
        reason="NameTooLong",
        message="metadata.name must be at most 63 characters, since it becomes a label value",
        cel="size(self.metadata.name) <= 63",
        holds=lambda group: len(group.metadata.name) <= _NAME_MAX,
        field="metadata.name",
    ),
    Rule(
        at="spec.key.sortKey",
        reason="SortKeyNeedsTimestamp",
        message="unit, width and tieBreaker are for type Timestamp; type None is one row per id",
        cel="self.type == 'Timestamp' || !(has(self.unit) || has(self.width) || has(self.tieBreaker))",
        holds=lambda key: key.type == "Timestamp" or (key.unit, key.width, key.tie_breaker) == (None,) * 3,
    ),
    Rule(
        at="spec",
        reason="TieBreakerUnusable",
        message="tieBreaker must name an Active feature of type String or Int64",
        cel="!has(self.key.sortKey) || !has(self.key.sortKey.tieBreaker) || self.features.exists(f,"
        " f.name == self.key.sortKey.tieBreaker && f.type in ['String', 'Int64'] && f.state == 'Active')",
        holds=_tie_breaker_exists,
        field="key.sortKey.tieBreaker",
    ),
    Rule(
        at="spec.query",
        reason="LimitAboveMax",
        message="query.defaultLimit must not exceed query.maxLimit",
        cel="!has(self.defaultLimit) || !has(self.maxLimit) || self.defaultLimit <= self.maxLimit",
        holds=lambda query: (query.default_limit or 1) <= (query.max_limit or query.default_limit or 1),
        field="defaultLimit",
    ),
    Rule(
        at="spec",
        reason="RecordLimit",
        message="without a Timestamp sort key there is one row per id, so query limits must be 1 or left out",
        cel=f"({_TIMELINE}) || !has(self.query) || ((!has(self.query.maxLimit) || self.query.maxLimit == 1)"
        " && (!has(self.query.defaultLimit) || self.query.defaultLimit == 1))",
        holds=_record_limits_are_one,
        field="query",
    ),
    Rule(
        at="spec",
        reason="LookbackNeedsTimestamp",
        message="query.maxLookbackSeconds needs a Timestamp sort key",
        cel=f"({_TIMELINE}) || !has(self.query) || !has(self.query.maxLookbackSeconds)",
        holds=lambda spec: spec.is_timeline or spec.query is None or spec.query.max_lookback_seconds is None,
        field="query.maxLookbackSeconds",
    ),
    Rule(
        at="spec",
        reason="EventTimeNeedsTimestamp",
        message="retention.basis EventTime needs a Timestamp sort key; use WriteTime",
        cel=f"({_TIMELINE}) || !has(self.retention) || self.retention.basis != 'EventTime'",
        holds=lambda spec: spec.is_timeline or spec.retention is None or spec.retention.basis != "EventTime",
        field="retention.basis",
    ),
)
